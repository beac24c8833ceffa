//! The way to the database: a pool of connections to whichever host takes writes.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::RwLock;
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

use crate::{
    error::{Error, Result},
    options::PostgresOptions,
    pool::{Loan, Pool, pool},
};

/// How long one import may take.
pub(crate) const LONGEST_IMPORT: Duration = Duration::from_mins(10);

/// A pool that is replaced when its connections have been lost: by a restart of the server, or by its failover to
/// another host.
#[derive(Debug)]
pub(crate) struct Database {
    hosts: Vec<PgConnectOptions>,
    settings: String,
    max_connections: u32,
    connect_timeout: Duration,
    /// For how long a statement may go unanswered. The server gives up long statements itself, and says so: when nothing
    /// comes for longer, the server or the way to it has gone without a word.
    patience: Duration,
    pool: RwLock<Pool>,
    /// Counts the pools, so that of many who lost a connection of one pool, only the first replaces it.
    generation: AtomicU64,
    /// Whether no host took writes when last tried. Then the pool is not even asked: it would wait in vain.
    down: AtomicBool,
    replacing: tokio::sync::Mutex<Option<Instant>>,
}

impl Database {
    pub(crate) async fn connect(options: &PostgresOptions) -> Result<Self> {
        let statement_timeout = options.statement_timeout.as_millis();
        let lock_timeout = statement_timeout / 2;
        // Set by a statement rather than at start-up: a connection pooler refuses parameters that it does not know.
        let settings = format!(
            "set statement_timeout = {statement_timeout}; set lock_timeout = {lock_timeout}; \
             set idle_in_transaction_session_timeout = {statement_timeout}; \
             set default_transaction_isolation = 'read committed'; set jit = off"
        );
        let host = writable(&options.hosts, options.connect_timeout).await?;
        let pool = pool(host, settings.clone(), options.max_connections);
        Ok(Self {
            hosts: options.hosts.clone(),
            settings,
            max_connections: options.max_connections,
            connect_timeout: options.connect_timeout,
            patience: options.connect_timeout + options.statement_timeout + Duration::from_secs(1),
            pool: RwLock::new(pool),
            generation: AtomicU64::new(0),
            down: AtomicBool::new(false),
            replacing: tokio::sync::Mutex::new(None),
        })
    }

    /// The hosts in the order in which to try them.
    pub(crate) fn hosts(&self) -> &[PgConnectOptions] {
        &self.hosts
    }

    /// For a statement that may be repeated: see `repeat!`.
    pub(crate) fn retry(&self) -> Retry<'_> {
        Retry { database: self, generation: 0, reconnected: 0, was_cut_short: 0, patience: self.patience }
    }

    /// For a transaction of many statements that may be repeated: see `repeat_long!`.
    pub(crate) fn patient_retry(&self) -> Retry<'_> {
        Retry { patience: self.patience + LONGEST_IMPORT, ..self.retry() }
    }

    /// For a statement that must not be repeated once it may have been carried out: see `once!`.
    pub(crate) fn only_try(&self) -> Retry<'_> {
        Retry { reconnected: u8::MAX, was_cut_short: u8::MAX, ..self.retry() }
    }

    /// Finds the host that takes writes, and replaces the pool, unless somebody has since `generation`. Unless it is the
    /// pool that is `crowded` rather than the host gone. Tells whether another try makes sense.
    async fn replace(&self, generation: u64, crowded: bool) -> Result<bool> {
        let mut last_try = self.replacing.lock().await;
        if self.generation.load(Ordering::Acquire) != generation {
            return Ok(true);
        }
        // While the server is gone, every caller would try it; one in a while is enough.
        if last_try.is_some_and(|last_try| last_try.elapsed() < Duration::from_millis(250)) {
            return Err(Error::Unreachable { detail: "the database has just been tried in vain".into(), source: None });
        }
        let host = match writable(&self.hosts, self.connect_timeout).await {
            Ok(host) => host,
            Err(error) => {
                *last_try = Some(Instant::now());
                self.down.store(true, Ordering::Release);
                return Err(error);
            }
        };
        *last_try = None;
        let was_down = self.down.swap(false, Ordering::AcqRel);
        let same = {
            let pool = self.pool.read();
            let current = pool.manager().host();
            current.get_host() == host.get_host() && current.get_port() == host.get_port()
        };
        if crowded && same && !was_down {
            return Ok(false);
        }
        let pool = pool(host, self.settings.clone(), self.max_connections);
        let old = std::mem::replace(&mut *self.pool.write(), pool);
        self.generation.fetch_add(1, Ordering::Release);
        tracing::info!("connected to the database anew");
        old.close();
        Ok(true)
    }
}

/// The tries of one statement.
#[derive(Debug)]
pub(crate) struct Retry<'a> {
    database: &'a Database,
    generation: u64,
    reconnected: u8,
    was_cut_short: u8,
    patience: Duration,
}

impl Retry<'_> {
    /// Makes ready for the next try. Fails when the server was gone, and still is.
    pub(crate) async fn prepare(&mut self) -> Result<()> {
        self.generation = self.database.generation.load(Ordering::Acquire);
        if self.database.down.load(Ordering::Acquire) {
            self.database.replace(self.generation, false).await?;
            self.generation = self.database.generation.load(Ordering::Acquire);
        }
        Ok(())
    }

    pub(crate) async fn loan(&self) -> Result<Loan> {
        let pool = self.database.pool.read().clone();
        Loan::from(&pool, self.database.connect_timeout).await
    }

    /// Carries out a try, as long as the server may be at work on it.
    pub(crate) async fn answer<T>(&self, statement: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout(self.patience, statement).await {
            Ok(done) => done,
            Err(_) => Err(Error::Silent { patience: self.patience }),
        }
    }

    /// What came of a try; `None` when there shall be another.
    pub(crate) async fn settle<T>(&mut self, done: Result<T>) -> Option<Result<T>> {
        let Err(error) = done else { return Some(done) };
        if error.was_cut_short() && self.was_cut_short < 5 {
            self.was_cut_short += 1;
            return None;
        }
        if error.lost_connection() && !matches!(error, Error::Unreachable { .. }) {
            let crowded = matches!(error, Error::Sql(sqlx::Error::PoolTimedOut));
            // Also when this statement is not repeated: for the next one's sake.
            let replaced = self.database.replace(self.generation, crowded).await;
            if self.reconnected < 2 {
                self.reconnected += 1;
                return match replaced {
                    Ok(true) => None,
                    Ok(false) => Some(Err(error)),
                    Err(error) => Some(Err(error)),
                };
            }
        }
        Some(Err(error))
    }
}

/// Carries out a statement that may be repeated: on another connection when its own was lost, and a few times when it
/// gave way to another statement. A macro, since a closure of futures that borrow is more than `Send` can be proved for.
macro_rules! repeat {
    ($database:expr, |$connection:ident| $statement:expr) => {
        $crate::connection::tries!($database.retry(), |$connection| $statement)
    };
}

/// Carries out a transaction that takes longer than a statement may, and may be repeated.
macro_rules! repeat_long {
    ($database:expr, |$connection:ident| $statement:expr) => {
        $crate::connection::tries!($database.patient_retry(), |$connection| $statement)
    };
}

/// Carries out a statement that must not be repeated.
macro_rules! once {
    ($database:expr, |$connection:ident| $statement:expr) => {
        $crate::connection::tries!($database.only_try(), |$connection| $statement)
    };
}

macro_rules! tries {
    ($retry:expr, |$connection:ident| $statement:expr) => {
        async {
            let mut retry = $retry;
            loop {
                retry.prepare().await?;
                let done: $crate::error::Result<_> = async {
                    let mut loan = retry.loan().await?;
                    let $connection = loan.connection();
                    let done = retry.answer(async { $statement }).await;
                    loan.end_after(&done);
                    done
                }
                .await;
                if let Some(done) = retry.settle(done).await {
                    break done;
                }
            }
        }
        .await
    };
}

pub(crate) use {once, repeat, repeat_long, tries};

/// The first host that answers and takes writes.
pub(crate) async fn writable(hosts: &[PgConnectOptions], patience: Duration) -> Result<PgConnectOptions> {
    let mut why = Error::Unreachable { detail: "no host was given".into(), source: None };
    for host in hosts {
        let probe = async {
            let mut connection = PgConnection::connect_with(host).await?;
            let standby = sqlx::query_scalar!("select pg_is_in_recovery()").fetch_one(&mut connection).await?;
            connection.close().await?;
            Ok::<_, sqlx::Error>(standby == Some(true))
        };
        match tokio::time::timeout(patience, probe).await {
            Ok(Ok(false)) => return Ok(host.clone()),
            Ok(Ok(true)) => {
                why = Error::Unreachable {
                    detail: "the database is a standby, which takes no writes".into(),
                    source: None,
                };
            }
            Ok(Err(error)) => {
                why = match Error::from(error) {
                    error if error.lost_connection() => Error::Unreachable {
                        detail: "the database cannot be reached".into(),
                        source: Some(error.into()),
                    },
                    error => error,
                };
            }
            Err(_) => {
                why = Error::Unreachable {
                    detail: format!("the database did not answer within {patience:?}"),
                    source: None,
                };
            }
        }
    }
    Err(why)
}

//! Connections that are used again.

use std::time::Duration;

use deadpool::managed::{self, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;

use crate::error::{Error, Result};

/// Connections to one host. Not sqlx's own pool: that one asks the server after every statement whether the connection
/// still lives, which makes two round trips of each.
pub(crate) type Pool = managed::Pool<Opener>;

/// No connection is used for longer, so that what a server keeps for one does not grow for ever.
const LONGEST: Duration = Duration::from_mins(30);

/// Connections that nobody used for so long are likely forgotten by a firewall on the way.
const LONGEST_IDLE: Duration = Duration::from_mins(10);

/// Opens connections, and gives each the settings of the farm.
#[derive(Debug)]
pub(crate) struct Opener {
    host: PgConnectOptions,
    settings: String,
}

impl Opener {
    pub(crate) fn host(&self) -> &PgConnectOptions {
        &self.host
    }
}

impl managed::Manager for Opener {
    type Type = PgConnection;
    type Error = sqlx::Error;

    async fn create(&self) -> sqlx::Result<PgConnection> {
        let mut connection = PgConnection::connect_with(&self.host).await?;
        sqlx::raw_sql(AssertSqlSafe(self.settings.clone())).execute(&mut connection).await?;
        Ok(connection)
    }

    /// Does not ask the server: a dead connection is found out by the next statement, which may be repeated.
    async fn recycle(&self, _: &mut PgConnection, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if metrics.age() > LONGEST || metrics.last_used() > LONGEST_IDLE {
            return Err(RecycleError::message("it has been open for long enough"));
        }
        Ok(())
    }
}

/// A pool that opens its connections when they are needed.
pub(crate) fn pool(host: PgConnectOptions, settings: String, most: u32) -> Pool {
    Pool::builder(Opener { host, settings })
        .max_size(usize::try_from(most).unwrap_or(usize::MAX))
        // The one used last is warm.
        .queue_mode(QueueMode::Lifo)
        .build()
        .unwrap_or_else(|_| unreachable!("only timeouts need a runtime to be named"))
}

/// A connection on loan. Dropped, it is closed: a statement may have been left half done on it.
#[derive(Debug)]
pub(crate) struct Loan(Option<Object<Opener>>);

impl Loan {
    pub(crate) async fn from(pool: &Pool, patience: Duration) -> Result<Self> {
        match timeout(patience, pool.get()).await {
            Ok(Ok(connection)) => Ok(Self(Some(connection))),
            Ok(Err(PoolError::Backend(error))) => Err(error.into()),
            Ok(Err(PoolError::Closed)) => Err(sqlx::Error::PoolClosed.into()),
            Ok(Err(error)) => Err(Error::corrupt(error)),
            Err(_) => Err(sqlx::Error::PoolTimedOut.into()),
        }
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        self.0.as_mut().unwrap_or_else(|| unreachable!("taken only when the loan ends"))
    }

    /// Gives the connection back, if it is fit for other statements: this one was answered, be it by an error.
    pub(crate) fn end_after<T>(mut self, done: &Result<T>) {
        if matches!(done, Ok(_) | Err(Error::Sql(sqlx::Error::Database(_)))) {
            self.0.take();
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Object::take(connection));
        }
    }
}

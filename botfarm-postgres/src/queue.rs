//! Who waits here, and who tells them.
//!
//! The queue itself is the table `waiters`; grants are made by `botfarm_match` in the database, one pass at a time over
//! all processes. Whoever frees a bot or steps into the queue asks its own process for a pass; passes asked for while
//! one runs become one. A pass wakes the waiters of this process, and notifies the processes of the others. Since a
//! notification may be lost, every process with waiters also looks by itself, once a second.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use botfarm_core::LeaseId;
use parking_lot::Mutex;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::{
    sync::{Notify, futures::Notified, watch},
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

use crate::connection::repeat;
use crate::{
    connection::writable,
    error::{Error, Result},
    farm::Farm,
    options::ListenFrom,
    rows::interval,
};

/// How long a waiter counts as alive without a word from its process. Three heartbeats.
pub(crate) const ALIVE: Duration = Duration::from_secs(15);
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long a grant is kept for a waiter that does not take it up.
const OFFER: Duration = Duration::from_secs(10);

/// How often to look without having been told: with a listener, and without one.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_OFTEN: Duration = Duration::from_millis(200);

/// Grants per pass: a pass holds up the next.
const MOST: i32 = 256;

/// How far apart notifications are: the first goes at once, the rest of a burst together.
const BURST: Duration = Duration::from_millis(2);

/// An idle listener calls itself at this interval, and is rebuilt when it does not hear itself.
const ECHO: Duration = Duration::from_secs(5);

/// The waiters of this process, and what there is to do for them.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    parked: Mutex<HashMap<LeaseId, (usize, Arc<Notify>)>>,
    wanted: AtomicU64,
    poke: Notify,
    passed: watch::Sender<(u64, bool)>,
    others: Mutex<HashSet<Uuid>>,
    tell_others: Notify,
    listening: AtomicBool,
}

/// A call that waits. Several may wait under one lease id.
#[derive(Debug)]
pub(crate) struct Parked<'a> {
    queue: &'a Queue,
    id: LeaseId,
    wake: Arc<Notify>,
    resigned: AtomicBool,
}

impl Parked<'_> {
    pub(crate) fn woken(&self) -> Notified<'_> {
        self.wake.notified()
    }

    /// Waits no longer. True when no other call of this process waits under the same id: of twins that go together,
    /// the last one to say so hears it, and no two of them leave it to each other.
    pub(crate) fn resign(&self) -> bool {
        if self.resigned.swap(true, Ordering::AcqRel) {
            return false;
        }
        let mut parked = self.queue.parked.lock();
        let Some((calls, _)) = parked.get_mut(&self.id) else { return true };
        *calls -= 1;
        let last = *calls == 0;
        if last {
            parked.remove(&self.id);
        }
        last
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.resign();
    }
}

impl Queue {
    pub(crate) fn park(&self, id: LeaseId) -> Parked<'_> {
        let mut parked = self.parked.lock();
        let (calls, wake) = parked.entry(id).or_default();
        *calls += 1;
        Parked { queue: self, id, wake: wake.clone(), resigned: AtomicBool::new(false) }
    }

    /// Asks for a pass that begins after this call.
    pub(crate) fn want_pass(&self) -> u64 {
        let wanted = self.wanted.fetch_add(1, Ordering::AcqRel) + 1;
        self.poke.notify_one();
        wanted
    }

    /// Waits until that pass is over.
    pub(crate) async fn passed(&self, wanted: u64) -> Result<()> {
        let mut passed = self.passed.subscribe();
        match passed.wait_for(|(passed, _)| *passed >= wanted).await.map(|state| state.1) {
            Ok(true) => Ok(()),
            _ => Err(Error::Unreachable { detail: "the database did not serve the queue".into(), source: None }),
        }
    }

    fn wake(&self, id: LeaseId) {
        if let Some((_, wake)) = self.parked.lock().get(&id) {
            wake.notify_waiters();
        }
    }

    fn waiting_here(&self) -> Vec<Uuid> {
        self.parked.lock().keys().map(LeaseId::as_uuid).collect()
    }
}

/// Starts what serves the queue, for as long as the farm is in use.
pub(crate) fn start(farm: &Arc<Farm>, listen: ListenFrom) {
    let weak = Arc::downgrade(farm);
    farm.runtime.spawn(match_on_demand(weak.clone()));
    farm.runtime.spawn(notify_others(weak.clone()));
    farm.runtime.spawn(look(weak.clone()));
    if !matches!(listen, ListenFrom::Nowhere) {
        farm.runtime.spawn(listen_for_grants(weak, listen));
    }
}

/// How long a task sleeps before it looks whether the farm is still in use.
const IN_USE: Duration = Duration::from_millis(500);

async fn match_on_demand(weak: Weak<Farm>) {
    while let Some(farm) = weak.upgrade() {
        if timeout(IN_USE, farm.queue.poke.notified()).await.is_err() {
            continue;
        }
        let wanted = farm.queue.wanted.load(Ordering::Acquire);
        let done = farm.serve_queue().await;
        if let Err(error) = &done {
            tracing::warn!(error = error as &dyn std::error::Error, "the queue could not be served");
        }
        farm.queue.passed.send_replace((wanted, done.is_ok()));
    }
}

async fn notify_others(weak: Weak<Farm>) {
    while let Some(farm) = weak.upgrade() {
        if timeout(IN_USE, farm.queue.tell_others.notified()).await.is_err() {
            continue;
        }
        let others: Vec<Uuid> = farm.queue.others.lock().drain().collect();
        if let Err(error) = farm.notify(&others).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "waiters elsewhere could not be notified");
        }
        sleep(BURST).await;
    }
}

/// Looks by itself, since a notification is only a hint, and since nobody tells when a lease expires.
async fn look(weak: Weak<Farm>) {
    let mut beaten = Instant::now();
    while let Some(farm) = weak.upgrade() {
        let often = !farm.queue.listening.load(Ordering::Relaxed);
        let pause = if often { LOOK_OFTEN } else { LOOK };
        // Apart from other processes that were started at the same moment.
        let jitter = f64::from(u32::from(Uuid::new_v4().as_bytes()[0])) / 255.0 * 0.6 + 0.7;
        let waiting = farm.queue.waiting_here();
        drop(farm);
        sleep(if waiting.is_empty() { LOOK } else { pause }.mul_f64(jitter)).await;
        let Some(farm) = weak.upgrade() else { return };
        let looked = async {
            farm.notice_epoch().await?;
            let waiting = farm.queue.waiting_here();
            if waiting.is_empty() {
                return Ok(());
            }
            if beaten.elapsed() >= HEARTBEAT {
                beaten = Instant::now();
                farm.heartbeat(&waiting).await?;
            }
            farm.wake_granted().await?;
            farm.queue.want_pass();
            Ok::<_, Error>(())
        };
        if let Err(error) = looked.await {
            tracing::debug!(error = &error as &dyn std::error::Error, "could not look after the queue");
        }
    }
}

async fn listen_for_grants(weak: Weak<Farm>, from: ListenFrom) {
    while let Some(farm) = weak.upgrade() {
        let hosts = match &from {
            ListenFrom::Direct(hosts) => hosts.clone(),
            _ => farm.database.hosts().to_vec(),
        };
        let channel = channel(farm.process);
        drop(farm);
        if let Err(error) = listen(&weak, &hosts, &channel).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "the listener is being rebuilt");
        }
        let Some(farm) = weak.upgrade() else { return };
        farm.queue.listening.store(false, Ordering::Relaxed);
        drop(farm);
        sleep(Duration::from_millis(300)).await;
    }
}

async fn listen(weak: &Weak<Farm>, hosts: &[sqlx::postgres::PgConnectOptions], channel: &str) -> Result<()> {
    let host = writable(hosts, Duration::from_secs(3)).await?;
    // A pool of its own: a listener keeps its connection.
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(3)).connect_lazy_with(host);
    let subscribed = async {
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(channel).await?;
        Ok::<_, sqlx::Error>(listener)
    };
    let Ok(listener) = timeout(Duration::from_secs(5), subscribed).await else {
        return Err(Error::Unreachable { detail: "the listener cannot subscribe".into(), source: None });
    };
    let mut listener = listener?;
    let mut heard = true;
    loop {
        {
            let Some(farm) = weak.upgrade() else { return Ok(()) };
            farm.queue.listening.store(true, Ordering::Relaxed);
            // What was sent before is not told again.
            farm.wake_granted().await?;
        }
        let quiet_since = Instant::now();
        loop {
            match timeout(IN_USE, listener.try_recv()).await {
                Ok(Ok(Some(_))) => {
                    heard = true;
                    break;
                }
                Ok(Ok(None)) => {
                    return Err(Error::Unreachable { detail: "the listener lost its connection".into(), source: None });
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {
                    let Some(farm) = weak.upgrade() else { return Ok(()) };
                    if quiet_since.elapsed() < ECHO {
                        continue;
                    }
                    if !heard {
                        // Half-open: what is sent does not come.
                        return Err(Error::Unreachable {
                            detail: "the listener does not hear itself".into(),
                            source: None,
                        });
                    }
                    heard = false;
                    farm.notify(&[farm.process]).await?;
                    break;
                }
            }
        }
    }
}

fn channel(process: Uuid) -> String {
    format!("botfarm_{}", process.simple())
}

impl Farm {
    /// One pass over the queue.
    async fn serve_queue(&self) -> Result<()> {
        let granted = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                r#"select granted_lease as "lease!", granted_process as "process!" from botfarm_match($1, $2)"#,
                interval(OFFER),
                MOST,
            )
            .fetch_all(&mut *connection)
            .await?)
        })?;
        if granted.len() >= usize::try_from(MOST).unwrap_or(usize::MAX) {
            self.queue.poke.notify_one();
        }
        let mut others = HashSet::new();
        for grant in granted {
            if grant.process == self.process {
                self.queue.wake(grant.lease.into());
            } else {
                others.insert(grant.process);
            }
        }
        if !others.is_empty() {
            self.queue.others.lock().extend(others);
            self.queue.tell_others.notify_one();
        }
        Ok(())
    }

    async fn notify(&self, processes: &[Uuid]) -> Result<()> {
        let channels: Vec<String> = processes.iter().map(|process| channel(*process)).collect();
        repeat!(self.database, |connection| {
            // Never within a transaction that frees a bot: the commit of a notification locks the whole server. So it
            // does not wait for the disk either: a notification is only a hint.
            sqlx::query!(
                "select pg_notify(channel, ''), set_config('synchronous_commit', 'off', true)
                from unnest($1::text[]) channel",
                &channels,
            )
            .fetch_all(&mut *connection)
            .await?;
            Ok(())
        })
    }

    async fn wake_granted(&self) -> Result<()> {
        let granted = repeat!(self.database, |connection| {
            Ok(sqlx::query_scalar!("select lease_id from waiters where process = $1 and granted", self.process)
                .fetch_all(&mut *connection)
                .await?)
        })?;
        for id in granted {
            self.queue.wake(id.into());
        }
        Ok(())
    }

    /// Keeps the waiters of this process alive. Wakes those whose row has gone: they look what became of it.
    async fn heartbeat(&self, waiting: &[Uuid]) -> Result<()> {
        let alive: HashSet<Uuid> = repeat!(self.database, |connection| {
            Ok(sqlx::query_scalar!(
                "with mine as materialized (
                        select lease_id
                        from waiters
                        where lease_id = any($1)
                        -- One that has left meanwhile stays away.
                        and alive_until > '-infinity'
                        -- In the order in which a pass locks them.
                        order by ticket
                        for no key update
                    )
                    update waiters w
                    set process = $2,
                        alive_until = clock_timestamp() + $3,
                        kept_until = clock_timestamp() + $3 + $4
                    from mine m
                    where w.lease_id = m.lease_id
                    returning w.lease_id",
                waiting,
                self.process,
                interval(ALIVE),
                interval(self.policy.place_kept),
            )
            .fetch_all(&mut *connection)
            .await?)
        })?
        .into_iter()
        .collect();
        for id in waiting {
            if !alive.contains(id) {
                self.queue.wake((*id).into());
            }
        }
        Ok(())
    }

    /// Registers this life of the server, so that its expired leases may be taken over after the grace.
    pub(crate) async fn notice_epoch(&self) -> Result<()> {
        repeat!(self.database, |connection| {
            sqlx::query!(
                "insert into epochs (timeline, started_at, takeover_after)
                    select botfarm_timeline(), pg_postmaster_start_time(), now() + $1
                    where not exists (
                        select from epochs
                        where timeline = botfarm_timeline()
                            and started_at = pg_postmaster_start_time()
                    )
                    on conflict do nothing",
                interval(self.takeover_grace),
            )
            .execute(&mut *connection)
            .await?;
            Ok(())
        })
    }
}

//! How much one caller may have under way, so that nobody takes all of it.

use std::{collections::HashMap, fmt, net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::server::{Options, refusal::Refusal};

/// How many bodies of one caller are read at once; further ones wait for their turn.
const BODIES: usize = 32;

/// How many pages of lists, of some 500 KB, one caller may have that are being put together or have not been read yet;
/// further ones wait for their turn.
const PAGES: usize = 8;

/// How many requests of one caller may be under way beside those that wait for a lease.
const REQUESTS: usize = 256;

/// How many imports are read and written at once, of all callers: each may take some 50 MB.
const IMPORTS: usize = 2;

/// How long to wait for a turn.
const WAIT: Duration = Duration::from_secs(5);
const IMPORT_WAIT: Duration = Duration::from_secs(30);

/// Where nobody is asked who they are, everybody is one caller, who may have this many times as much.
const OF_EVERYBODY: usize = 10;

/// Who has a share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// An operator or a token; `None`: whoever calls a service that asks nobody.
    Principal(Option<Arc<str>>),
    /// Somebody who has not said yet who they are.
    Address(Option<IpAddr>),
}

/// The shares of all callers that have something under way.
pub(crate) struct Shares {
    waiters: usize,
    leases: usize,
    imports: Arc<Semaphore>,
    callers: Mutex<Callers>,
}

#[derive(Default)]
struct Callers {
    shares: HashMap<Key, Arc<Share>>,
    /// How many there are to be before those with nothing under way are thrown away.
    sweep_at: usize,
}

/// What one caller has under way.
#[derive(Debug)]
pub(crate) struct Share {
    /// As people call it.
    name: String,
    most_waiters: usize,
    most_leases: usize,
    waiters: Semaphore,
    bodies: Semaphore,
    pages: Arc<Semaphore>,
    most_requests: usize,
    requests: Arc<Semaphore>,
}

/// The right to have a request under way, for as long as this lives.
pub(crate) type RequestTurn = Arc<OwnedSemaphorePermit>;

/// The right to have a page of a list, for as long as this lives.
pub(crate) type PageTurn = OwnedSemaphorePermit;

/// The right to import, for as long as this lives.
pub(crate) type ImportTurn = Arc<OwnedSemaphorePermit>;

impl Shares {
    pub(crate) fn new(options: &Options) -> Self {
        let (waiters, leases) = (options.max_waiters, options.max_leases);
        Self { waiters, leases, imports: Arc::new(Semaphore::new(IMPORTS)), callers: Mutex::default() }
    }

    /// The share of a caller. `name` is what it is called when it asks for too much.
    pub(crate) fn of(&self, key: Key, name: impl fmt::Display) -> Arc<Share> {
        let mut callers = self.callers.lock();
        if let Some(share) = callers.shares.get(&key) {
            return share.clone();
        }
        callers.sweep();
        let times = if key == Key::Principal(None) { OF_EVERYBODY } else { 1 };
        let (most_waiters, most_leases) = (self.waiters.saturating_mul(times), self.leases.saturating_mul(times));
        let most_requests = most_waiters.saturating_add(REQUESTS * times).min(Semaphore::MAX_PERMITS);
        let share = Arc::new(Share {
            name: name.to_string(),
            most_waiters,
            most_leases,
            waiters: Semaphore::new(most_waiters.min(Semaphore::MAX_PERMITS)),
            bodies: Semaphore::new(BODIES * times),
            pages: Arc::new(Semaphore::new(PAGES * times)),
            most_requests,
            requests: Arc::new(Semaphore::new(most_requests)),
        });
        callers.shares.insert(key, share.clone());
        share
    }

    /// A turn to import, which may have to be waited for.
    pub(crate) async fn import(&self) -> Result<ImportTurn, Refusal> {
        match timeout(IMPORT_WAIT, self.imports.clone().acquire_owned()).await {
            Ok(Ok(turn)) => Ok(Arc::new(turn)),
            // It is never closed.
            _ => Err(Refusal::too_many(IMPORT_WAIT, format!("{IMPORTS} imports are under way, which are the most"))),
        }
    }
}

impl Callers {
    fn sweep(&mut self) {
        if self.shares.len() >= self.sweep_at {
            self.shares.retain(|_, share| Arc::strong_count(share) > 1);
            self.sweep_at = (2 * self.shares.len()).max(1_000);
        }
    }
}

impl Share {
    /// A place among the requests under way.
    ///
    /// # Errors
    /// When the caller has as many as one may have.
    pub(crate) fn request(&self) -> Result<RequestTurn, Refusal> {
        self.requests.clone().try_acquire_owned().map(Arc::new).map_err(|_| {
            let Self { name, most_requests, .. } = self;
            let what =
                format!("{name} has {most_requests} requests under way, which is the most that one caller may have");
            Refusal::too_many(Duration::from_secs(1), what)
        })
    }

    /// A place among those who wait.
    ///
    /// # Errors
    /// When the caller has as many as one may have.
    pub(crate) fn wait(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        self.waiters.try_acquire().map_err(|_| {
            let Self { name, most_waiters, .. } = self;
            let what =
                format!("{name} has {most_waiters} requests waiting, which is the most that one caller may have");
            Refusal::too_many(Duration::from_secs(1), what)
        })
    }

    /// A turn to have a body read.
    ///
    /// # Errors
    /// When none came.
    pub(crate) async fn body(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        self.turn(self.bodies.acquire(), "requests that have not arrived yet").await
    }

    /// A turn to have a page of a list, or something as large, put together and read.
    ///
    /// # Errors
    /// When none came.
    pub(crate) async fn page(&self) -> Result<PageTurn, Refusal> {
        self.turn(self.pages.clone().acquire_owned(), "lists under way that it has not read").await
    }

    async fn turn<T>(&self, turn: impl Future<Output = Result<T, AcquireError>>, what: &str) -> Result<T, Refusal> {
        match timeout(WAIT, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            // It is never closed.
            _ => Err(Refusal::too_many(Duration::from_secs(1), format!("{} has too many {what}", self.name))),
        }
    }

    /// Whether the caller may have one more lease in force beside so many.
    ///
    /// # Errors
    /// When it may not.
    pub(crate) fn lease(&self, in_force: usize) -> Result<(), Refusal> {
        let Self { name, most_leases, .. } = self;
        if in_force < *most_leases {
            return Ok(());
        }
        let what =
            format!("{name} has {in_force} leases in force, and {most_leases} is the most that one caller may have");
        Err(Refusal::too_many(Duration::from_secs(5), what))
    }

    /// How many leases in force are the most.
    pub(crate) fn most_leases(&self) -> usize {
        self.most_leases
    }
}

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shares").field("callers", &self.callers.lock().shares.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_with_nothing_under_way_are_forgotten() {
        let shares = Shares::new(&Options::default());
        let kept = shares.of(Key::Address(None), "nobody");
        for last in 0..20_000_u32 {
            shares.of(Key::Address(Some(IpAddr::from(last.to_be_bytes()))), last);
            assert!(shares.callers.lock().shares.len() <= 1_001);
        }
        assert!(Arc::ptr_eq(&kept, &shares.of(Key::Address(None), "nobody")));
    }
}

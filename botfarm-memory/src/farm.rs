//! The farm itself: one state, one lock, and what is rung when the lock is free again.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use botfarm_core::{
    ActiveLease, Bot, BotChanges, BotFarm, BotFilter, BotId, BotRelease, Cursor, Ending, ImportReport, Lease, LeaseId,
    LeasePolicy, LeaseRecord, LeaseRequest, Login, NewBot, Page, PageRequest, Result, Revocation, Stats,
};
use tokio::sync::Notify;

use crate::{bots::Slot, operators::Staff, place::Place, queue::Answer, state::State};

/// A farm that keeps everything in memory, and nothing across restarts.
///
/// A clone is another handle to the same farm. It needs no background task and, unless a call has to wait, no runtime;
/// its clock is tokio's, so that tests may pause it. A call that waits needs a runtime with its timers on.
///
/// It remembers the latest 100,000 hand-outs that have ended, and tells the latest 100 of a bot.
#[derive(Clone)]
pub struct MemoryFarm(pub(crate) Arc<Shared>);

/// What all handles share.
pub(crate) struct Shared {
    /// The standard library's lock: with more threads than cores, `parking_lot`'s took twice the time for a lease.
    state: Mutex<State>,
    /// Held by the waiter who looks at the clock for all.
    pub(crate) duty: tokio::sync::Mutex<()>,
    /// Rung when something is due before that waiter meant to look again.
    pub(crate) early: Notify,
    staff: Mutex<Staff>,
}

impl MemoryFarm {
    /// An empty farm with the default policy.
    #[must_use]
    pub fn new() -> Self {
        Self::with_policy(LeasePolicy::default())
    }

    /// An empty farm.
    #[must_use]
    pub fn with_policy(policy: LeasePolicy) -> Self {
        let (state, duty, early) = (Mutex::new(State::new(policy)), tokio::sync::Mutex::new(()), Notify::new());
        Self(Arc::new(Shared { state, duty, early, staff: Mutex::default() }))
    }

    /// A farm of these bots with the default policy: what a unit test wants.
    ///
    /// # Errors
    /// `Invalid` when two of them are the same account.
    pub fn with_bots(bots: impl IntoIterator<Item = NewBot>) -> Result<Self> {
        let farm = Self::new();
        farm.0.turn(|state| state.import(bots.into_iter().collect(), false))?;
        Ok(farm)
    }

    /// A page of what is shown of the bots in their order, or of those with a login. Many are looked at in many turns.
    async fn page<T: Send>(
        &self,
        page: &PageRequest,
        login: Option<&Login>,
        show: impl Fn(&State, Slot) -> Option<T> + Send + Sync,
    ) -> Result<Page<T>> {
        let limit = page.checked_limit()?;
        let mut after = page.cursor.as_ref().map(Cursor::bot).transpose()?;
        let mut items = Vec::new();
        while let Some(id) = self.0.turn(|state| state.list(login, after, limit, &mut items, &show)) {
            after = Some(id);
            tokio::task::yield_now().await;
        }
        Ok(Page::of(items, limit, |(id, _)| Cursor::after_bot(*id)).map(|(_, item)| item))
    }
}

impl Shared {
    /// One turn at the state: what is due is settled first, and whoever was served is rung last, without the lock.
    pub(crate) fn turn<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = lock(&self.state);
        state.settle();
        let outcome = work(&mut state);
        let (bells, early) = (std::mem::take(&mut state.bells), state.timeline.take_early());
        drop(state);
        for bell in bells {
            bell.notify_waiters();
        }
        if early {
            self.early.notify_one();
        }
        outcome
    }

    /// Who may use a service of this farm.
    pub(crate) fn staff(&self) -> MutexGuard<'_, Staff> {
        lock(&self.staff)
    }
}

/// A thread that has panicked does not take the farm from the others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for MemoryFarm {
    fn default() -> Self {
        Self::new()
    }
}

/// How many bots, leases and waiters it has.
impl fmt::Debug for MemoryFarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.0.state);
        f.debug_struct("MemoryFarm")
            .field("bots", &state.bots.len())
            .field("leases", &state.leases.count())
            .field("waiting", &state.queue.len())
            .finish()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl BotFarm for MemoryFarm {
    async fn create(&self, bot: NewBot) -> Result<Bot> {
        self.0.turn(|state| state.create(bot))
    }

    async fn import(&self, bots: Vec<NewBot>, dry_run: bool) -> Result<ImportReport> {
        self.0.turn(|state| state.import(bots, dry_run))
    }

    async fn get(&self, id: BotId) -> Result<Bot> {
        self.0.turn(|state| state.get(id))
    }

    async fn list(&self, filter: &BotFilter, page: &PageRequest) -> Result<Page<Bot>> {
        self.page(page, filter.login.as_ref(), |state, slot| state.filtered(filter, slot)).await
    }

    async fn update(&self, id: BotId, changes: BotChanges) -> Result<Bot> {
        self.0.turn(|state| state.update(id, changes))
    }

    async fn delete(&self, id: BotId) -> Result<()> {
        self.0.turn(|state| state.delete(id))
    }

    async fn acquire(&self, request: LeaseRequest) -> Result<Lease> {
        let (id, wait) = (request.id, request.wait);
        let bell = match self.0.turn(|state| state.acquire(request))? {
            Answer::Granted(lease) => return Ok(lease),
            Answer::Parked(bell) => bell,
        };
        // Boxed, so that a call that need not wait is small.
        Box::pin(Place { farm: &self.0, id }.wait(bell, wait)).await
    }

    async fn lookup(&self, id: LeaseId) -> Result<Lease> {
        self.0.turn(|state| state.lookup(id))
    }

    async fn renew(&self, id: LeaseId, ttl: Option<Duration>) -> Result<Lease> {
        self.0.turn(|state| state.renew(id, ttl))
    }

    async fn release(&self, id: LeaseId, ending: Ending) -> Result<()> {
        self.0.turn(|state| state.release(id, ending))
    }

    async fn release_bot(&self, bot: BotId, release: BotRelease) -> Result<()> {
        self.0.turn(|state| state.release_bot(bot, release))
    }

    async fn revoke(&self, bot: BotId, revocation: Revocation) -> Result<()> {
        self.0.turn(|state| state.revoke(bot, revocation))
    }

    async fn leases(&self, page: &PageRequest) -> Result<Page<ActiveLease>> {
        self.page(page, None, State::active_lease).await
    }

    async fn history(&self, bot: BotId, page: &PageRequest) -> Result<Page<LeaseRecord>> {
        self.0.turn(|state| state.history(bot, page))
    }

    async fn stats(&self) -> Result<Stats> {
        Ok(self.0.turn(|state| state.stats()))
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }
}

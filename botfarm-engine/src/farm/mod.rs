//! The engine behind one lock, with a clock and a journal: what all farms have in common that one process owns.

mod alarm;
mod clock;
mod journal;
mod operators;
mod place;

use std::{
    collections::HashMap,
    fmt,
    ops::ControlFlow::{Break, Continue},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use botfarm_core::{
    ActiveLease, Bot, BotChanges, BotFilter, BotId, BotRelease, Cursor, EndedRun, Ending, HandOut, HandOutFilter,
    ImportReport, Lease, LeaseId, LeasePolicy, LeaseRecord, LeaseRequest, NewBot, Page, PageRequest, QueuedRequest,
    Result, Revocation, Run, RunEnding, Stats,
};
use tokio::sync::Notify;

pub use self::journal::Journal;
use self::{
    alarm::Alarm,
    clock::Clock,
    place::{Heard, Place},
};
use crate::{
    engine::{Acquired, Contradiction, Engine},
    moment::Moment,
};

/// So many leases of a run are ended in one turn, so that others get theirs in between.
const AT_ONCE: usize = 256;

/// A farm that one process owns: the engine behind one lock, with tokio's clock, so that tests may pause it, and a
/// journal. An answer leaves when all that it says has been kept.
///
/// A clone is another handle to the same farm. It needs no background task and, unless a call has to wait, no runtime. A
/// call that waits in the queue needs a runtime with its timers on.
///
/// Its methods are those of [`BotFarm`](botfarm_core::BotFarm) and [`Operators`](botfarm_core::operators::Operators),
/// which [`delegate!`](botfarm_core::delegate) makes a farm of.
pub struct EngineFarm<J>(Arc<Shared<J>>);

/// What all handles share.
struct Shared<J> {
    clock: Clock,
    journal: J,
    /// The standard library's lock: with more threads than cores, `parking_lot`'s took twice the time for a lease.
    state: Mutex<State>,
    /// Held by the waiter who looks at the clock for all.
    duty: tokio::sync::Mutex<()>,
    /// Rung when something is due before that waiter meant to look again.
    early: Notify,
}

struct State {
    engine: Engine,
    alarm: Alarm,
    /// What is rung for those who wait, by the lease that they wait for.
    bells: HashMap<LeaseId, Arc<Notify>>,
}

impl<J: Journal> EngineFarm<J> {
    /// A farm without bots, whose changes are not kept.
    #[must_use]
    pub fn new(policy: LeasePolicy, journal: J) -> Self {
        Self::around(Engine::new(policy), journal, Clock::starting_at(Moment::default()))
    }

    /// The farm that the journal has kept. Time goes on from now, or from the latest that the journal knows, whichever
    /// is later. Leases that expired meanwhile live for `grace` more.
    ///
    /// # Errors
    /// Those of the journal; a [`Contradiction`] when what it kept is no farm.
    pub fn open(policy: LeasePolicy, mut journal: J, grace: Duration) -> Result<Self, J::Error>
    where
        J::Error: From<Contradiction>,
    {
        let snapshot = journal.load()?;
        let clock = Clock::starting_at(snapshot.latest());
        let engine = Engine::restore(policy, snapshot, clock.now(), grace)?;
        Ok(Self::around(engine, journal, clock))
    }

    fn around(engine: Engine, journal: J, clock: Clock) -> Self {
        let state = State { engine, alarm: Alarm::default(), bells: HashMap::new() };
        let (state, duty, early) = (Mutex::new(state), tokio::sync::Mutex::new(()), Notify::new());
        Self(Arc::new(Shared { clock, journal, state, duty, early }))
    }

    /// What keeps its changes.
    #[must_use]
    pub fn journal(&self) -> &J {
        &self.0.journal
    }

    /// One turn at the engine. Gives the outcome, and up to where the journal must have [kept](Journal::kept) what
    /// changed before anybody is told of it.
    pub fn turn<T>(&self, work: impl FnOnce(&mut Engine) -> T) -> (T, u64) {
        self.0.turn(|state| work(&mut state.engine))
    }

    /// One turn, and its answer when what it says has been kept.
    ///
    /// # Errors
    /// Those of the work, and those of the journal. When the journal fails after the turn, what was asked for may have
    /// been done.
    pub async fn answer<T>(&self, work: impl FnOnce(&mut Engine) -> Result<T>) -> Result<T> {
        self.0.journal.check()?;
        let (outcome, position) = self.turn(work);
        self.0.journal.kept(position).await?;
        outcome
    }

    /// A page of a list, of which many bots are looked at in many turns.
    async fn page<T>(
        &self,
        page: &PageRequest,
        list: impl Fn(&Engine, Option<BotId>, usize, &mut Vec<(BotId, T)>) -> Option<BotId>,
    ) -> Result<Page<T>> {
        self.0.journal.check()?;
        let limit = page.checked_limit()?;
        let mut after = page.cursor.as_ref().map(Cursor::bot).transpose()?;
        let mut items = Vec::new();
        let position = loop {
            let (next, position) = self.turn(|engine| list(engine, after, limit, &mut items));
            if next.is_none() {
                break position;
            }
            after = next;
            tokio::task::yield_now().await;
        };
        self.0.journal.kept(position).await?;
        Ok(Page::of(items, limit, |(id, _)| Cursor::after_bot(*id)).map(|(_, item)| item))
    }

    /// How many bots, leases and waiters it has, under this name.
    ///
    /// # Errors
    /// Those of the formatter.
    pub fn debug(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.0.state);
        f.debug_struct(name)
            .field("bots", &state.engine.bots())
            .field("leases", &state.engine.leases_in_force())
            .field("waiting", &state.engine.waiting())
            .finish()
    }
}

#[expect(clippy::missing_errors_doc, reason = "they are those of the trait's method of the same name")]
impl<J: Journal> EngineFarm<J> {
    /// As [`BotFarm::create`](botfarm_core::BotFarm::create).
    pub async fn create(&self, bot: NewBot) -> Result<Bot> {
        // Version 7 UUIDs made by one process sort by their creation: so they are made within the turn.
        self.answer(|engine| engine.create(BotId::new(), bot)).await
    }

    /// As [`BotFarm::import`](botfarm_core::BotFarm::import).
    pub async fn import(&self, bots: Vec<NewBot>, dry_run: bool) -> Result<ImportReport> {
        self.answer(|engine| engine.import(bots, dry_run, BotId::new)).await
    }

    /// As [`BotFarm::get`](botfarm_core::BotFarm::get).
    pub async fn get(&self, id: BotId) -> Result<Bot> {
        self.answer(|engine| engine.get(id)).await
    }

    /// As [`BotFarm::list`](botfarm_core::BotFarm::list).
    pub async fn list(&self, filter: &BotFilter, page: &PageRequest) -> Result<Page<Bot>> {
        self.page(page, |engine, after, limit, items| engine.list(filter, after, limit, items)).await
    }

    /// As [`BotFarm::update`](botfarm_core::BotFarm::update).
    pub async fn update(&self, id: BotId, changes: BotChanges) -> Result<Bot> {
        self.answer(|engine| engine.update(id, changes)).await
    }

    /// As [`BotFarm::delete`](botfarm_core::BotFarm::delete).
    pub async fn delete(&self, id: BotId) -> Result<()> {
        self.answer(|engine| engine.delete(id)).await
    }

    /// As [`BotFarm::acquire`](botfarm_core::BotFarm::acquire).
    pub async fn acquire(&self, request: LeaseRequest) -> Result<Lease> {
        let journal = &self.0.journal;
        journal.check()?;
        let (id, wait) = (request.id, request.wait);
        let (answer, position) = self.0.turn(|state| match state.engine.acquire(request) {
            Ok(Acquired::Granted { lease, listens: false }) => Break(Ok(lease)),
            Ok(Acquired::Granted { lease, listens: true }) => Continue(Heard::Outcome(Ok(lease))),
            Ok(Acquired::Parked) => Continue(Heard::by(state, id)),
            Err(error) => Break(Err(error)),
        });
        match answer {
            Break(answer) => {
                journal.kept(position).await?;
                answer
            }
            // Boxed, so that a call that need not wait is small.
            Continue(heard) => Box::pin(Place::new(&self.0, id).wait(heard, position, wait)).await,
        }
    }

    /// As [`BotFarm::lookup`](botfarm_core::BotFarm::lookup).
    pub async fn lookup(&self, id: LeaseId) -> Result<Lease> {
        self.answer(|engine| engine.lookup(id)).await
    }

    /// As [`BotFarm::renew`](botfarm_core::BotFarm::renew).
    pub async fn renew(&self, id: LeaseId, ttl: Option<Duration>) -> Result<Lease> {
        self.answer(|engine| engine.renew(id, ttl)).await
    }

    /// As [`BotFarm::release`](botfarm_core::BotFarm::release).
    pub async fn release(&self, id: LeaseId, ending: Ending) -> Result<()> {
        self.answer(|engine| engine.release(id, ending)).await
    }

    /// As [`BotFarm::release_bot`](botfarm_core::BotFarm::release_bot).
    pub async fn release_bot(&self, bot: BotId, release: BotRelease) -> Result<()> {
        self.answer(|engine| engine.release_bot(bot, release)).await
    }

    /// As [`BotFarm::revoke`](botfarm_core::BotFarm::revoke).
    pub async fn revoke(&self, bot: BotId, revocation: Revocation) -> Result<()> {
        self.answer(|engine| engine.revoke(bot, revocation)).await
    }

    /// As [`BotFarm::end_run`](botfarm_core::BotFarm::end_run): the waiters in one turn, and then some leases in each.
    pub async fn end_run(&self, run: &Run, ending: RunEnding) -> Result<EndedRun> {
        self.0.journal.check()?;
        let ((waiters, leases), mut position) =
            self.turn(|engine| (engine.send_away(run, &ending), engine.to_end(run, &ending)));
        let mut ended = EndedRun { leases: 0, waiters };
        for some in leases.chunks(AT_ONCE) {
            let (count, after) = self.turn(|engine| some.iter().filter(|id| engine.take(**id, &ending)).count());
            (ended.leases, position) = (ended.leases + count as u64, after);
            tokio::task::yield_now().await;
        }
        self.0.journal.kept(position).await?;
        Ok(ended)
    }

    /// As [`BotFarm::leases_of_run`](botfarm_core::BotFarm::leases_of_run).
    pub async fn leases_of_run(&self, run: &Run, page: &PageRequest) -> Result<Page<ActiveLease>> {
        self.page(page, |engine, after, limit, items| engine.leases_of_run(run, after, limit, items)).await
    }

    /// As [`BotFarm::leases`](botfarm_core::BotFarm::leases).
    pub async fn leases(&self, page: &PageRequest) -> Result<Page<ActiveLease>> {
        self.page(page, Engine::leases).await
    }

    /// As [`BotFarm::history`](botfarm_core::BotFarm::history), as far as the engine remembers.
    pub async fn history(&self, bot: BotId, page: &PageRequest) -> Result<Page<LeaseRecord>> {
        let records = self.answer(|engine| engine.history(bot, page)).await?;
        Ok(Page::of(records, page.limit, |record| Cursor::before_fence(record.fence)))
    }

    /// As [`BotFarm::hand_outs`](botfarm_core::BotFarm::hand_outs), as far as the engine remembers.
    pub async fn hand_outs(&self, filter: &HandOutFilter, page: &PageRequest) -> Result<Page<HandOut>> {
        let limit = page.checked_limit()?;
        let before = page.cursor.as_ref().map(Cursor::number).transpose()?;
        let (found, more) = self.answer(|engine| Ok(engine.hand_outs(filter, before, limit))).await?;
        let found = Page::of(found, limit, |(number, _)| Cursor::before_number(*number)).map(|(_, hand_out)| hand_out);
        Ok(Page { next: found.next.or_else(|| more.map(Cursor::before_number)), ..found })
    }

    /// As [`BotFarm::queue`](botfarm_core::BotFarm::queue).
    pub async fn queue(&self, page: &PageRequest) -> Result<Page<QueuedRequest>> {
        let limit = page.checked_limit()?;
        let after = page.cursor.as_ref().map(Cursor::ticket).transpose()?;
        let queued = self.answer(|engine| Ok(engine.queued(after, limit))).await?;
        Ok(Page::of(queued, limit, |(ticket, _)| Cursor::after_ticket(*ticket)).map(|(_, request)| request))
    }

    /// As [`BotFarm::stats`](botfarm_core::BotFarm::stats).
    pub async fn stats(&self) -> Result<Stats> {
        self.answer(|engine| Ok(engine.stats())).await
    }

    /// As [`BotFarm::check`](botfarm_core::BotFarm::check).
    #[expect(clippy::unused_async, reason = "the trait's method is")]
    pub async fn check(&self) -> Result<()> {
        self.0.journal.check()
    }
}

impl<J: Journal> Shared<J> {
    /// One turn: what is due is settled first, and whoever was served is rung last, without the lock.
    fn turn<T>(&self, work: impl FnOnce(&mut State) -> T) -> (T, u64) {
        let mut state = lock(&self.state);
        state.engine.settle(self.clock.now());
        let outcome = work(&mut state);
        let State { engine, alarm, bells } = &mut *state;
        let rung: Vec<_> = engine.take_woken().iter().filter_map(|id| bells.get(id).cloned()).collect();
        let early = alarm.is_beaten_by(engine.next_due());
        let position = self.journal.append(engine.take_changes());
        drop(state);
        for bell in rung {
            bell.notify_waiters();
        }
        if early {
            self.early.notify_one();
        }
        (outcome, position)
    }
}

/// A thread that has panicked does not take the farm from the others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<J> Clone for EngineFarm<J> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<J: Journal> fmt::Debug for EngineFarm<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.debug("EngineFarm", f)
    }
}

//! All that the farm knows, and how a bot goes from bucket to bucket.

mod acquire;
#[cfg(any(test, feature = "audit"))]
mod audit;
mod choice;
mod ending;
mod grant;
mod inventory;
mod list;
mod operators;
mod restore;
mod run;
mod seen;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use botfarm_core::{Bot, BotId, EndReason, Error, LeaseId, LeasePolicy, Result, StickyKey};

pub use self::{acquire::Acquired, restore::Contradiction};
use crate::{
    bots::{Bots, Entry, Status},
    bucket::Position,
    directory::Directory,
    kept::{Change, KeptBot, KeptStatus},
    lease::{Held, Leases},
    moment::Moment,
    number::Slot,
    past::{Ended, PastLog},
    pools::Pools,
    queue::Queue,
    selector_index::SelectorIndexes,
    timeline::{Event, Timeline, Timer},
};

/// The state machine of a farm.
///
/// Every call is one turn: [`settle`](Self::settle) with what time it is, do the work, then take out who is to be
/// [woken](Self::take_woken), what has [changed](Self::take_changes), and when something is [due](Self::next_due). It
/// does what it is told in the order that it is told, and the same again when told the same again.
///
/// Its methods are those of [`BotFarm`](botfarm_core::BotFarm) and [`Operators`](botfarm_core::operators::Operators),
/// and so are their errors; only what is made anew, such as the id of a bot, is given by the caller.
#[derive(Debug)]
pub struct Engine {
    policy: LeasePolicy,
    /// What time it was in the latest turn.
    now: Moment,
    timeline: Timeline,
    bots: Bots,
    indexes: SelectorIndexes,
    leases: Leases,
    past: PastLog,
    queue: Queue,
    pools: Pools,
    /// The free bots by what their last lease was asked for with, each in the order of becoming free.
    sticky: HashMap<StickyKey, BTreeMap<u64, Slot>>,
    directory: Directory,
    /// Who is to be woken at the end of this turn.
    woken: Vec<LeaseId>,
    /// What this turn has changed; `None` when nobody wants to know.
    changes: Option<Vec<Change>>,
    counter: u64,
}

impl Engine {
    /// A farm without bots, whose changes nobody wants to know.
    #[must_use]
    pub fn new(policy: LeasePolicy) -> Self {
        Self {
            policy,
            now: Moment::default(),
            timeline: Timeline::default(),
            bots: Bots::default(),
            indexes: SelectorIndexes::default(),
            leases: Leases::default(),
            past: PastLog::default(),
            queue: Queue::default(),
            pools: Pools::default(),
            sticky: HashMap::new(),
            directory: Directory::default(),
            woken: Vec::new(),
            changes: None,
            counter: 0,
        }
    }

    /// Starts a turn: takes note of the time, and does what has come due, in its order. Time never goes backwards: a
    /// moment before that of the latest turn counts as that.
    pub fn settle(&mut self, now: Moment) {
        self.now = self.now.max(now);
        while let Some((at, event)) = self.timeline.due(self.now) {
            match event {
                // A lease whose deadline stands in the timeline is in force.
                Event::Expired(id) => drop(self.end(id, at, EndReason::Expired, None, None)),
                Event::Rested(slot) => {
                    let since = self.count();
                    self.change(slot, |entry| entry.status = Status::Free { since });
                    self.offer(slot);
                }
                Event::Forgotten(id) => self.queue.forget_place(id),
            }
        }
        self.indexes.start_turn();
    }

    /// What time it was in the latest turn.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.now
    }

    /// When the next thing happens by itself, if anything does: a turn is wanted by then.
    #[must_use]
    pub fn next_due(&self) -> Option<Moment> {
        self.timeline.next()
    }

    /// Whose [outcome](Self::outcome) there is since this was last asked.
    pub fn take_woken(&mut self) -> Vec<LeaseId> {
        std::mem::take(&mut self.woken)
    }

    /// What has changed since this was last asked, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        self.changes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How many bots there are.
    #[must_use]
    pub fn bots(&self) -> usize {
        self.bots.len()
    }

    /// How many leases are in force.
    #[must_use]
    pub fn leases_in_force(&self) -> usize {
        self.leases.len()
    }

    /// How many requests stand in the queue.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Takes note of a change, if anybody wants to know.
    fn note(&mut self, change: impl FnOnce(&Self) -> Change) {
        if self.changes.is_some() {
            let change = change(self);
            self.changes.get_or_insert_default().push(change);
        }
    }

    /// The next number of the farm's counter.
    fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn timer(&mut self, at: Moment, event: Event) -> Timer {
        let timer = Timer { at, order: self.count() };
        self.timeline.set(timer, event);
        timer
    }

    /// Changes what the farm does with a bot, and moves it to the bucket where it then belongs, in all its indexes.
    fn change(&mut self, slot: Slot, change: impl FnOnce(&mut Entry)) {
        let entry = &mut self.bots[slot];
        let (from, idle) = (entry.position(), entry.idle());
        change(entry);
        let to = entry.position();
        // Who holds a bot is in its lease, and for whom one is reserved is forgotten with the queue.
        let is_news = entry.idle().is_some_and(|now| idle != Some(now));
        self.shift(slot, Some(from), Some(to));
        if is_news {
            self.note(|engine| Change::Status(engine.kept_status(slot)));
        }
    }

    /// Changes what a bot is, which may put it into other indexes or another pool.
    fn reshape(&mut self, slot: Slot, change: impl FnOnce(&mut Entry)) {
        self.take_out_of_buckets(slot);
        let entry = &mut self.bots[slot];
        change(entry);
        entry.indexes = self.indexes.fitting(&entry.bot, &self.policy);
        self.put_into_buckets(slot);
        self.note(|engine| Change::Bot(engine.kept_bot(slot)));
    }

    /// Puts a bot that is in none into the buckets where it belongs, and into its pool.
    fn put_into_buckets(&mut self, slot: Slot) {
        let entry = &mut self.bots[slot];
        entry.pool = self.pools.of(&mut entry.bot);
        let to = entry.position();
        self.shift(slot, None, Some(to));
    }

    fn take_out_of_buckets(&mut self, slot: Slot) {
        let from = self.bots[slot].position();
        self.shift(slot, Some(from), None);
    }

    /// Takes a bot from one position to another: in all its indexes, in the counts, and among those with its sticky key,
    /// which does not change while it is free.
    fn shift(&mut self, slot: Slot, from: Option<Position>, to: Option<Position>) {
        let entry = &self.bots[slot];
        for index in &entry.indexes {
            self.indexes[*index].shift(slot, from, to);
        }
        self.pools.shift(entry.pool, from.map(|from| from.bucket), to.map(|to| to.bucket));
        let Some(key) = &entry.sticky else { return };
        if let Some(from) = from.filter(|from| from.bucket.is_free())
            && let Some(free) = self.sticky.get_mut(key)
        {
            free.remove(&from.order);
            if free.is_empty() {
                self.sticky.remove(key);
            }
        }
        if let Some(to) = to.filter(|to| to.bucket.is_free()) {
            self.sticky.entry(key.clone()).or_default().insert(to.order, slot);
        }
    }

    fn kept_bot(&self, slot: Slot) -> KeptBot {
        let Entry { bot, password, .. } = &self.bots[slot];
        KeptBot { bot: bot.clone(), password: password.clone(), status: self.kept_status(slot) }
    }

    fn kept_status(&self, slot: Slot) -> KeptStatus {
        let entry = &self.bots[slot];
        let (order, rests_until) = match entry.status {
            Status::Free { since } | Status::Reserved { since } | Status::Held { since, .. } => (since, None),
            Status::Cooling { rested } => (rested.order, Some(rested.at)),
        };
        let Entry { bot, fence, sticky, .. } = entry;
        KeptStatus { bot: bot.id, condition: bot.condition, fence: *fence, sticky: sticky.clone(), order, rests_until }
    }

    /// The free bots last leased with this key, the latest first.
    fn last_leased_with(&self, key: &StickyKey) -> impl Iterator<Item = Slot> {
        self.sticky.get(key).into_iter().flat_map(|free| free.values().rev()).copied()
    }

    fn slot(&self, id: BotId) -> Result<Slot> {
        self.bots.slot(id).ok_or(Error::NoSuchBot { id })
    }

    /// A lease that must be in force.
    fn live(&self, id: LeaseId) -> Result<&Held> {
        self.leases.get(id).ok_or_else(|| self.past.ended(id).map_or(Error::NoSuchLease, Ended::lost))
    }

    /// The lease that holds a bot.
    fn holder_of(&self, slot: Slot) -> Option<&Held> {
        self.leases.get(self.bots[slot].lease()?)
    }

    /// A bot as everybody may see it.
    fn seen(&self, slot: Slot) -> Bot {
        let entry = &self.bots[slot];
        let holding = self.holder_of(slot).map(Held::holding);
        let cooling_until = match entry.status {
            Status::Cooling { rested } => Some(rested.at.timestamp()),
            _ => None,
        };
        Bot { holding, cooling_until, ..entry.bot.clone() }
    }

    /// How long until a lease ends.
    fn left(&self, held: &Held) -> Duration {
        self.now.until(held.ends.at)
    }
}

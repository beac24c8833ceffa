//! All that the farm knows.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use botfarm_core::{
    ActiveLease, Bot, BotId, Condition, Cursor, Domain, EndReason, Env, Error, Fence, Holding, LeasePolicy,
    LeaseRecord, LeaseRequest, Page, PageRequest, PoolStats, ProjectId, Result, Stats, StickyKey,
};
use tokio::sync::Notify;

use crate::{
    bots::{Bots, Entry, Slot, Status},
    clock::{Clock, Event, Moment, Timeline, Timer},
    lease::{Held, Leases},
    queue::Queue,
    view::{Counts, Shelf, Spot, Views},
};

/// So many hand-outs of a bot that have ended are told.
const HISTORY: usize = 100;

/// All that the farm knows.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) policy: LeasePolicy,
    pub(crate) clock: Clock,
    pub(crate) timeline: Timeline,
    pub(crate) bots: Bots,
    pub(crate) views: Views,
    pub(crate) leases: Leases,
    pub(crate) queue: Queue,
    pub(crate) pools: BTreeMap<(ProjectId, Env, Domain), Counts>,
    /// The free bots by what their last lease was asked for with, each in the order of becoming free.
    pub(crate) sticky: HashMap<StickyKey, BTreeMap<u64, Slot>>,
    /// Who is to be rung at the end of this turn.
    pub(crate) bells: Vec<Arc<Notify>>,
    counter: u64,
}

impl State {
    pub(crate) fn new(policy: LeasePolicy) -> Self {
        Self {
            policy,
            clock: Clock::new(),
            timeline: Timeline::new(),
            bots: Bots::default(),
            views: Views::default(),
            leases: Leases::default(),
            queue: Queue::default(),
            pools: BTreeMap::new(),
            sticky: HashMap::new(),
            bells: Vec::new(),
            counter: 0,
        }
    }

    /// Starts a turn: looks at the clock, and does what has come due, in its order.
    pub(crate) fn settle(&mut self) {
        let now = self.clock.look();
        while let Some((at, event)) = self.timeline.due(now) {
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
        self.views.start_turn();
    }

    /// The next number of the farm's counter.
    pub(crate) fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub(crate) fn timer(&mut self, at: Moment, event: Event) -> Timer {
        let timer = Timer { at, order: self.count() };
        self.timeline.set(timer, event);
        timer
    }

    /// Changes a bot, and moves it to the shelf where it then belongs, in all its views.
    pub(crate) fn change(&mut self, slot: Slot, change: impl FnOnce(&mut Entry)) {
        let entry = &mut self.bots[slot];
        let from = entry.spot();
        change(entry);
        let to = entry.spot();
        self.shift(slot, Some(from), Some(to));
    }

    /// The same, for changes that may put it into other views or another pool.
    pub(crate) fn reshape(&mut self, slot: Slot, change: impl FnOnce(&mut Entry)) {
        self.take_off_shelves(slot);
        let entry = &mut self.bots[slot];
        change(entry);
        entry.views = self.views.fitting(&entry.bot);
        self.put_on_shelves(slot);
    }

    pub(crate) fn put_on_shelves(&mut self, slot: Slot) {
        let to = self.bots[slot].spot();
        self.shift(slot, None, Some(to));
    }

    pub(crate) fn take_off_shelves(&mut self, slot: Slot) {
        let from = self.bots[slot].spot();
        self.shift(slot, Some(from), None);
    }

    /// Takes a bot from one spot to another: in all its views, in the counts, and among those with its sticky key, which
    /// does not change while it is free.
    fn shift(&mut self, slot: Slot, from: Option<Spot>, to: Option<Spot>) {
        let entry = &self.bots[slot];
        for view in &entry.views {
            self.views[*view].shift(slot, from, to);
        }
        let pool = self.pools.entry(entry.pool()).or_default();
        if let Some(from) = from {
            pool[from.shelf] -= 1;
        }
        if let Some(to) = to {
            pool[to.shelf] += 1;
        } else if pool.total() == 0 {
            self.pools.remove(&entry.pool());
        }
        let Some(key) = &entry.sticky else { return };
        if let Some(from) = from.filter(|from| from.shelf.is_free())
            && let Some(free) = self.sticky.get_mut(key)
        {
            free.remove(&from.order);
            if free.is_empty() {
                self.sticky.remove(key);
            }
        }
        if let Some(to) = to.filter(|to| to.shelf.is_free()) {
            self.sticky.entry(key.clone()).or_default().insert(to.order, slot);
        }
    }

    /// The free bots last leased with this key, in the order of becoming free.
    pub(crate) fn last_leased_with(&self, key: &StickyKey) -> impl Iterator<Item = Slot> {
        self.sticky.get(key).into_iter().flat_map(BTreeMap::values).copied()
    }

    /// How many bots there are in the pools that a selector is about, whatever their labels and logins.
    pub(crate) fn near(&self, project: Option<ProjectId>, env: Option<Env>, domain: Option<Domain>) -> u64 {
        let is_near = |(of_project, of_env, of_domain): &(ProjectId, Env, Domain)| {
            project.is_none_or(|project| project == *of_project)
                && env.is_none_or(|env| env == *of_env)
                && domain.is_none_or(|domain| domain == *of_domain)
        };
        self.pools.iter().filter(|(pool, _)| is_near(pool)).map(|(_, counts)| counts.total()).sum()
    }

    /// Hands out bots, one for each selector. The lease is still to be kept.
    pub(crate) fn hand_out(&mut self, request: LeaseRequest, ttl: Duration, slots: impl Iterator<Item = Slot>) -> Held {
        let (id, since) = (request.id, self.clock.now);
        let bots = slots.map(|slot| (slot, self.bots[slot].bot.id)).collect();
        let ends = self.timer(since.plus(ttl), Event::Expired(id));
        let held = Held { request, since, ttl, ends, bots };
        for &(slot, _) in &held.bots {
            let hand_out = self.count();
            self.change(slot, |entry| {
                if let Status::Free { since } | Status::Reserved { since } = entry.status {
                    entry.status = Status::Held { since, lease: id, hand_out };
                }
                entry.fence = Fence(entry.fence.0 + 1);
            });
        }
        held
    }

    pub(crate) fn slot(&self, id: BotId) -> Result<Slot> {
        self.bots.slot(id).ok_or(Error::NoSuchBot { id })
    }

    /// The lease that holds a bot.
    pub(crate) fn holder_of(&self, slot: Slot) -> Option<&Held> {
        self.leases.live(self.bots[slot].lease()?)
    }

    /// A bot as everybody may see it.
    pub(crate) fn seen(&self, slot: Slot) -> Bot {
        let entry = &self.bots[slot];
        let holding = self.holder_of(slot).map(|held| held.holding(&self.clock));
        let cooling_until = match entry.status {
            Status::Cooling { rested } => Some(self.clock.shown(rested.at)),
            _ => None,
        };
        Bot { holding, cooling_until, ..entry.bot.clone() }
    }

    /// The lease that holds a bot, as everybody may see it, if the bot is the one it is listed by: that with the least id.
    pub(crate) fn active_lease(&self, slot: Slot) -> Option<ActiveLease> {
        let held = self.holder_of(slot)?;
        if held.bots.iter().any(|(_, id)| *id < self.bots[slot].bot.id) {
            return None;
        }
        let Holding { holder, note, url, since, expires_at } = held.holding(&self.clock);
        let bots = held.bots.iter().zip(&held.request.selectors);
        let bots = bots.map(|(&(slot, _), selector)| (selector.role.clone(), self.seen(slot))).collect();
        Some(ActiveLease { holder, note, url, acquired_at: since, expires_at, bots })
    }

    pub(crate) fn history(&self, bot: BotId, page: &PageRequest) -> Result<Page<LeaseRecord>> {
        let entry = &self.bots[self.slot(bot)?];
        let limit = page.checked_limit()?;
        let before = page.cursor.as_ref().map(Cursor::fence).transpose()?;
        let open = entry.lease().and_then(|id| self.leases.live(id)).map(|held| {
            let Holding { holder, note, url, since, .. } = held.holding(&self.clock);
            LeaseRecord { bot, fence: entry.fence, holder, note, url, from: since, end: None }
        });
        let past = self.leases.history(entry.last).take(HISTORY).map(|past| past.record(&self.clock));
        let items = open.into_iter().chain(past).filter(|record| before.is_none_or(|before| record.fence < before));
        Ok(Page::of(items.take(limit + 1).collect(), limit, |record| Cursor::before_fence(record.fence)))
    }

    pub(crate) fn stats(&self) -> Stats {
        let pools = self.pools.iter().map(|(&(project, env, domain), counts)| PoolStats {
            project,
            env,
            domain,
            total: counts.total(),
            free: counts.idle(Condition::Ready),
            leased: counts[Shelf::HELD],
            cooling: counts[Shelf::COOLING],
            dirty: counts.idle(Condition::Dirty),
            broken: counts.idle(Condition::Broken),
        });
        Stats { pools: pools.collect(), waiting: self.queue.len() as u64 }
    }
}

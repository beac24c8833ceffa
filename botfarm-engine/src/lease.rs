//! The leases in force, and those that have ended.

use std::{collections::VecDeque, iter::successors, sync::Arc, time::Duration};

use botfarm_core::{
    Bot, BotId, EndReason, Error, Fence, Fingerprint, Holder, Holding, JobUrl, Lease, LeaseEnd, LeaseId, LeaseRecord,
    LeaseRequest, LeasedBot, Note, Outcome, Result,
};
use foldhash::HashMap;
use smallvec::SmallVec;

use crate::{
    bots::{Bots, Entry, Slot},
    clock::{Clock, Moment, Timer},
};

/// So many hand-outs that have ended are remembered.
const REMEMBERED: usize = 100_000;

/// A lease in force: the request, and what it got.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) request: LeaseRequest,
    pub(crate) since: Moment,
    pub(crate) ttl: Duration,
    /// When it ends unless it is renewed.
    pub(crate) ends: Timer,
    /// The bots, one for each selector.
    pub(crate) bots: SmallVec<[(Slot, BotId); 1]>,
}

impl Held {
    /// What everybody may know of it.
    pub(crate) fn holding(&self, clock: &Clock) -> Holding {
        Holding {
            holder: self.request.holder.clone(),
            note: self.request.note.clone(),
            url: self.request.url.clone(),
            since: clock.shown(self.since),
            expires_at: clock.shown(self.ends.at),
        }
    }

    /// As its holder sees it.
    pub(crate) fn lease(&self, clock: &Clock, bots: &Bots) -> Lease {
        let holding = self.holding(clock);
        let leased = self.bots.iter().zip(&self.request.selectors).map(|(&(slot, _), selector)| {
            let Entry { bot, password, fence, .. } = &bots[slot];
            let bot = Bot { holding: Some(holding.clone()), ..bot.clone() };
            LeasedBot { role: selector.role.clone(), bot, password: password.clone(), fence: *fence }
        });
        let bots = leased.collect();
        let Holding { holder, note, url, since, expires_at } = holding;
        Lease {
            id: self.request.id,
            holder,
            note,
            url,
            acquired_at: since,
            expires_at,
            ttl: self.ttl,
            remaining: clock.now.until(self.ends.at),
            bots,
        }
    }
}

/// How a lease ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) at: Moment,
    pub(crate) reason: EndReason,
    /// What was said at the end; mostly nothing.
    pub(crate) told: Option<Arc<Told>>,
}

/// What was said at the end of a lease.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) by: Option<Holder>,
    pub(crate) note: Option<Note>,
}

impl Ended {
    fn shown(&self, clock: &Clock, outcome: Option<Outcome>) -> LeaseEnd {
        let (by, note) = self.told.as_ref().map(|told| (told.by.clone(), told.note.clone())).unwrap_or_default();
        LeaseEnd { at: clock.shown(self.at), reason: self.reason, outcome, by, note }
    }

    /// The error for whoever uses the lease's id.
    pub(crate) fn lost(&self, clock: &Clock) -> Error {
        let LeaseEnd { at, reason, by, note, .. } = self.shown(clock, None);
        Error::lost(reason, at, by, note.filter(|_| reason == EndReason::Revoked))
    }
}

/// A hand-out of a bot that has ended.
#[derive(Debug)]
pub(crate) struct Past {
    lease: LeaseId,
    bot: BotId,
    fence: Fence,
    holder: Holder,
    note: Option<Note>,
    url: Option<JobUrl>,
    from: Moment,
    outcome: Option<Outcome>,
    end: Ended,
    /// The hand-out of the bot before this one.
    earlier: Option<PastId>,
}

/// Which hand-out: they are counted.
pub(crate) type PastId = u64;

impl Past {
    pub(crate) fn new(held: &Held, entry: &Entry, outcome: Option<Outcome>, end: Ended) -> Self {
        let LeaseRequest { id, holder, note, url, .. } = &held.request;
        let (holder, note, url) = (holder.clone(), note.clone(), url.clone());
        let Entry { bot, fence, last, .. } = entry;
        Self {
            lease: *id,
            bot: bot.id,
            fence: *fence,
            holder,
            note,
            url,
            from: held.since,
            outcome,
            end,
            earlier: *last,
        }
    }

    pub(crate) fn record(&self, clock: &Clock) -> LeaseRecord {
        LeaseRecord {
            bot: self.bot,
            fence: self.fence,
            holder: self.holder.clone(),
            note: self.note.clone(),
            url: self.url.clone(),
            from: clock.shown(self.from),
            end: Some(self.end.shown(clock, self.outcome)),
        }
    }
}

/// So many leases are young.
const YOUNG: usize = 256;

/// The leases in force by their ids, the latest of them apart. Most end soon: so they begin and end in a small map, and
/// the large one, of which every place that is written to is far away, is written to for those alone that stay.
#[derive(Debug, Default)]
struct Live {
    young: HashMap<LeaseId, Box<Held>>,
    old: HashMap<LeaseId, Box<Held>>,
}

impl Live {
    fn get(&self, id: LeaseId) -> Option<&Held> {
        self.young.get(&id).or_else(|| self.old.get(&id)).map(|held| &**held)
    }

    fn get_mut(&mut self, id: LeaseId) -> Option<&mut Held> {
        self.young.get_mut(&id).or_else(|| self.old.get_mut(&id)).map(|held| &mut **held)
    }

    fn insert(&mut self, held: Held) {
        if self.young.len() == YOUNG {
            self.old.extend(self.young.drain());
        }
        self.young.insert(held.request.id, Box::new(held));
    }

    fn remove(&mut self, id: LeaseId) -> Option<Box<Held>> {
        self.young.remove(&id).or_else(|| self.old.remove(&id))
    }

    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

/// The leases in force, and the latest of those that have ended.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    live: Live,
    /// The last hand-out of each lease that has ended.
    ended: HashMap<LeaseId, PastId>,
    /// The hand-outs that have ended, oldest first; those of a lease one after the other. One log for all bots: a log for
    /// each takes memory wherever a bot is leased for the first time, and half the time of a lease at a million.
    past: VecDeque<Past>,
    /// How many have been forgotten: the id of the first in the log.
    forgotten: PastId,
}

impl Leases {
    /// A lease in force.
    pub(crate) fn live(&self, id: LeaseId) -> Option<&Held> {
        self.live.get(id)
    }

    pub(crate) fn live_mut(&mut self, id: LeaseId) -> Option<&mut Held> {
        self.live.get_mut(id)
    }

    /// All that are in force.
    #[cfg(test)]
    pub(crate) fn all(&self) -> impl Iterator<Item = &Held> {
        self.live.young.values().chain(self.live.old.values()).map(|held| &**held)
    }

    /// How a lease ended, if it has.
    pub(crate) fn ended(&self, id: LeaseId) -> Option<&Ended> {
        self.past(*self.ended.get(&id)?).map(|past| &past.end)
    }

    /// How a lease of this bot ended, if it has.
    pub(crate) fn ended_of(&self, bot: BotId, id: LeaseId) -> Option<&Ended> {
        let last = *self.ended.get(&id)?;
        let mut hand_outs = (0..=last).rev().map_while(|at| self.past(at)).take_while(|past| past.lease == id);
        hand_outs.find(|past| past.bot == bot).map(|past| &past.end)
    }

    /// A hand-out that has ended, and those of the same bot before it, as far as they are remembered.
    pub(crate) fn history(&self, last: Option<PastId>) -> impl Iterator<Item = &Past> {
        successors(last.and_then(|id| self.past(id)), |past| self.past(past.earlier?))
    }

    fn past(&self, id: PastId) -> Option<&Past> {
        self.past.get(usize::try_from(id.checked_sub(self.forgotten)?).ok()?)
    }

    /// Keeps a new lease.
    pub(crate) fn insert(&mut self, held: Held) {
        self.live.insert(held);
    }

    /// Takes a lease out of those in force.
    pub(crate) fn take(&mut self, id: LeaseId) -> Option<Box<Held>> {
        self.live.remove(id)
    }

    /// Remembers a hand-out that has ended.
    pub(crate) fn remember(&mut self, past: Past) -> PastId {
        if self.past.len() == REMEMBERED
            && let Some(oldest) = self.past.pop_front()
        {
            if self.ended.get(&oldest.lease) == Some(&self.forgotten) {
                self.ended.remove(&oldest.lease);
            }
            self.forgotten += 1;
        }
        let id = self.forgotten + self.past.len() as PastId;
        self.ended.insert(past.lease, id);
        self.past.push_back(past);
        id
    }

    /// How many are in force.
    pub(crate) fn count(&self) -> usize {
        self.live.len()
    }
}

/// Whether a request may stand for one of the same id.
pub(crate) fn check_same(known: Option<Fingerprint>, asked: Option<Fingerprint>) -> Result<()> {
    match (known, asked) {
        (Some(known), Some(asked)) if known != asked => Err(Error::KeyReused),
        _ => Ok(()),
    }
}

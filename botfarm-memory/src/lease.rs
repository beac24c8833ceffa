//! The leases in force, and those that have ended.

use std::{
    collections::{BTreeMap, HashMap, VecDeque, hash_map},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use botfarm_core::{
    BotId, EndReason, Error, Fence, Fingerprint, Holder, JobUrl, LeaseEnd, LeaseId, LeaseRecord, LeaseRequest, Note,
    Outcome, Result, Timestamp,
};
use smallvec::SmallVec;

use crate::{
    bots::Slot,
    clock::{Moment, Timer},
};

/// So many ended leases are remembered by their ids.
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
    /// What it is listed by: the least id of its bots.
    fn key(&self) -> Option<BotId> {
        self.bots.iter().map(|(_, id)| *id).min()
    }
}

/// A lease that has ended, as it stands in the histories of its bots.
#[derive(Debug)]
pub(crate) struct Past {
    pub(crate) bots: SmallVec<[BotId; 1]>,
    holder: Holder,
    note: Option<Note>,
    url: Option<JobUrl>,
    from: Timestamp,
    end: LeaseEnd,
}

impl Past {
    pub(crate) fn new(held: &Held, from: Timestamp, end: LeaseEnd) -> Self {
        let LeaseRequest { holder, note, url, .. } = &held.request;
        Self {
            bots: held.bots.iter().map(|(_, id)| *id).collect(),
            holder: holder.clone(),
            note: note.clone(),
            url: url.clone(),
            from,
            end,
        }
    }

    pub(crate) fn reason(&self) -> EndReason {
        self.end.reason
    }

    /// In what state the bots were left, when the holder said so.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.end.outcome
    }

    /// The error for whoever uses its id.
    pub(crate) fn lost(&self) -> Error {
        let LeaseEnd { at, reason, by, note, .. } = &self.end;
        let reason_given = note.clone().filter(|_| *reason == EndReason::Revoked);
        Error::lost(*reason, *at, by.clone(), reason_given)
    }

    /// Its line in the history of one of its bots.
    pub(crate) fn record(&self, bot: BotId, fence: Fence) -> LeaseRecord {
        LeaseRecord {
            bot,
            fence,
            holder: self.holder.clone(),
            note: self.note.clone(),
            url: self.url.clone(),
            from: self.from,
            end: Some(self.end.clone()),
        }
    }
}

/// What an id stands for.
#[derive(Debug)]
pub(crate) enum Known {
    Live(Box<Held>),
    Ended(Arc<Past>),
}

/// The leases in force, and the latest of those that have ended.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    known: HashMap<LeaseId, Known>,
    /// Those in force, by the least id of their bots.
    live: BTreeMap<BotId, LeaseId>,
    /// Those that have ended, oldest first.
    ended: VecDeque<LeaseId>,
}

impl Leases {
    pub(crate) fn get(&self, id: LeaseId) -> Option<&Known> {
        self.known.get(&id)
    }

    /// A lease that must be in force.
    pub(crate) fn live(&self, id: LeaseId) -> Result<&Held> {
        match self.known.get(&id) {
            Some(Known::Live(held)) => Ok(held),
            Some(Known::Ended(past)) => Err(past.lost()),
            None => Err(Error::NoSuchLease),
        }
    }

    pub(crate) fn live_mut(&mut self, id: LeaseId) -> Option<&mut Held> {
        match self.known.get_mut(&id) {
            Some(Known::Live(held)) => Some(held),
            _ => None,
        }
    }

    pub(crate) fn insert(&mut self, id: LeaseId, held: Held) {
        if let Some(key) = held.key() {
            self.live.insert(key, id);
        }
        self.known.insert(id, Known::Live(Box::new(held)));
    }

    /// Ends a lease in force, if it is: what it was, and as what it is remembered.
    pub(crate) fn end(&mut self, id: LeaseId, past: impl FnOnce(&Held) -> Past) -> Option<(Held, Arc<Past>)> {
        let known = self.known.get_mut(&id)?;
        let Known::Live(held) = known else { return None };
        let past = Arc::new(past(held));
        let Known::Live(held) = std::mem::replace(known, Known::Ended(past.clone())) else { return None };
        self.unlist(&held);
        self.ended.push_back(id);
        if self.ended.len() > REMEMBERED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.known.remove(&oldest);
        }
        Some((*held, past))
    }

    /// Forgets a lease in force as if it had never been.
    pub(crate) fn undo(&mut self, id: LeaseId) -> Option<Held> {
        let hash_map::Entry::Occupied(known) = self.known.entry(id) else { return None };
        if !matches!(known.get(), Known::Live(_)) {
            return None;
        }
        let Known::Live(held) = known.remove() else { return None };
        self.unlist(&held);
        Some(*held)
    }

    fn unlist(&mut self, held: &Held) {
        if let Some(key) = held.key() {
            self.live.remove(&key);
        }
    }

    /// The leases in force after this one, by the least id of their bots.
    pub(crate) fn after(&self, key: Option<BotId>) -> impl Iterator<Item = (BotId, &Held)> {
        let start = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.live.range((start, Bound::Unbounded)).filter_map(|(key, id)| Some((*key, self.live(*id).ok()?)))
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

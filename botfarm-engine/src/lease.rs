//! The leases in force.

use std::{
    collections::{BTreeMap, hash_map},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use botfarm_core::{
    Bot, BotId, Error, Fingerprint, Holding, Lease, LeaseId, LeaseRequest, LeasedBot, Result, Run, Selector,
};
use foldhash::HashMap;
use smallvec::SmallVec;

use crate::{
    bots::{Bots, Entry},
    kept::{KeptLease, KeptLeasedBot},
    moment::Moment,
    number::Slot,
    timeline::Timer,
};

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
    pub(crate) fn holding(&self) -> Holding {
        Holding {
            terms: Arc::clone(&self.request.terms),
            since: self.since.timestamp(),
            expires_at: self.ends.at.timestamp(),
        }
    }

    /// The least id among its bots.
    pub(crate) fn first_bot(&self) -> Option<BotId> {
        self.bots.iter().map(|(_, id)| *id).min()
    }

    /// As its holder sees it.
    pub(crate) fn lease(&self, now: Moment, bots: &Bots) -> Lease {
        let holding = self.holding();
        let leased = self.bots.iter().zip(&self.request.selectors).map(|(&(slot, _), selector)| {
            let Entry { bot, password, fence, .. } = &bots[slot];
            let bot = Bot { holding: Some(holding.clone()), ..bot.clone() };
            let password = password.clone().expect("a bot without a password is not handed out");
            LeasedBot { alias: selector.alias.clone(), bot, password, fence: *fence }
        });
        let bots = leased.collect();
        let Holding { terms, since, expires_at } = holding;
        Lease {
            id: self.request.id,
            terms,
            acquired_at: since,
            expires_at,
            ttl: self.ttl,
            remaining: now.until(self.ends.at),
            bots,
        }
    }

    /// As a journal keeps it.
    pub(crate) fn kept(&self, bots: &Bots) -> KeptLease {
        let leased = self.bots.iter().zip(&self.request.selectors).map(|(&(slot, bot), selector)| KeptLeasedBot {
            bot,
            alias: selector.alias.clone(),
            fence: bots[slot].fence,
        });
        let LeaseRequest { id, terms, sticky, fingerprint, .. } = &self.request;
        let (terms, sticky) = (Arc::clone(terms), sticky.clone());
        let (acquired_at, ttl, expires_at, bots) = (self.since, self.ttl, self.ends.at, leased.collect());
        KeptLease { id: *id, terms, sticky, fingerprint: *fingerprint, acquired_at, ttl, expires_at, bots }
    }

    /// As a journal kept it: of the request, what is still of use.
    pub(crate) fn restored(kept: KeptLease, ends: Timer, bots: SmallVec<[(Slot, BotId); 1]>) -> Self {
        let KeptLease { id, terms, sticky, fingerprint, acquired_at, ttl, .. } = kept;
        let selectors = kept.bots.into_iter().map(|leased| Selector { alias: leased.alias, ..Selector::any() });
        let request = LeaseRequest::many(terms.holder.clone(), selectors).id(id);
        let request = LeaseRequest { terms, sticky, fingerprint, ..request };
        Self { request, since: acquired_at, ttl, ends, bots }
    }
}

/// So many leases are young.
const YOUNG: usize = 256;

/// The leases in force by their ids, the latest of them apart. Most end soon: so they begin and end in a small map, and
/// the large one, of which every place that is written to is far away, is written to for those alone that stay.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    young: HashMap<LeaseId, Box<Held>>,
    old: HashMap<LeaseId, Box<Held>>,
    /// Those that are a part of a run, by the least id among their bots.
    by_run: HashMap<Run, BTreeMap<BotId, LeaseId>>,
}

impl Leases {
    /// A lease in force.
    pub(crate) fn get(&self, id: LeaseId) -> Option<&Held> {
        self.young.get(&id).or_else(|| self.old.get(&id)).map(|held| &**held)
    }

    pub(crate) fn get_mut(&mut self, id: LeaseId) -> Option<&mut Held> {
        self.young.get_mut(&id).or_else(|| self.old.get_mut(&id)).map(|held| &mut **held)
    }

    pub(crate) fn insert(&mut self, held: Held) {
        if let (Some(run), Some(first)) = (&held.request.terms.run, held.first_bot()) {
            self.by_run.entry(run.clone()).or_default().insert(first, held.request.id);
        }
        if self.young.len() == YOUNG {
            self.old.extend(self.young.drain());
        }
        self.young.insert(held.request.id, Box::new(held));
    }

    pub(crate) fn remove(&mut self, id: LeaseId) -> Option<Box<Held>> {
        let held = self.young.remove(&id).or_else(|| self.old.remove(&id))?;
        if let (Some(run), Some(first)) = (&held.request.terms.run, held.first_bot())
            && let hash_map::Entry::Occupied(mut of_run) = self.by_run.entry(run.clone())
        {
            of_run.get_mut().remove(&first);
            if of_run.get().is_empty() {
                of_run.remove();
            }
        }
        Some(held)
    }

    /// Those of a run, by the least id among their bots, which is given with each.
    pub(crate) fn of_run(&self, run: &Run, after: Bound<BotId>) -> impl Iterator<Item = (BotId, LeaseId)> {
        let leases = self.by_run.get(run).into_iter().flat_map(move |of_run| of_run.range((after, Bound::Unbounded)));
        leases.map(|(first, id)| (*first, *id))
    }

    /// How many runs have leases in force.
    #[cfg(any(test, feature = "audit"))]
    pub(crate) fn runs(&self) -> usize {
        self.by_run.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// All of them.
    #[cfg(any(test, feature = "audit"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.young.values().chain(self.old.values()).map(|held| &**held)
    }
}

/// Whether a request may stand for one of the same id.
pub(crate) fn check_same(known: Option<Fingerprint>, asked: Option<Fingerprint>) -> Result<()> {
    match (known, asked) {
        (Some(known), Some(asked)) if known != asked => Err(Error::KeyReused),
        _ => Ok(()),
    }
}

//! The leases in force.

use std::{sync::Arc, time::Duration};

use botfarm_core::{
    Bot, BotId, Error, Fingerprint, Holding, Lease, LeaseId, LeaseRequest, LeasedBot, Result, Selector,
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
        if self.young.len() == YOUNG {
            self.old.extend(self.young.drain());
        }
        self.young.insert(held.request.id, Box::new(held));
    }

    pub(crate) fn remove(&mut self, id: LeaseId) -> Option<Box<Held>> {
        self.young.remove(&id).or_else(|| self.old.remove(&id))
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

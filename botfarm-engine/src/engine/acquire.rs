//! How a request gets its lease, or a place in the queue.

use std::{sync::Arc, time::Duration};

use botfarm_core::{Error, Lease, LeaseId, LeaseRequest, Result};

use super::Engine;
use crate::{
    assignment::{Assignment, unmet},
    bots::Entry,
    lease::check_same,
    moment::Moment,
    number::{Slot, Ticket},
    queue::{Kept, KeptFor, Name, Pending, Phase, Waiter},
};

/// What a request is answered at once.
#[derive(Debug)]
pub enum Acquired {
    /// It has its lease.
    Granted {
        /// The lease.
        lease: Lease,
        /// Whether the caller must say that it was [received](Engine::received), and then [leave](Engine::leave).
        listens: bool,
    },
    /// It stands in the queue, and is [woken](Engine::take_woken) when there is an [outcome](Engine::outcome). Whoever
    /// waits must [leave](Engine::leave), whatever happens.
    Parked,
}

impl Engine {
    /// Leases bots, or parks the request: how long it waits is for the caller to count.
    ///
    /// An engine whose changes are kept gives leases that are yet to be [received](Self::received): they are undone when
    /// all who listen have [left](Self::leave) before.
    ///
    /// # Errors
    /// Those of [`BotFarm::acquire`](botfarm_core::BotFarm::acquire).
    pub fn acquire(&mut self, mut request: LeaseRequest) -> Result<Acquired> {
        let ttl = self.policy.check(&request)?;
        let id = request.id;
        if let Some(held) = self.leases.get(id) {
            check_same(held.request.fingerprint, request.fingerprint)?;
            let lease = held.lease(self.now, &self.bots);
            return Ok(Acquired::Granted { lease, listens: self.listen_to_grant(id) });
        }
        if let Some(end) = self.past.ended(id) {
            return Err(end.lost());
        }
        self.sent_away(id)?;
        if let Some(waiter) = self.queue.waiters.get_mut(&id) {
            if let Phase::Waiting(pending) = &waiter.phase {
                check_same(pending.request.fingerprint, request.fingerprint)?;
            }
            waiter.listeners += 1;
            return Ok(Acquired::Parked);
        }
        request.avoid.sort_unstable();
        let kept = self.queue.kept.remove(&id).and_then(|Kept { timer, of }| {
            self.timeline.cancel(timer);
            if let KeptFor::Place { ticket, since, .. } = of { Some((ticket, since)) } else { None }
        });
        if let Some((ticket, since)) = kept
            && self.queue.len() > 0
        {
            // What is reserved for those who came after it may be its own by right.
            self.park(request, ttl, ticket, since);
            self.rematch();
            return Ok(Acquired::Parked);
        }
        let choice = self.choose(&request);
        let Some(index) = unmet(&choice) else {
            let held = self.hand_out(request, ttl, choice.into_iter().flatten());
            let lease = held.lease(self.now, &self.bots);
            self.put_in_force(held);
            let listens = self.changes.is_some();
            if listens {
                let (ticket, since) = kept.unwrap_or_else(|| (self.count(), self.now));
                let phase = Phase::Granted { received: false };
                self.queue.waiters.insert(id, Waiter { ticket, since, listeners: 1, phase });
            }
            return Ok(Acquired::Granted { lease, listens });
        };
        self.check_match(&request)?;
        if request.wait.is_zero() {
            return Err(self.shortage(&request, index));
        }
        let (ticket, since) = kept.unwrap_or_else(|| (self.count(), self.now));
        self.park(request, ttl, ticket, since);
        self.reserve(id, choice);
        Ok(Acquired::Parked)
    }

    /// Joins those who are still to receive a lease in force, if there are any.
    fn listen_to_grant(&mut self, id: LeaseId) -> bool {
        if self.changes.is_none() {
            self.received(id);
            return false;
        }
        let waiter = self.queue.waiters.get_mut(&id);
        waiter.map(|waiter| waiter.listeners += 1).is_some()
    }

    /// What a waiter got, if it has an answer. A lease is still to be [received](Self::received).
    pub fn outcome(&mut self, id: LeaseId) -> Option<Result<Lease>> {
        match self.queue.waiters.get(&id).map(|waiter| &waiter.phase) {
            Some(Phase::Waiting(_)) => return None,
            Some(Phase::Refused { selector, detail }) => {
                return Some(Err(Error::NoMatch { selector: *selector, detail: detail.clone() }));
            }
            Some(Phase::Ended(ended)) => return Some(Err(ended.lost())),
            Some(Phase::Granted { .. }) | None => {}
        }
        Some(self.live(id).map(|held| held.lease(self.now, &self.bots)))
    }

    /// What a waiter is told that has waited long enough.
    pub fn give_up(&mut self, id: LeaseId) -> Error {
        let Some(Pending { request, reserved, .. }) = self.queue.pending(id).cloned() else {
            return Error::NoSuchLease;
        };
        self.shortage(&request, unmet(&reserved).unwrap_or_default())
    }

    /// Somebody has seen the lease: from now on it is not undone.
    pub fn received(&mut self, id: LeaseId) {
        if let Some(Waiter { phase: Phase::Granted { received }, .. }) = self.queue.waiters.get_mut(&id) {
            *received = true;
        }
    }

    /// One listener goes. When it was the last, nobody waits any more: its place is kept for a while, and what was
    /// reserved for it, or granted and not received, goes to others. Says whether it was.
    pub fn leave(&mut self, id: LeaseId) -> bool {
        let Some(waiter) = self.queue.waiters.get_mut(&id) else { return true };
        waiter.listeners -= 1;
        if waiter.listeners > 0 {
            return false;
        }
        let (ticket, since) = (waiter.ticket, waiter.since);
        let left = match &waiter.phase {
            Phase::Waiting(_) => self.step_out(id).map(|Pending { request, reserved, .. }| {
                (Arc::clone(&request.terms), reserved.into_iter().flatten().collect())
            }),
            Phase::Granted { received: false } => self.undo(id),
            Phase::Ended(ended) => {
                let ended = ended.clone();
                self.keep_for(id, KeptFor::End(ended));
                None
            }
            Phase::Granted { received: true } | Phase::Refused { .. } => None,
        };
        self.queue.waiters.remove(&id);
        let Some((terms, slots)) = left else { return true };
        self.keep_for(id, KeptFor::Place { ticket, since, terms });
        self.put_back(slots);
        true
    }

    /// Puts bots back to where they stood among the free ones, and offers them anew.
    pub(super) fn put_back(&mut self, mut slots: Vec<Slot>) {
        for slot in &slots {
            self.change(*slot, Entry::put_back);
        }
        slots.sort_by_key(|slot| self.bots[*slot].position().order);
        for slot in slots {
            self.offer(slot);
        }
    }

    /// Gives a request a place in the line.
    fn park(&mut self, request: LeaseRequest, ttl: Duration, ticket: Ticket, since: Moment) {
        let id = request.id;
        for selector in &request.selectors {
            if let Some(name) = Name::of(selector) {
                self.queue.wait_for(name, ticket);
            } else {
                let index = self.indexes.of(selector, &mut self.bots, &self.policy);
                self.indexes[index].waiters[selector.condition as usize].insert(ticket);
            }
        }
        let reserved = Assignment::from_elem(None, request.selectors.len());
        let phase = Phase::Waiting(Pending { request: Arc::new(request), ttl, reserved });
        self.queue.line.insert(ticket, id);
        self.queue.waiters.insert(id, Waiter { ticket, since, listeners: 1, phase });
    }

    /// Takes a waiter out of the line; it is as good as granted until told otherwise.
    pub(super) fn step_out(&mut self, id: LeaseId) -> Option<Pending> {
        let waiter = self.queue.waiters.get_mut(&id)?;
        let Phase::Waiting(pending) = std::mem::replace(&mut waiter.phase, Phase::Granted { received: false }) else {
            return None;
        };
        let ticket = waiter.ticket;
        self.queue.line.remove(&ticket);
        for selector in &pending.request.selectors {
            if let Some(name) = Name::of(selector) {
                self.queue.wait_no_more_for(name, ticket);
            } else if let Some(index) = self.indexes.find(selector) {
                self.indexes[index].waiters[selector.condition as usize].remove(&ticket);
            }
        }
        Some(pending)
    }
}

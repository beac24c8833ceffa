//! How bots find their way to those who wait.
//!
//! Between turns this holds: no free bot is of use to anybody who waits. What is of use to a request for many is
//! *reserved* for it as soon as it is free, so a newcomer who looks at free bots alone passes nobody. Who came first
//! loses nothing by who came later: a bot that did not extend the assignment of a request when it became free would not
//! extend it now that the assignment has grown, since the sets of bots that can be assigned are those of a transversal
//! matroid.

use std::{sync::Arc, time::Duration};

use botfarm_core::{Error, Fence, LeaseId, LeaseRequest, rules::matching};

use super::Engine;
use crate::{
    assignment::{Assignment, unmet},
    bots::{Entry, Status},
    kept::Change,
    lease::Held,
    number::{Slot, Ticket},
    queue::{Pending, Phase},
    timeline::Event,
};

impl Engine {
    /// Hands out bots, one for each selector. The lease is still to be put in force.
    pub(super) fn hand_out(&mut self, request: LeaseRequest, ttl: Duration, slots: impl Iterator<Item = Slot>) -> Held {
        let (id, since) = (request.id, self.now);
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

    pub(super) fn put_in_force(&mut self, held: Held) {
        self.note(|engine| Change::Lease(held.kept(&engine.bots)));
        self.leases.insert(held);
    }

    /// Keeps the bots of a choice for a waiter; when there is one for each selector, they are its lease.
    pub(super) fn reserve(&mut self, id: LeaseId, choice: Assignment) {
        if unmet(&choice).is_some() {
            for slot in choice.iter().flatten() {
                self.change(*slot, Entry::reserve);
            }
            if let Some(pending) = self.queue.pending_mut(id) {
                pending.reserved = choice;
            }
            return;
        }
        let Some(Pending { request, ttl, .. }) = self.step_out(id) else { return };
        let held = self.hand_out(Arc::unwrap_or_clone(request), ttl, choice.into_iter().flatten());
        self.put_in_force(held);
        self.woken.push(id);
    }

    /// Offers a free bot to those who wait, in their order, until one takes it.
    pub(super) fn offer(&mut self, slot: Slot) {
        let mut from = 0;
        while let Some((ticket, id)) = self.next_waiter(slot, from) {
            if let Some(choice) = self.extended(id, slot) {
                return self.reserve(id, choice);
            }
            from = ticket + 1;
        }
    }

    /// The first who waits for such a bot, from a ticket on.
    pub(super) fn next_waiter(&self, slot: Slot, from: Ticket) -> Option<(Ticket, LeaseId)> {
        if self.queue.line.is_empty() {
            return None;
        }
        let entry = &self.bots[slot];
        let indexes = entry.indexes.iter().map(|index| &self.indexes[*index].waiters[entry.bot.condition as usize]);
        let ticket =
            indexes.chain(self.queue.named(&entry.bot)).filter_map(|waiters| waiters.range(from..).next()).min()?;
        Some((*ticket, *self.queue.line.get(ticket)?))
    }

    /// What would be reserved for a waiter with one bot more; `None` when it is of no use to it.
    pub(super) fn extended(&self, id: LeaseId, slot: Slot) -> Option<Assignment> {
        let Pending { request, reserved, .. } = self.queue.pending(id)?;
        if self.avoids(request, slot) {
            return None;
        }
        let offered: Vec<_> = reserved.iter().flatten().copied().chain([slot]).collect();
        let fitting =
            |selector| offered.iter().copied().filter(|slot| self.bots[*slot].fits(selector, &self.policy)).collect();
        let choice: Assignment = matching::assign(&request.selectors.iter().map(fitting).collect::<Vec<_>>()).into();
        (choice.iter().flatten().count() == offered.len()).then_some(choice)
    }

    /// Serves the queue anew, first come first served: for when bots have changed, gone, or come in numbers.
    pub(super) fn rematch(&mut self) {
        self.unreserve();
        let line: Vec<_> = self.queue.line.values().copied().collect();
        for id in line {
            let Some(request) = self.queue.pending(id).map(|pending| pending.request.clone()) else { continue };
            let choice = self.choose(&request);
            if unmet(&choice).is_some()
                && let Err(Error::NoMatch { selector, detail }) = self.check_match(&request)
            {
                self.step_out(id);
                self.woken.push(id);
                if let Some(waiter) = self.queue.waiters.get_mut(&id) {
                    waiter.phase = Phase::Refused { selector, detail };
                }
                continue;
            }
            // A lease granted to the waiter must own its request alone.
            drop(request);
            self.reserve(id, choice);
        }
    }

    /// Puts all reserved bots back.
    pub(super) fn unreserve(&mut self) {
        let line: Vec<_> = self.queue.line.values().copied().collect();
        for id in line {
            let Some(pending) = self.queue.pending_mut(id) else { continue };
            for slot in pending.reserved.iter_mut().filter_map(Option::take).collect::<Vec<_>>() {
                self.change(slot, Entry::put_back);
            }
        }
    }
}

//! Who waits, what is kept for them, and how a freed bot finds the first whom it fits.
//!
//! Between turns this holds: no free bot is of use to anybody who waits. What is of use to a request for many is
//! *reserved* for it as soon as it is free, so a newcomer who looks at free bots alone passes nobody. Who came first
//! loses nothing by who came later: a bot that did not extend the assignment of a request when it became free would not
//! extend it now that the assignment has grown, since the sets of bots that can be assigned are those of a transversal
//! matroid.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map},
    sync::Arc,
    time::Duration,
};

use botfarm_core::{Bot, BotId, Error, Lease, LeaseId, LeaseRequest, Result, Selector, matching};
use foldhash::HashMap;
use tokio::sync::Notify;

use crate::{
    bots::{Entry, Slot},
    choice::{Choice, unmet},
    clock::{Event, Timer},
    lease::check_same,
    state::State,
};

/// A place in the queue: who has the smaller ticket came first.
pub(crate) type Ticket = u64;

/// Everybody who waits for the lease of one id.
#[derive(Debug)]
pub(crate) struct Waiter {
    ticket: Ticket,
    /// How many calls of the same id: the twins of a request under way.
    listeners: usize,
    bell: Arc<Notify>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// It stands in the line.
    Waiting(Wish),
    /// It was granted its lease; whether one of the listeners has received it.
    Granted { received: bool },
    /// The bots that it needs have gone.
    Refused { selector: usize, detail: String },
}

/// What a waiter wants, and what is reserved for it so far.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) request: Arc<LeaseRequest>,
    ttl: Duration,
    pub(crate) reserved: Choice,
}

/// Under what a selector that names a bot waits for it.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Name {
    Id(BotId),
    Login(String),
}

impl Name {
    fn of(selector: &Selector) -> Option<Self> {
        let login = || selector.login.as_ref().map(|login| Self::Login(login.folded()));
        selector.id.map(Self::Id).or_else(login)
    }
}

/// Those who wait, those who were served and have not come for it yet, and the places of those who have gone.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) waiters: HashMap<LeaseId, Waiter>,
    pub(crate) line: BTreeMap<Ticket, LeaseId>,
    /// Who waits for a bot by its name. Who waits for any of a kind stands in the views.
    named: HashMap<Name, BTreeSet<Ticket>>,
    pub(crate) kept: HashMap<LeaseId, (Ticket, Timer)>,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.line.len()
    }

    pub(crate) fn forget_place(&mut self, id: LeaseId) {
        self.kept.remove(&id);
    }

    /// The requests that wait, in their order.
    pub(crate) fn requests(&self) -> impl Iterator<Item = &LeaseRequest> {
        self.line.values().filter_map(|id| Some(&*self.wish(*id)?.request))
    }

    /// Who waits for a bot by its name.
    fn named(&self, bot: &Bot) -> impl Iterator<Item = &BTreeSet<Ticket>> {
        let names = || [Name::Id(bot.id), Name::Login(bot.login.folded())];
        let names = (!self.named.is_empty()).then(names).into_iter().flatten();
        names.filter_map(|name| self.named.get(&name))
    }

    pub(crate) fn wish(&self, id: LeaseId) -> Option<&Wish> {
        match &self.waiters.get(&id)?.phase {
            Phase::Waiting(wish) => Some(wish),
            _ => None,
        }
    }

    fn wish_mut(&mut self, id: LeaseId) -> Option<&mut Wish> {
        match &mut self.waiters.get_mut(&id)?.phase {
            Phase::Waiting(wish) => Some(wish),
            _ => None,
        }
    }
}

/// What a request is told at once.
pub(crate) enum Answer {
    Granted(Lease),
    /// It stands in the queue, and is rung when there is news.
    Parked(Arc<Notify>),
}

impl State {
    pub(crate) fn acquire(&mut self, mut request: LeaseRequest) -> Result<Answer> {
        let ttl = self.policy.check(&request)?;
        let id = request.id;
        if let Some(held) = self.leases.live(id) {
            check_same(held.request.fingerprint, request.fingerprint)?;
            let lease = held.lease(&self.clock, &self.bots);
            self.mark_received(id);
            return Ok(Answer::Granted(lease));
        }
        if let Some(end) = self.leases.ended(id) {
            return Err(end.lost(&self.clock));
        }
        if let Some(waiter) = self.queue.waiters.get_mut(&id) {
            if let Phase::Waiting(wish) = &waiter.phase {
                check_same(wish.request.fingerprint, request.fingerprint)?;
            }
            waiter.listeners += 1;
            return Ok(Answer::Parked(waiter.bell.clone()));
        }
        request.avoid.sort_unstable();
        let kept = self.queue.kept.remove(&id).map(|(ticket, timer)| {
            self.timeline.cancel(timer);
            ticket
        });
        if let Some(ticket) = kept
            && self.queue.len() > 0
        {
            // What is reserved for those who came after it may be its own by right.
            let bell = self.park(request, ttl, ticket);
            self.rematch();
            return Ok(Answer::Parked(bell));
        }
        let choice = self.choose(&request);
        let Some(index) = unmet(&choice) else {
            let held = self.hand_out(request, ttl, choice.into_iter().flatten());
            let lease = held.lease(&self.clock, &self.bots);
            self.leases.insert(held);
            return Ok(Answer::Granted(lease));
        };
        self.check_match(&request)?;
        if request.wait.is_zero() {
            return Err(self.shortage(&request, index));
        }
        let ticket = kept.unwrap_or_else(|| self.count());
        let bell = self.park(request, ttl, ticket);
        self.reserve(id, choice);
        Ok(Answer::Parked(bell))
    }

    /// What a waiter got, if it has an answer. Who gets the lease has received it.
    pub(crate) fn outcome(&mut self, id: LeaseId) -> Option<Result<Lease>> {
        match self.queue.waiters.get(&id).map(|waiter| &waiter.phase) {
            Some(Phase::Waiting(_)) => return None,
            Some(Phase::Refused { selector, detail }) => {
                return Some(Err(Error::NoMatch { selector: *selector, detail: detail.clone() }));
            }
            Some(Phase::Granted { .. }) | None => {}
        }
        let lease = self.live(id).map(|held| held.lease(&self.clock, &self.bots));
        self.mark_received(id);
        Some(lease)
    }

    /// What a waiter is told that has waited long enough.
    pub(crate) fn give_up(&mut self, id: LeaseId) -> Error {
        let Some(Wish { request, reserved, .. }) = self.queue.wish(id).cloned() else { return Error::NoSuchLease };
        self.shortage(&request, unmet(&reserved).unwrap_or_default())
    }

    /// Somebody has seen the lease: from now on it is not undone.
    pub(crate) fn mark_received(&mut self, id: LeaseId) {
        if let Some(Waiter { phase: Phase::Granted { received }, .. }) = self.queue.waiters.get_mut(&id) {
            *received = true;
        }
    }

    /// One listener goes. When it was the last, nobody waits any more: its place is kept for a while, and what was
    /// reserved for it, or granted and not received, goes to others.
    pub(crate) fn leave(&mut self, id: LeaseId) {
        let Some(waiter) = self.queue.waiters.get_mut(&id) else { return };
        waiter.listeners -= 1;
        if waiter.listeners > 0 {
            return;
        }
        let ticket = waiter.ticket;
        let slots = match &waiter.phase {
            Phase::Waiting(_) => self.step_out(id).map(|wish| wish.reserved.into_iter().flatten().collect()),
            Phase::Granted { received: false } => self.undo(id),
            Phase::Granted { received: true } | Phase::Refused { .. } => None,
        };
        self.queue.waiters.remove(&id);
        let Some(slots) = slots else { return };
        if !self.policy.place_kept.is_zero() {
            let until = self.clock.now.plus(self.policy.place_kept);
            let timer = self.timer(until, Event::Forgotten(id));
            self.queue.kept.insert(id, (ticket, timer));
        }
        self.put_back(slots);
    }

    /// Puts bots back to where they stood among the free ones, and offers them anew.
    fn put_back(&mut self, mut slots: Vec<Slot>) {
        for slot in &slots {
            self.change(*slot, Entry::put_back);
        }
        slots.sort_by_key(|slot| self.bots[*slot].spot().order);
        for slot in slots {
            self.offer(slot);
        }
    }

    /// Gives a request a place in the line.
    fn park(&mut self, request: LeaseRequest, ttl: Duration, ticket: Ticket) -> Arc<Notify> {
        let (id, bell) = (request.id, Arc::new(Notify::new()));
        for selector in &request.selectors {
            if let Some(name) = Name::of(selector) {
                self.queue.named.entry(name).or_default().insert(ticket);
            } else {
                let view = self.views.of(selector, &mut self.bots);
                self.views[view].waiters[selector.condition as usize].insert(ticket);
            }
        }
        let reserved = Choice::from_elem(None, request.selectors.len());
        let phase = Phase::Waiting(Wish { request: Arc::new(request), ttl, reserved });
        self.queue.line.insert(ticket, id);
        self.queue.waiters.insert(id, Waiter { ticket, listeners: 1, bell: bell.clone(), phase });
        bell
    }

    /// Takes a waiter out of the line; it is as good as granted until told otherwise.
    fn step_out(&mut self, id: LeaseId) -> Option<Wish> {
        let waiter = self.queue.waiters.get_mut(&id)?;
        let Phase::Waiting(wish) = std::mem::replace(&mut waiter.phase, Phase::Granted { received: false }) else {
            return None;
        };
        let ticket = waiter.ticket;
        self.queue.line.remove(&ticket);
        for selector in &wish.request.selectors {
            if let Some(name) = Name::of(selector) {
                if let hash_map::Entry::Occupied(mut waiters) = self.queue.named.entry(name) {
                    waiters.get_mut().remove(&ticket);
                    if waiters.get().is_empty() {
                        waiters.remove();
                    }
                }
            } else if let Some(view) = self.views.find(selector) {
                self.views[view].waiters[selector.condition as usize].remove(&ticket);
            }
        }
        Some(wish)
    }

    /// Keeps the bots of a choice for a waiter; when there is one for each selector, they are its lease.
    fn reserve(&mut self, id: LeaseId, choice: Choice) {
        if unmet(&choice).is_some() {
            for slot in choice.iter().flatten() {
                self.change(*slot, Entry::reserve);
            }
            if let Some(wish) = self.queue.wish_mut(id) {
                wish.reserved = choice;
            }
            return;
        }
        let Some(Wish { request, ttl, .. }) = self.step_out(id) else { return };
        let held = self.hand_out(Arc::unwrap_or_clone(request), ttl, choice.into_iter().flatten());
        self.leases.insert(held);
        self.ring(id);
    }

    fn ring(&mut self, id: LeaseId) {
        self.bells.extend(self.queue.waiters.get(&id).map(|waiter| waiter.bell.clone()));
    }

    /// Offers a free bot to those who wait, in their order, until one takes it.
    pub(crate) fn offer(&mut self, slot: Slot) {
        let mut from = 0;
        while let Some((ticket, id)) = self.next_waiter(slot, from) {
            if let Some(choice) = self.extended(id, slot) {
                return self.reserve(id, choice);
            }
            from = ticket + 1;
        }
    }

    /// The first who waits for such a bot, from a ticket on.
    pub(crate) fn next_waiter(&self, slot: Slot, from: Ticket) -> Option<(Ticket, LeaseId)> {
        if self.queue.line.is_empty() {
            return None;
        }
        let entry = &self.bots[slot];
        let views = entry.views.iter().map(|view| &self.views[*view].waiters[entry.bot.condition as usize]);
        let ticket =
            views.chain(self.queue.named(&entry.bot)).filter_map(|waiters| waiters.range(from..).next()).min()?;
        Some((*ticket, *self.queue.line.get(ticket)?))
    }

    /// What would be reserved for a waiter with one bot more; `None` when it is of no use to it.
    pub(crate) fn extended(&self, id: LeaseId, slot: Slot) -> Option<Choice> {
        let Wish { request, reserved, .. } = self.queue.wish(id)?;
        if self.avoids(request, slot) {
            return None;
        }
        let offered: Vec<_> = reserved.iter().flatten().copied().chain([slot]).collect();
        let fitting = |selector| offered.iter().copied().filter(|slot| self.bots[*slot].fits(selector)).collect();
        let choice: Choice = matching::assign(&request.selectors.iter().map(fitting).collect::<Vec<_>>()).into();
        (choice.iter().flatten().count() == offered.len()).then_some(choice)
    }

    /// Serves the queue anew, first come first served: for when bots have changed, gone, or come in numbers.
    pub(crate) fn rematch(&mut self) {
        self.unreserve();
        let line: Vec<_> = self.queue.line.values().copied().collect();
        for id in line {
            let Some(request) = self.queue.wish(id).map(|wish| wish.request.clone()) else { continue };
            let choice = self.choose(&request);
            if unmet(&choice).is_some()
                && let Err(Error::NoMatch { selector, detail }) = self.check_match(&request)
            {
                self.step_out(id);
                self.ring(id);
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
    pub(crate) fn unreserve(&mut self) {
        let line: Vec<_> = self.queue.line.values().copied().collect();
        for id in line {
            let Some(wish) = self.queue.wish_mut(id) else { continue };
            for slot in wish.reserved.iter_mut().filter_map(Option::take).collect::<Vec<_>>() {
                self.change(slot, Entry::put_back);
            }
        }
    }
}

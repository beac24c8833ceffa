//! `acquire`: what an id stands for, the straight claim, and the place in the queue.

use crate::{
    promises::REFUSED,
    rows::{EndReason, Hold, LeaseId, OFFER, Phase, Set, Standing, TTL, Waiter, assign},
    scenario::{Fault, Protocol, Request},
    state::{Believed, Half, Reply, State},
};

impl Protocol {
    /// What listens in the name of a call.
    pub(crate) fn listener(&self, state: &State, call: usize) -> usize {
        if self.has(Fault::ProcessesListen) { state.calls[call].process } else { call }
    }

    pub(crate) fn process_of(&self, state: &State, listener: usize) -> usize {
        if self.has(Fault::ProcessesListen) { listener } else { state.calls[listener].process }
    }

    /// Locks the id and its waiter's row, and looks at its slots.
    pub(crate) fn acquire(&self, state: &mut State, call: usize) -> Reply {
        let Some(Request { id, selectors, .. }) = self.request(call) else { return Reply::Lost };
        let has_ended = state.rows.has_ended(id);
        if self.has(Fault::HistoryBeforeRows) {
            return if has_ended { Reply::Lost } else { Reply::GoesOn(Half::Looked) };
        }
        if self.has(Fault::NoIdLock) && has_ended {
            return Reply::Lost;
        }
        self.look_at_rows(state, id, call, selectors).unwrap_or(Reply::GoesOn(Half::Looked))
    }

    fn look_at_rows(&self, state: &mut State, id: LeaseId, call: usize, selectors: &[Set]) -> Option<Reply> {
        let rows = &mut state.rows;
        match rows.standing(id) {
            Standing::Live if rows.bots_of(id).any(|(_, hold)| hold.fingerprint != selectors) => Some(Reply::Refused),
            Standing::Live => Some(self.receive(state, id, Some(call))),
            Standing::Expired => Some(Reply::Lost),
            Standing::Lapsed => {
                rows.clear_lapsed(id);
                None
            }
            Standing::None => None,
        }
    }

    /// Then the history, its place, and what is free.
    pub(crate) fn look_on(&self, state: &mut State, call: usize) -> Reply {
        let Some(Request { id, selectors, wait }) = self.request(call) else { return Reply::Lost };
        if self.has(Fault::HistoryBeforeRows)
            && let Some(reply) = self.look_at_rows(state, id, call, selectors)
        {
            return reply;
        }
        let knows_history = self.has(Fault::HistoryBeforeRows) || self.has(Fault::NoIdLock);
        if !knows_history && state.rows.has_ended(id) {
            return Reply::Lost;
        }
        let waiter = state.rows.waiters[id];
        if let Some(waiter) = waiter.filter(|waiter| waiter.fingerprint != selectors) {
            if self.has(Fault::OverwritesBeforeComparing) {
                state.rows.waiters[id] = Some(Waiter { selectors, ..waiter });
                state.break_promise(REFUSED);
            }
            return Reply::Refused;
        }
        let mut is_gated = false;
        if waiter.is_none() {
            let (free, locked) = (state.rows.free(), state.locked());
            let free: Vec<usize> = free.into_iter().filter(|bot| !locked.contains(*bot)).collect();
            let choice = assign(selectors, &free);
            let bots = choice.iter().flatten().copied().fold(Set::default(), Set::with);
            is_gated = self.somebody_waits_for(state, bots);
            if !is_gated && choice.iter().all(Option::is_some) {
                return Reply::GoesOn(Half::Straight(bots));
            }
        }
        let stops = state.calls[call].stops;
        if !stops && (wait || is_gated || waiter.is_some()) {
            self.stand(state, call, selectors);
            if wait && !state.audit.queue.contains(&id) {
                state.audit.queue.push(id);
            }
            return Reply::Waiting;
        }
        self.refuse(state, id, call);
        Reply::Refused
    }

    /// Writes what has been locked.
    pub(crate) fn claim(&self, state: &mut State, call: usize, locked: Set) -> Reply {
        let Some(Request { id, selectors, .. }) = self.request(call) else { return Reply::Lost };
        // The rows' own key: without a lock on the id, a twin may have been quicker.
        if self.has(Fault::NoIdLock)
            && let Some(reply) = self.look_at_rows(state, id, call, selectors)
        {
            return reply;
        }
        let bots: Vec<usize> = assign(selectors, &locked.iter().collect::<Vec<_>>()).into_iter().flatten().collect();
        let listener = self.listener(state, call);
        self.hand_out(state, id, &bots, selectors, Phase::Granted(listener), Some(call));
        Self::answer(state, id)
    }

    /// Joins those who listen for the id, takes the place that was kept, or a new one.
    fn stand(&self, state: &mut State, call: usize, selectors: &'static [Set]) {
        let Some(Request { id, wait, .. }) = self.request(call) else { return };
        let listener = self.listener(state, call);
        let next = state.rows.waiters.iter().flatten().map(|waiter| waiter.ticket + 1).max().unwrap_or(0);
        let (listeners, kept_until) = (Set::default(), None);
        let new = Waiter { ticket: next, parked: wait, selectors, fingerprint: selectors, listeners, kept_until };
        let waiter = state.rows.waiters[id].get_or_insert(new);
        if self.has(Fault::OneListener) {
            waiter.listeners = Set::default();
        }
        waiter.listeners = waiter.listeners.with(listener);
        waiter.parked |= wait;
        waiter.kept_until = None;
        if waiter.selectors.is_empty() {
            waiter.selectors = selectors;
        }
    }

    /// It waits no longer. Whoever waited for real keeps the place for a while.
    fn refuse(&self, state: &mut State, id: LeaseId, call: usize) {
        let Some(before) = state.rows.waiters[id] else { return };
        let listeners = before.listeners.without(self.listener(state, call));
        state.rows.waiters[id] = Some(Waiter { listeners, ..before });
        match (listeners.is_empty(), before.parked) {
            _ if self.has(Fault::RefusalTakesTheRow) => state.rows.waiters[id] = None,
            (true, true) => state.rows.keep_place(id),
            (true, false) => state.rows.waiters[id] = None,
            (false, _) => {}
        }
        let after = state.rows.waiters[id];
        if before.parked && after.is_none_or(|it| it.ticket != before.ticket || it.listeners != listeners) {
            state.break_promise(REFUSED);
        }
    }

    fn somebody_waits_for(&self, state: &State, bots: Set) -> bool {
        self.waiting(state)
            .any(|(_, waiter)| waiter.parked && waiter.selectors.iter().any(|selector| selector.overlaps(bots)))
    }

    /// The waiters that somebody listens for.
    pub(crate) fn waiting<'a>(&'a self, state: &'a State) -> impl Iterator<Item = (LeaseId, Waiter)> + 'a {
        let rows = state.rows.waiters.iter().enumerate().filter_map(|(id, waiter)| Some((id, (*waiter)?)));
        rows.filter(|(_, waiter)| {
            let alive = |listener| state.is_alive(self.process_of(state, listener));
            !waiter.selectors.is_empty() && waiter.listeners.iter().any(alive)
        })
    }

    /// The lease of an id in force, for a call or for who looks at it or renews it: an offer is taken up, and what more
    /// than one has been told is `Seen`.
    pub(crate) fn receive(&self, state: &mut State, id: LeaseId, call: Option<usize>) -> Reply {
        let until = state.rows.clock + TTL;
        let listener = call.map(|call| self.listener(state, call));
        for slot in &mut state.rows.slots {
            let Some(hold) = slot.hold.as_mut().filter(|hold| hold.id == id) else { continue };
            let was = hold.phase;
            hold.phase = match (was, listener) {
                (Phase::Offered, Some(listener)) => Phase::Granted(listener),
                (Phase::Granted(told), Some(listener)) if told == listener && !self.has(Fault::ProcessesListen) => was,
                (Phase::Granted(_), None) if self.has(Fault::UndoIgnoresRenewals) => was,
                _ => Phase::Seen,
            };
            if was == Phase::Offered || call.is_none() {
                (hold.expires_at, slot.free_at) = (until, until);
            }
        }
        if let (Some(listener), Some(waiter)) = (listener, &mut state.rows.waiters[id]) {
            waiter.listeners = waiter.listeners.without(listener);
            if waiter.listeners.is_empty() {
                state.rows.keep_place(id);
            }
        }
        Self::answer(state, id)
    }

    pub(crate) fn answer(state: &State, id: LeaseId) -> Reply {
        let bots = state.rows.bots_of(id).map(|(bot, _)| (bot, state.rows.slots[bot].fence)).collect();
        let until = state.rows.bots_of(id).map(|(_, hold)| hold.expires_at).max().unwrap_or(0);
        Reply::Lease(Believed { bots, until })
    }

    /// Writes the rows of a lease over those of an expired one, if there was one.
    pub(crate) fn hand_out(
        &self,
        state: &mut State,
        id: LeaseId,
        bots: &[usize],
        fingerprint: &'static [Set],
        phase: Phase,
        claimed_by: Option<usize>,
    ) {
        let expires_at = state.rows.clock + if phase == Phase::Offered { OFFER } else { TTL };
        self.audit_order(state, id, bots, claimed_by);
        for &bot in bots {
            if state.rows.slots[bot].hold.is_some_and(|hold| hold.phase != Phase::Offered) {
                state.rows.write_history(bot, EndReason::Expired);
            }
            let slot = &mut state.rows.slots[bot];
            slot.hold = Some(Hold { id, fingerprint, phase, expires_at });
            slot.free_at = expires_at;
            slot.fence += 1;
        }
    }
}

//! Renewals, the end of a lease, and calls that leave.

use crate::{
    promises::SAW_FIRST,
    rows::{EndReason, LeaseId, OFFER, Phase, Set, Standing, TTL},
    scenario::{Ask, Fault, Protocol},
    state::{Believed, Half, Reply, Stage, State, Statement},
};

impl Protocol {
    pub(crate) fn renew(&self, state: &mut State, id: LeaseId) -> Reply {
        match state.rows.standing(id) {
            Standing::Live if self.has(Fault::JudgesRowByRow) => {
                let first = state.rows.bots_of(id).take(1).map(|(bot, _)| bot);
                Reply::GoesOn(Half::Judged(first.fold(Set::default(), Set::with)))
            }
            Standing::Live => self.receive(state, id, None),
            _ => Reply::Lost,
        }
    }

    /// The rest of a renewal that judges row by row: it renews what it has found alive, each at its time.
    pub(crate) fn renew_on(state: &mut State, id: LeaseId, first: Set) -> Reply {
        let clock = state.rows.clock;
        let mut renewed = Vec::new();
        for (bot, slot) in state.rows.slots.iter_mut().enumerate() {
            let Some(hold) = slot.hold.as_mut().filter(|hold| hold.id == id) else { continue };
            if first.contains(bot) || hold.expires_at > clock {
                (hold.phase, hold.expires_at, slot.free_at) = (Phase::Seen, clock + TTL, clock + TTL);
                renewed.push((bot, slot.fence));
            }
        }
        Reply::Lease(Believed { bots: renewed, until: clock + TTL })
    }

    /// Ends a lease in force; does nothing when it is not.
    pub(crate) fn end(&self, state: &mut State, id: LeaseId, call: usize) {
        if state.rows.standing(id) != Standing::Live {
            return;
        }
        state.rows.end(id, EndReason::Released);
        let by_id = matches!(self.scenario.asks[call], Ask::Release { .. });
        if by_id || state.calls[call].saw == Some(id) {
            state.audit.ended = state.audit.ended.with(id);
        } else {
            state.break_promise(SAW_FIRST);
        }
    }

    /// The lease in force that holds the bot which a call is to release.
    pub(crate) fn read_holder(&self, state: &State, call: usize) -> Option<LeaseId> {
        let Ask::ReleaseBot { bot } = self.scenario.asks[call] else { return None };
        state.rows.slots[bot].hold.map(|hold| hold.id).filter(|id| state.rows.standing(*id) == Standing::Live)
    }

    /// A call has gone. What was kept for it, or what nobody but it has been told of, is for those who still listen; with
    /// the last of them it is undone, and the place is kept.
    pub(crate) fn leave(&self, state: &mut State, id: LeaseId, call: usize, told: bool) {
        let listener = self.listener(state, call);
        let others = match &mut state.rows.waiters[id] {
            Some(waiter) => {
                let others = waiter.listeners.without(listener);
                waiter.listeners = if self.has(Fault::OneListener) { Set::default() } else { others };
                !waiter.listeners.is_empty()
            }
            None => false,
        };
        let is_live = state.rows.standing(id) == Standing::Live;
        let is_its_own = match state.rows.bots_of(id).next().map(|(_, hold)| hold.phase) {
            Some(Phase::Offered) => true,
            Some(Phase::Granted(_)) if self.has(Fault::ProcessesListen) => told,
            Some(Phase::Granted(taker)) => taker == listener,
            _ => false,
        };
        if is_its_own && is_live && !others {
            state.rows.end(id, EndReason::Undone);
        } else if is_its_own && is_live && !self.has(Fault::ProcessesListen) {
            Self::offer_to_others(state, id);
        }
        if !others {
            state.rows.keep_place(id);
        }
    }

    /// What was granted to a call that has gone may be taken up by its twins.
    fn offer_to_others(state: &mut State, id: LeaseId) {
        let until = state.rows.clock + OFFER;
        for slot in &mut state.rows.slots {
            if let Some(hold) = slot.hold.as_mut().filter(|hold| hold.id == id && hold.phase != Phase::Offered) {
                (hold.phase, hold.expires_at, slot.free_at) = (Phase::Offered, until, until);
            }
        }
    }

    /// What a call sends when its client has gone. A process that listens for all its calls has the last one speak.
    pub(crate) fn depart(&self, state: &mut State, call: usize, told: bool) {
        let is_twin = |other: usize| {
            other != call
                && state.calls[other].process == state.calls[call].process
                && self.scenario.asks[other].id() == self.scenario.asks[call].id()
                && (state.in_flight(other) == Some(Statement::Acquire) || state.is_parked(other))
        };
        let is_left_to_twin = self.has(Fault::ProcessesListen) && (0..state.calls.len()).any(is_twin);
        state.calls[call].stage = if is_left_to_twin { Stage::Over } else { Stage::Sent(Statement::Leave { told }) };
    }
}

//! What processes see when they look, and what the passing of time does.

use crate::{
    rows::{KEPT, LeaseId},
    scenario::{Fault, Protocol},
    state::{Stage, State},
};

impl Protocol {
    /// The listeners that no call stands behind: of calls that are over while their process lives. Found in the database
    /// first, then missed among the calls.
    pub(crate) fn strays(&self, state: &State) -> Vec<(LeaseId, usize)> {
        if self.has(Fault::LeaveIsNotMadeUpFor) || self.has(Fault::ProcessesListen) {
            return Vec::new();
        }
        let mut strays = Vec::new();
        for (id, waiter) in state.rows.waiters.iter().enumerate() {
            for call in waiter.iter().flat_map(|waiter| waiter.listeners.iter()) {
                let is_over = state.calls[call].stage == Stage::Over;
                if is_over && state.processes[state.calls[call].process].killed_at.is_none() {
                    strays.push((id, call));
                }
            }
        }
        strays
    }

    /// Whether a parked call has to ask again: it waits for nothing any more, or has no place.
    pub(crate) fn is_woken(&self, state: &State, call: usize) -> bool {
        let Some(request) = self.request(call).filter(|_| state.is_parked(call)) else { return false };
        let listener = self.listener(state, call);
        state.rows.waiters[request.id]
            .is_none_or(|waiter| waiter.wants.is_empty() || !waiter.listeners.contains(listener))
    }

    /// The clock goes on. Places that were kept for long enough go, and those of processes that are long dead.
    pub(crate) fn tick(&self, state: &mut State) {
        state.rows.clock += 1;
        let clock = state.rows.clock;
        for id in 0..state.rows.waiters.len() {
            let is_silent = |listener: usize| {
                let killed_at = state.processes[self.process_of(state, listener)].killed_at;
                killed_at.is_some_and(|at| at + KEPT < clock)
            };
            state.rows.waiters[id] = state.rows.waiters[id].filter(|waiter| match waiter.kept_until {
                Some(until) => until > clock,
                None => !waiter.listeners.iter().all(is_silent),
            });
        }
    }
}

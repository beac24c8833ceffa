//! What processes see when they look, and what the passing of time does.

use crate::{
    rows::{KEPT, LeaseId},
    scenario::{Fault, Protocol},
    state::{Call, Stage, State},
};

impl Protocol {
    /// The listeners of living processes.
    pub(crate) fn listeners(&self, state: &State) -> Vec<(LeaseId, usize)> {
        if self.has(Fault::ProcessesListen) {
            return Vec::new();
        }
        let runs = |call: &usize| state.processes[state.calls[*call].process].killed_at.is_none();
        let rows = state.rows.waiters.iter().enumerate();
        let all = rows.flat_map(|(id, waiter)| {
            let listeners = waiter.iter().flat_map(|waiter| waiter.listeners.iter());
            listeners.filter(runs).map(move |call| (id, call))
        });
        all.collect()
    }

    /// Those of them that no call stands behind.
    pub(crate) fn strays(&self, state: &State) -> Vec<(LeaseId, usize)> {
        let mut strays = self.listeners(state);
        strays.retain(|stray| !self.has(Fault::LeaveIsNotMadeUpFor) && Self::is_stray(state, *stray));
        strays
    }

    pub(crate) fn is_stray(state: &State, (_, call): (LeaseId, usize)) -> bool {
        let Call { stage, process, .. } = state.calls[call];
        stage == Stage::Over && state.processes[process].killed_at.is_none()
    }

    /// Takes a listener away, if it still is one: it may have got its lease since it was seen.
    pub(crate) fn take_away(&self, state: &mut State, id: LeaseId, call: usize) {
        let listens = state.rows.waiters[id].is_some_and(|waiter| waiter.listeners.contains(call));
        if listens || self.has(Fault::StrayIsNotLookedForAgain) {
            self.leave(state, id, call, false);
        }
    }

    /// Whether a parked call has to ask again: it waits for nothing any more, or has no place.
    pub(crate) fn is_woken(&self, state: &State, call: usize) -> bool {
        let Some(request) = self.request(call).filter(|_| state.is_parked(call)) else { return false };
        let listener = self.listener(state, call);
        state.rows.waiters[request.id]
            .is_none_or(|waiter| waiter.selectors.is_empty() || !waiter.listeners.contains(listener))
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

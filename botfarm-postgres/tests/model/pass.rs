//! `match`: a pass over the queue.

use crate::{
    rows::{LeaseId, Phase, Set, Waiter, assign},
    scenario::{Fault, Protocol},
    state::{Half, Stage, State},
};

impl Protocol {
    /// The first snapshot of a pass: which bots are free, and in which version.
    pub(crate) fn gather(state: &State) -> Vec<(usize, u8)> {
        state.rows.free().into_iter().map(|bot| (bot, state.rows.slots[bot].fence)).collect()
    }

    /// Whether there is anything for a pass to do.
    pub(crate) fn may_serve(&self, state: &State) -> bool {
        let free = state.rows.free();
        self.waiting(state)
            .any(|(_, waiter)| waiter.selectors.iter().any(|selector| free.iter().any(|bot| selector.contains(*bot))))
    }

    /// The rest of a pass: who waits now is offered what has been gathered and is still as it was, in the order of their
    /// tickets. A pass waits for no lock: what it cannot lock is not there. Who wants more than there is, or is asking at
    /// this moment, keeps it from those who come after.
    pub(crate) fn serve(&self, state: &mut State, gathered: &[(usize, u8)]) {
        let mut waiting: Vec<(u8, LeaseId)> = self.waiting(state).map(|(id, waiter)| (waiter.ticket, id)).collect();
        waiting.sort_unstable();
        let locked = state.locked();
        let mut used = Set::default();
        for (_, id) in waiting {
            let Some(waiter) = state.rows.waiters[id] else { continue };
            let is_fresh = |(bot, fence): &(usize, u8)| {
                let slot = state.rows.slots[*bot];
                slot.fence == *fence && slot.free_at <= state.rows.clock && !locked.contains(*bot)
            };
            let stale_too = self.has(Fault::StaleChoiceIsPassedOver);
            let candidates = gathered.iter().filter(|it| !used.contains(it.0) && (stale_too || is_fresh(it)));
            let candidates: Vec<usize> = candidates.map(|(bot, _)| *bot).collect();
            let choice = assign(waiter.selectors, &candidates);
            let chosen: Vec<usize> = choice.iter().copied().flatten().collect();
            let is_whole = chosen.len() == choice.len();
            let has_gone = gathered.iter().any(|it| chosen.contains(&it.0) && !is_fresh(it));
            if is_whole || waiter.parked {
                used = chosen.iter().copied().fold(used, Set::with);
            }
            if is_whole && !has_gone && !self.is_row_locked(state, id) {
                self.hand_out(state, id, &chosen, waiter.fingerprint, Phase::Offered, None);
                state.rows.waiters[id] = Some(Waiter { selectors: &[], ..waiter });
            }
        }
    }

    fn is_row_locked(&self, state: &State, id: LeaseId) -> bool {
        !self.has(Fault::RowsBeforePlace)
            && (0..state.calls.len()).any(|call| {
                state.calls[call].stage == Stage::Within(Half::Looked) && self.scenario.asks[call].id() == Some(id)
            })
    }
}

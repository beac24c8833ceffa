//! What is kept to judge by: beliefs, and who came first.

use crate::{
    promises::{IN_ORDER, THE_SAME},
    rows::{LeaseId, Set, Standing, Waiter, assign},
    scenario::Protocol,
    state::{Believed, Stage, State, Statement},
};

impl Protocol {
    /// A client is told of a lease.
    pub(crate) fn audit_answer(&self, state: &mut State, call: usize, lease: Believed) {
        let Some(id) = self.scenario.asks[call].id() else { return };
        let bots: Vec<usize> = lease.bots.iter().map(|(bot, _)| *bot).collect();
        let fits = self.request(call).is_none_or(|request| {
            bots.len() == request.selectors.len() && assign(request.selectors, &bots).iter().all(Option::is_some)
        });
        let told = state.audit.told[id].take();
        if !fits || told.as_ref().is_some_and(|told| told.bots != lease.bots) {
            state.break_promise(THE_SAME);
        }
        let until = told.map_or(lease.until, |told| told.until.max(lease.until));
        state.audit.told[id] = Some(Believed { until, ..lease });
    }

    /// Bots go to an id: does one of them fit somebody who came before, is still there, and has nothing yet?
    pub(crate) fn audit_order(&self, state: &mut State, id: LeaseId, bots: &[usize], claimed_by: Option<usize>) {
        let place = state.audit.queue.iter().position(|queued| *queued == id);
        let came_before = |other: LeaseId, position: usize| match (claimed_by, place) {
            (Some(call), _) => state.calls[call].ahead.contains(other),
            (None, Some(place)) => position < place,
            // It tries once.
            (None, None) => (0..state.calls.len())
                .filter(|call| self.request(*call).is_some_and(|request| request.id == id))
                .filter(|call| state.calls[*call].stage != Stage::Idle)
                .all(|call| state.calls[call].ahead.contains(other)),
        };
        let could_have = |call: usize, other: LeaseId| {
            let request = self.request(call).filter(|request| request.id == other && state.is_parked(call));
            request.is_some_and(|it| it.selectors.iter().any(|selector| bots.iter().any(|bot| selector.contains(*bot))))
        };
        let is_passed = state.audit.queue.iter().enumerate().any(|(position, &other)| {
            let has_nothing = state.rows.standing(other) == Standing::None && !state.rows.has_ended(other);
            let is_waiting = has_nothing && !Self::has_lapsed(state, other);
            let calls = 0..state.calls.len();
            other != id
                && is_waiting
                && came_before(other, position)
                && calls.into_iter().any(|it| could_have(it, other))
        });
        if is_passed {
            state.break_promise(IN_ORDER);
        }
    }

    /// After each step: who has gone, and whose place has gone, waits no longer; neither does who has been served.
    pub(crate) fn audit_queue(&self, state: &mut State) {
        let queue = std::mem::take(&mut state.audit.queue);
        let stays = |id: &LeaseId| {
            let is_parked = |call: usize| state.is_parked(call) && self.scenario.asks[call].id() == Some(*id);
            let is_there = state.rows.waiters[*id].is_some() || (0..state.calls.len()).any(is_parked);
            let is_served = state.audit.told[*id].is_some();
            is_there && !is_served && !state.rows.has_ended(*id)
        };
        state.audit.queue = queue.into_iter().filter(stays).collect();
        let present = self.present(state);
        for call in &mut state.calls {
            call.ahead = call.ahead.and(present);
        }
    }

    /// Those in the queue for whom somebody waits at this moment, who has been told to wait or is asking again. Who has let
    /// an offer lapse is as good as gone until then.
    pub(crate) fn present(&self, state: &State) -> Set {
        let is_present = |id: LeaseId| {
            (0..state.calls.len()).any(|call| {
                let asks_again = state.calls[call].waits && state.in_flight(call) == Some(Statement::Acquire);
                (state.is_parked(call) || asks_again) && self.scenario.asks[call].id() == Some(id)
            })
        };
        let present = state.audit.queue.iter().copied().filter(|id| is_present(*id) && !Self::has_lapsed(state, *id));
        present.fold(Set::default(), Set::with)
    }

    /// It has been offered something, and has not taken it up.
    fn has_lapsed(state: &State, id: LeaseId) -> bool {
        let is_served = |waiter: Waiter| waiter.selectors.is_empty() && waiter.kept_until.is_none();
        state.rows.waiters[id].is_some_and(is_served) && state.rows.standing(id) != Standing::Live
    }
}

//! The promises, as far as they are about the protocol, and what shows that a run got anywhere.

use stateright::Property;

use crate::{
    rows::{EndReason, KEPT, OFFER, Standing, TTL},
    scenario::Protocol,
    state::{Stage, State},
};

pub(crate) const ONE_HOLDER: &str = "no two who have been told of a bot hold it at a time";
pub(crate) const NEVER_UNDONE: &str = "what anybody has seen holds until it expires or somebody ends it";
pub(crate) const WHOLE: &str = "a lease is whole or not at all";
pub(crate) const THE_SAME: &str = "an answer is what was asked for, and the same each time";
pub(crate) const ENDED_IS_ENDED: &str = "an ended id is never granted again";
pub(crate) const IN_ORDER: &str = "a freed bot goes to the first of those that it fits";
pub(crate) const PLACE: &str = "who waits has a place, whoever else leaves";
pub(crate) const REFUSED: &str = "a refused request changes nothing";
pub(crate) const SAW_FIRST: &str = "a release by bot ends the lease that it saw, or none";
pub(crate) const AT_REST: &str = "in the end all who wait are served, and every bot is free";

pub(crate) const UNDONE: &str = "a grant is undone";
pub(crate) const GRANTED_ANEW: &str = "an undone id is granted anew";
pub(crate) const TAKEN_OVER: &str = "an expired lease is taken over";
pub(crate) const LAPSED: &str = "an offer lapses";
pub(crate) const QUEUED: &str = "two wait";
pub(crate) const ALL_SERVED: &str = "all have been told of a lease";

pub(crate) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(ONE_HOLDER, |_, state: &State| one_holder(state)),
        Property::always(NEVER_UNDONE, |_, state: &State| never_undone(state)),
        Property::always(WHOLE, |_, state: &State| whole(state)),
        Property::always(THE_SAME, |_, state: &State| !state.audit.broken.contains(&THE_SAME)),
        Property::always(ENDED_IS_ENDED, |_, state: &State| ended_is_ended(state)),
        Property::always(IN_ORDER, |_, state: &State| !state.audit.broken.contains(&IN_ORDER)),
        Property::always(PLACE, who_waits_has_a_place),
        Property::always(REFUSED, |_, state: &State| !state.audit.broken.contains(&REFUSED)),
        Property::always(SAW_FIRST, |_, state: &State| !state.audit.broken.contains(&SAW_FIRST)),
        Property::always(AT_REST, comes_to_rest),
        Property::sometimes(UNDONE, |_, state: &State| has(state, EndReason::Undone)),
        Property::sometimes(GRANTED_ANEW, |_, state: &State| {
            let mut undone = state.rows.history.iter().filter(|row| row.reason == EndReason::Undone);
            undone.any(|row| state.audit.told[row.id].is_some())
        }),
        Property::sometimes(TAKEN_OVER, |_, state: &State| has(state, EndReason::Expired)),
        Property::sometimes(LAPSED, |_, state: &State| {
            (0..state.audit.told.len()).any(|id| state.rows.standing(id) == Standing::Lapsed)
        }),
        Property::sometimes(QUEUED, |_, state: &State| state.audit.queue.len() > 1),
        Property::sometimes(ALL_SERVED, |_, state: &State| state.audit.told.iter().all(Option::is_some)),
    ]
}

fn has(state: &State, reason: EndReason) -> bool {
    state.rows.history.iter().any(|row| row.reason == reason)
}

fn one_holder(state: &State) -> bool {
    let mut held = Vec::new();
    for (id, told) in state.audit.told.iter().enumerate() {
        if let Some(told) =
            told.as_ref().filter(|told| state.rows.clock < told.until && !state.audit.ended.contains(id))
        {
            held.extend(told.bots.iter().map(|(bot, _)| *bot));
        }
    }
    held.sort_unstable();
    held.windows(2).all(|pair| pair[0] != pair[1])
}

fn never_undone(state: &State) -> bool {
    state.audit.told.iter().enumerate().all(|(id, told)| {
        let Some(told) = told else { return true };
        let over = state.rows.clock >= told.until || state.audit.ended.contains(id);
        over || told.bots.iter().all(|(bot, fence)| {
            let slot = state.rows.slots[*bot];
            slot.fence == *fence && slot.hold.is_some_and(|hold| hold.id == id)
        })
    })
}

fn whole(state: &State) -> bool {
    (0..state.audit.told.len()).filter(|id| state.rows.standing(*id) == Standing::Live).all(|id| {
        let holds: Vec<_> = state.rows.bots_of(id).map(|(_, hold)| hold).collect();
        holds.iter().all(|hold| *hold == holds[0] && holds.len() == hold.fingerprint.len())
    })
}

fn ended_is_ended(state: &State) -> bool {
    let mut live = (0..state.audit.told.len()).filter(|id| state.rows.standing(*id) == Standing::Live);
    live.all(|id| !state.rows.has_ended(id))
}

fn who_waits_has_a_place(model: &Protocol, state: &State) -> bool {
    (0..state.calls.len()).filter(|call| state.is_parked(*call)).all(|call| {
        let Some(request) = model.request(call) else { return true };
        let listener = model.listener(state, call);
        let place = state.rows.waiters[request.id].is_some_and(|waiter| waiter.listeners.contains(listener));
        // Granted, or over: it will hear of that.
        place || state.rows.bots_of(request.id).next().is_some() || state.rows.has_ended(request.id)
    })
}

/// When nothing is under way any more, leases expire, passes are made and strays taken away until nothing changes.
fn comes_to_rest(model: &Protocol, state: &State) -> bool {
    let under_way = |stage| matches!(stage, Stage::Sent(_) | Stage::Within(_));
    if state.pass.is_some() || state.late.is_some() || state.calls.iter().any(|call| under_way(call.stage)) {
        return true;
    }
    let mut state = state.clone();
    for _ in 0..=TTL + OFFER + KEPT {
        model.tick(&mut state);
    }
    for _ in 0..=state.calls.len() {
        for (id, call) in model.strays(&state) {
            model.take_away(&mut state, id, call);
        }
        let gathered = Protocol::gather(&state);
        model.serve(&mut state, &gathered);
        for call in 0..state.calls.len() {
            if model.is_woken(&state, call) {
                model.finish(&mut state, call);
            }
        }
    }
    let nobody_waits = (0..state.calls.len()).all(|call| !state.is_parked(call)) && model.waiting(&state).count() == 0;
    nobody_waits && state.rows.free().len() == state.rows.slots.len()
}

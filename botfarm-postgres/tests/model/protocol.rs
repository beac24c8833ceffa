//! What may happen next.

use stateright::{Model, Property};

use crate::{
    promises,
    scenario::{Fault, Protocol},
    state::{Stage, State, Statement},
    step::Step,
};

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let mut beginnings = State::beginnings(&self.scenario);
        if self.scenario.bounds.kills == 0 && !self.has(Fault::ProcessesListen) {
            // Nothing depends on where a call runs.
            beginnings.truncate(1);
        }
        beginnings
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for (number, call) in state.calls.iter().enumerate() {
            let runs = state.processes[call.process].killed_at.is_none();
            if call.stage == Stage::Idle && runs {
                steps.push(Step::Begin(number));
            }
            if let Some(statement) = state.in_flight(number) {
                let is_within = matches!(call.stage, Stage::Within(_));
                let may_be_lost = state.left.losses > 0 && statement != Statement::Read;
                if is_within || self.may_commit(state, number, statement) {
                    steps.push(Step::Commit(number));
                    if may_be_lost {
                        steps.push(Step::LoseReply(number));
                    }
                }
                if may_be_lost && !is_within {
                    steps.push(Step::GiveUp(number));
                    if state.late.is_none() {
                        steps.push(Step::Delay(number));
                    }
                }
            }
            if state.left.hang_ups > 0 {
                let acquires = state.in_flight(number) == Some(Statement::Acquire) && !call.gone;
                if acquires || state.is_parked(number) {
                    steps.push(Step::HangUp(number));
                }
                if state.is_parked(number) {
                    steps.push(Step::TimeOut(number));
                }
            }
            if self.is_woken(state, number) {
                steps.push(Step::Wake(number));
            }
        }
        if let Some((call, statement)) = state.late
            && self.may_commit(state, call, statement)
        {
            steps.push(Step::CommitLate);
        }
        if state.pass.is_some() {
            steps.push(Step::Serve);
        } else if self.may_serve(state) {
            steps.push(Step::Gather);
        }
        let strays = self.strays(state).into_iter().filter(|(id, _)| !self.is_locked(state, Some(*id)));
        steps.extend(strays.map(|(id, call)| Step::TakeAway(id, call)));
        if state.left.looks > 0 && state.looked.is_none() {
            steps.extend(self.listeners(state).into_iter().map(|(id, call)| Step::Look(id, call)));
        }
        if state.looked.is_some_and(|seen| Self::is_stray(state, seen) && !self.is_locked(state, Some(seen.0))) {
            steps.push(Step::TakeAwayLate);
        }
        if state.left.ticks > 0 {
            steps.push(Step::Tick);
        }
        if state.left.kills > 0 {
            let running = (0..2).filter(|process| state.processes[*process].killed_at.is_none());
            steps.extend(running.map(Step::Kill));
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        self.step(&mut next, step).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises::all()
    }
}

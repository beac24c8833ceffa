//! The steps, and what becomes of them.

use crate::{
    rows::{EndReason, LeaseId},
    scenario::{Ask, Fault, Protocol},
    state::{Half, Reply, Stage, State, Statement},
};

/// A step. Numbers are calls, in the order of the scenario's asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Begin(usize),
    /// The statement in flight commits, and its reply arrives.
    Commit(usize),
    /// It commits, and its reply is lost.
    LoseReply(usize),
    /// It is believed lost and repeated, but commits late.
    Delay(usize),
    /// It is neither repeated nor made up for by its call: the database was away for too long.
    GiveUp(usize),
    CommitLate,
    HangUp(usize),
    /// A parked call has waited for long enough, and asks once more.
    TimeOut(usize),
    /// A parked call looks again.
    Wake(usize),
    Gather,
    Serve,
    /// A process takes away a listener that no call of its own stands behind.
    TakeAway(LeaseId, usize),
    /// A process sees a listener of its own, and does not look at once for the call.
    Look(LeaseId, usize),
    /// It misses the call by now, and takes the listener away.
    TakeAwayLate,
    Tick,
    Kill(usize),
}

impl Protocol {
    /// Whether a call in the middle of a statement has locked the id.
    pub(crate) fn is_locked(&self, state: &State, id: Option<LeaseId>) -> bool {
        let holds =
            |call: usize| matches!(state.calls[call].stage, Stage::Within(_)) && self.scenario.asks[call].id() == id;
        !self.has(Fault::NoIdLock) && (0..state.calls.len()).any(holds)
    }

    /// Whether a statement gets the lock of its id.
    pub(crate) fn may_commit(&self, state: &State, call: usize, statement: Statement) -> bool {
        let id = match statement {
            Statement::Read => return true,
            Statement::End(id) => Some(id),
            _ => self.scenario.asks[call].id(),
        };
        !self.is_locked(state, id)
    }

    /// Goes on in the middle of a statement.
    fn go_on(&self, state: &mut State, call: usize, half: Half) -> Option<Reply> {
        Some(match half {
            Half::Looked => self.look_on(state, call),
            Half::Straight(bots) => self.claim(state, call, bots),
            Half::Judged(first) => Self::renew_on(state, self.scenario.asks[call].id()?, first),
        })
    }

    /// Runs a statement, and gives what the call does with its reply.
    fn execute(&self, state: &mut State, call: usize, statement: Statement) -> Option<Reply> {
        match (statement, self.scenario.asks[call]) {
            (Statement::Acquire, _) => Some(self.acquire(state, call)),
            (Statement::Leave { told }, ask) => {
                self.leave(state, ask.id()?, call, told);
                None
            }
            (Statement::Renew, ask) => Some(self.renew(state, ask.id()?)),
            (Statement::End(id), _) => {
                self.end(state, id, call);
                None
            }
            (Statement::Read, _) => None,
        }
    }

    /// The reply is there.
    fn deliver(&self, state: &mut State, call: usize, statement: Statement, reply: Option<Reply>) {
        let gone = state.calls[call].gone;
        match reply {
            Some(Reply::GoesOn(half)) => state.calls[call].stage = Stage::Within(half),
            Some(Reply::Lease(_)) if gone => self.depart(state, call, true),
            Some(Reply::Waiting) if gone => self.depart(state, call, false),
            Some(Reply::Lease(lease)) => {
                self.audit_answer(state, call, lease);
                state.calls[call].stage = Stage::Over;
            }
            Some(Reply::Waiting) if self.request(call).is_some_and(|request| request.wait) => {
                state.calls[call].stage = Stage::Parked;
                state.calls[call].waits = true;
            }
            // A pass is made, or not in time; it asks once more.
            Some(Reply::Waiting) => {
                state.calls[call].stops = true;
                state.calls[call].stage = Stage::Sent(Statement::Acquire);
            }
            None if statement == Statement::Read => {
                let holder = self.read_holder(state, call);
                let it = &mut state.calls[call];
                it.saw = it.saw.or(holder);
                it.stage = holder.map_or(Stage::Over, |id| Stage::Sent(Statement::End(id)));
            }
            Some(Reply::Refused | Reply::Lost) | None => state.calls[call].stage = Stage::Over,
        }
    }

    fn begin(&self, state: &mut State, call: usize) {
        state.calls[call].ahead = self.present(state);
        state.calls[call].stage = Stage::Sent(match self.scenario.asks[call] {
            Ask::Acquire { .. } => Statement::Acquire,
            Ask::Renew { .. } => Statement::Renew,
            Ask::Release { id } => Statement::End(id),
            Ask::ReleaseBot { .. } => Statement::Read,
        });
    }

    /// What is repeated when a reply is lost.
    fn repetition(&self, call: usize, statement: Statement) -> Statement {
        let by_bot = matches!(self.scenario.asks[call], Ask::ReleaseBot { .. });
        if by_bot && self.has(Fault::ReleaseLooksAnew) { Statement::Read } else { statement }
    }

    /// Makes a step; false when it is none.
    pub(crate) fn step(&self, state: &mut State, step: Step) -> bool {
        match step {
            Step::Begin(call) => self.begin(state, call),
            Step::Commit(call) | Step::LoseReply(call) => {
                let Some(statement) = state.in_flight(call) else { return false };
                let reply = match state.calls[call].stage {
                    Stage::Within(half) => self.go_on(state, call, half),
                    _ => self.execute(state, call, statement),
                };
                let is_lost = step == Step::LoseReply(call);
                match reply {
                    Some(Reply::GoesOn(_)) if is_lost => return false,
                    _ if is_lost => {
                        state.left.losses -= 1;
                        state.calls[call].stage = Stage::Sent(self.repetition(call, statement));
                    }
                    reply => self.deliver(state, call, statement, reply),
                }
            }
            Step::Delay(call) => {
                let Some(statement) = state.in_flight(call) else { return false };
                state.left.losses -= 1;
                state.late = Some((call, statement));
                state.calls[call].stage = Stage::Sent(self.repetition(call, statement));
            }
            Step::GiveUp(call) => {
                state.left.losses -= 1;
                state.calls[call].stage = Stage::Over;
            }
            Step::CommitLate => {
                let Some((call, statement)) = state.late.take() else { return false };
                let mut reply = self.execute(state, call, statement);
                while let Some(Reply::GoesOn(half)) = reply {
                    reply = self.go_on(state, call, half);
                }
            }
            Step::HangUp(call) => {
                state.left.hang_ups -= 1;
                state.calls[call].gone = true;
                state.calls[call].waits = false;
                if state.is_parked(call) {
                    self.depart(state, call, false);
                }
            }
            Step::TimeOut(call) => {
                state.left.hang_ups -= 1;
                state.calls[call].waits = false;
                state.calls[call].stops = true;
                state.calls[call].stage = Stage::Sent(Statement::Acquire);
            }
            Step::Wake(call) => state.calls[call].stage = Stage::Sent(Statement::Acquire),
            Step::Gather => state.pass = Some(Self::gather(state)),
            Step::Serve => {
                let gathered = state.pass.take().unwrap_or_default();
                self.serve(state, &gathered);
            }
            Step::TakeAway(id, call) => self.take_away(state, id, call),
            Step::Look(id, call) => {
                state.left.looks -= 1;
                state.looked = Some((id, call));
            }
            Step::TakeAwayLate => {
                let Some((id, call)) = state.looked.take() else { return false };
                self.take_away(state, id, call);
            }
            Step::Tick => {
                state.left.ticks -= 1;
                self.tick(state);
            }
            Step::Kill(process) => {
                state.left.kills -= 1;
                state.processes[process].killed_at = Some(state.rows.clock);
                let calls = state.calls.iter_mut().filter(|call| call.process == process);
                for call in calls.filter(|call| call.stage != Stage::Idle) {
                    call.stage = Stage::Over;
                }
            }
        }
        self.audit_queue(state);
        true
    }

    /// A woken call gets its answer, and its client gives back what it has got.
    pub(crate) fn finish(&self, state: &mut State, call: usize) {
        state.calls[call].stage = Stage::Sent(Statement::Acquire);
        while state.in_flight(call).is_some() && self.step(state, Step::Commit(call)) {}
        if let Some(request) = self.request(call).filter(|_| state.calls[call].stage == Stage::Over) {
            state.rows.end(request.id, EndReason::Released);
        }
    }
}

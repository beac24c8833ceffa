//! The whole of it: the rows, the calls and their processes, and what has been promised to whom.

use crate::{
    rows::{LeaseId, Rows, Set},
    scenario::{Bounds, Scenario},
};

/// What a process sends to the database, one transaction each. It is repeated until a reply comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Statement {
    Acquire,
    /// `told`: the call has been answered with a lease, which its client did not wait for.
    Leave {
        told: bool,
    },
    Renew,
    /// Which lease holds the bot that is to be released.
    Read,
    End(LeaseId),
}

/// How far a function of several snapshots has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Half {
    /// `acquire` has locked its waiter's row, and has found no lease of its id.
    Looked,
    /// It has locked free bots that nobody waits for, and is about to write.
    Straight(Set),
    /// A renewal that judges row by row has found the first ones alive.
    Judged(Set),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// Not begun.
    Idle,
    Sent(Statement),
    /// In the middle of a statement, between two snapshots. Holds the lock of its id, and that of its waiter's row.
    Within(Half),
    /// Waits for a bot.
    Parked,
    /// Its client has an answer, or nobody is left to be answered.
    Over,
}

/// What `acquire` and `renew` come back with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Lease(Believed),
    Waiting,
    /// None yet: it goes on with another snapshot.
    GoesOn(Half),
    /// Nothing free, or the id stands for another request.
    Refused,
    /// There is no such lease any more.
    Lost,
}

/// What has become of one ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Call {
    pub(crate) stage: Stage,
    pub(crate) process: usize,
    /// The client has hung up.
    pub(crate) gone: bool,
    /// It asks once more, and waits no longer.
    pub(crate) stops: bool,
    /// It has been told to wait, and its client still does.
    pub(crate) waits: bool,
    /// The ids for which somebody has been waiting since before it began.
    pub(crate) ahead: Set,
    /// The lease that a release by bot saw first.
    pub(crate) saw: Option<LeaseId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Process {
    pub(crate) killed_at: Option<u8>,
}

/// What a client has been told of a lease: its bots with their fences, and until when at the latest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Believed {
    pub(crate) bots: Vec<(usize, u8)>,
    pub(crate) until: u8,
}

/// What only somebody knows who sees all clients: no step looks here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Audit {
    /// By lease id, what its clients believe.
    pub(crate) told: Vec<Option<Believed>>,
    /// The ids whose end somebody asked for.
    pub(crate) ended: Set,
    /// Those who have been told to wait, in that order.
    pub(crate) queue: Vec<LeaseId>,
    /// The promises that a step has broken.
    pub(crate) broken: Vec<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) rows: Rows,
    pub(crate) calls: Vec<Call>,
    pub(crate) processes: [Process; 2],
    /// A statement that its process believes lost. It commits later, or never.
    pub(crate) late: Option<(usize, Statement)>,
    /// A listener that its process has seen in the database, and looks for among its calls later.
    pub(crate) looked: Option<(LeaseId, usize)>,
    /// What a matching pass has gathered: free bots with their versions. Holds the lock of the pool.
    pub(crate) pass: Option<Vec<(usize, u8)>>,
    pub(crate) left: Bounds,
    pub(crate) audit: Audit,
}

impl State {
    /// All ways of sending the calls to two processes that are alike.
    pub(crate) fn beginnings(scenario: &Scenario) -> Vec<Self> {
        let calls = scenario.asks.len();
        let call = |placement: usize, call: usize| Call {
            stage: Stage::Idle,
            process: (placement << 1 >> call) & 1,
            gone: false,
            stops: false,
            waits: false,
            ahead: Set::default(),
            saw: None,
        };
        (0..1_usize << calls.saturating_sub(1))
            .map(|placement| Self {
                rows: Rows::new(scenario.bots, scenario.ids()),
                calls: (0..calls).map(|number| call(placement, number)).collect(),
                processes: [Process::default(); 2],
                late: None,
                looked: None,
                pass: None,
                left: scenario.bounds,
                audit: Audit { told: vec![None; scenario.ids()], ..Audit::default() },
            })
            .collect()
    }

    /// What a call has sent; what it is in the middle of is the rest of it.
    pub(crate) fn in_flight(&self, call: usize) -> Option<Statement> {
        match self.calls[call].stage {
            Stage::Sent(statement) => Some(statement),
            Stage::Within(Half::Judged(_)) => Some(Statement::Renew),
            Stage::Within(_) => Some(Statement::Acquire),
            _ => None,
        }
    }

    /// By its heartbeat, which lasts until the next tick.
    pub(crate) fn is_alive(&self, process: usize) -> bool {
        self.processes[process].killed_at.is_none_or(|at| self.rows.clock <= at)
    }

    pub(crate) fn is_parked(&self, call: usize) -> bool {
        self.calls[call].stage == Stage::Parked
    }

    /// The bots whose rows somebody is about to write.
    pub(crate) fn locked(&self) -> Set {
        let locked = self.calls.iter().map(|call| match call.stage {
            Stage::Within(Half::Straight(bots)) => bots,
            _ => Set::default(),
        });
        locked.fold(Set::default(), Set::or)
    }

    pub(crate) fn break_promise(&mut self, promise: &'static str) {
        if !self.audit.broken.contains(&promise) {
            self.audit.broken.push(promise);
        }
    }
}

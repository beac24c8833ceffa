//! What is done to a farm in one schedule, and what becomes of its statements.

use std::time::Duration;

use proptest::{collection, option, prelude::*};

/// How many bots there are; the roles of the first and the last are the same.
pub(crate) const BOTS: usize = 3;

/// Whoever waits for so long waits until the schedule is over.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// One call at one of two processes, and what becomes of one of its statements.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) at: usize,
    pub(crate) op: Op,
    pub(crate) fault: Option<Fault>,
}

/// A call. Requests and bots are picked by their number, modulo how many there are.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Acquire(Asked),
    /// Asks once more for the same, under the same id.
    Again {
        request: usize,
    },
    /// Asks for something else under the id of another request.
    Reuse {
        request: usize,
        asked: Asked,
    },
    /// Whoever asks goes without an answer.
    HangUp {
        request: usize,
    },
    Renew {
        request: usize,
    },
    Lookup {
        request: usize,
    },
    Release {
        request: usize,
        dirty: bool,
    },
    ReleaseBot {
        bot: usize,
        named: Option<usize>,
    },
    Revoke {
        bot: usize,
    },
    Change {
        bot: usize,
        role: usize,
        ready: bool,
    },
    Import {
        bot: usize,
        role: usize,
    },
    /// Lets what is brief expire.
    Pause,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) selectors: Vec<Choice>,
    pub(crate) wait: Wait,
    /// The lease lives for [`BRIEF`](Self::BRIEF) alone.
    pub(crate) brief: bool,
}

impl Asked {
    pub(crate) const BRIEF: Duration = Duration::from_millis(40);
}

/// Which bot a selector names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    Any,
    Role(usize),
    Bot(usize),
}

/// How long a request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    No,
    Short,
    Long,
}

impl Wait {
    pub(crate) fn span(self) -> Duration {
        match self {
            Self::No => Duration::ZERO,
            Self::Short => Duration::from_millis(25),
            Self::Long => LONG,
        }
    }
}

/// One of the statements from that step on stands at a point of its way while other steps are taken.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// Which of the statements, from 0.
    pub(crate) nth: usize,
    pub(crate) at: At,
    /// How many steps are taken meanwhile.
    pub(crate) steps: usize,
    /// The connection is cut in the end: what has not been committed is rolled back, what has is not told.
    pub(crate) cuts: bool,
    /// The client of the step goes as the statement comes there.
    pub(crate) hangs_up: bool,
}

/// A point on the way of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    Request,
    Commit,
    Reply,
}

pub(crate) fn schedule() -> impl Strategy<Value = Vec<Step>> {
    collection::vec(step(), 3..14)
}

fn step() -> impl Strategy<Value = Step> {
    (0..2_usize, op(), option::weighted(0.4, fault())).prop_map(|(at, op, fault)| Step { at, op, fault })
}

fn fault() -> impl Strategy<Value = Fault> {
    let at = prop_oneof![2 => Just(At::Request), 3 => Just(At::Commit), 4 => Just(At::Reply)];
    let nth = prop_oneof![5 => Just(0), 3 => Just(1), 1 => Just(2)];
    (nth, at, 0..4_usize, any::<bool>(), prop::bool::weighted(0.3)).prop_map(|(nth, at, steps, cuts, hangs_up)| Fault {
        nth,
        at,
        steps,
        cuts,
        hangs_up,
    })
}

fn asked() -> impl Strategy<Value = Asked> {
    let selector = || prop_oneof![4 => Just(Choice::Any), 2 => (0..2_usize).prop_map(Choice::Role), 2 => bot().prop_map(Choice::Bot)];
    let selectors = prop_oneof![4 => collection::vec(selector(), 1), 2 => collection::vec(selector(), 2), 1 => collection::vec(selector(), 3)];
    let span = prop_oneof![4 => Just(Wait::No), 1 => Just(Wait::Short), 5 => Just(Wait::Long)];
    (selectors, span, prop::bool::weighted(0.15)).prop_map(|(selectors, wait, brief)| Asked { selectors, wait, brief })
}

fn nth() -> impl Strategy<Value = usize> {
    0..840_usize
}

fn bot() -> impl Strategy<Value = usize> {
    0..BOTS
}

fn op() -> impl Strategy<Value = Op> {
    let role = || 0..2_usize;
    prop_oneof![
        10 => asked().prop_map(Op::Acquire),
        3 => nth().prop_map(|request| Op::Again { request }),
        1 => (nth(), asked()).prop_map(|(request, asked)| Op::Reuse { request, asked }),
        3 => nth().prop_map(|request| Op::HangUp { request }),
        3 => nth().prop_map(|request| Op::Renew { request }),
        1 => nth().prop_map(|request| Op::Lookup { request }),
        5 => (nth(), prop::bool::weighted(0.15)).prop_map(|(request, dirty)| Op::Release { request, dirty }),
        3 => (bot(), option::weighted(0.4, nth())).prop_map(|(bot, named)| Op::ReleaseBot { bot, named }),
        2 => bot().prop_map(|bot| Op::Revoke { bot }),
        1 => (bot(), role(), any::<bool>()).prop_map(|(bot, role, ready)| Op::Change { bot, role, ready }),
        1 => (bot(), role()).prop_map(|(bot, role)| Op::Import { bot, role }),
        1 => Just(Op::Pause),
    ]
}

//! What is done to a farm in one case: a random list of operations.

use proptest::prelude::*;

use crate::{Condition, Outcome};

/// One operation. What it is done to is picked by its number, modulo how many there are. Spans are in units: seconds
/// where time is paused; elsewhere only whether they are zero or short counts.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Create {
        kind: u8,
    },
    Import {
        bot: usize,
        kind: u8,
    },
    Update {
        bot: usize,
        kind: Option<u8>,
        condition: Option<Condition>,
    },
    Delete {
        bot: usize,
    },
    Acquire(Asked),
    /// Asks, and drops the future soon after: after so many turns of the runtime, or quarters of a millisecond.
    AcquireAndHangUp {
        asked: Asked,
        after: u8,
    },
    /// Asks once more under the id of a request that waits.
    Twin {
        waiter: usize,
    },
    HangUp {
        waiter: usize,
    },
    /// Asks again under the id of a request that waited, and has gone.
    AskAgain {
        gone: usize,
        wait: u64,
    },
    /// Asks again under the id of a lease in force.
    Replay {
        lease: usize,
    },
    Lookup {
        lease: usize,
    },
    Renew {
        lease: usize,
        ttl: u64,
    },
    /// Renews for a moment, and lets the lease expire.
    Expire {
        lease: usize,
    },
    Release {
        lease: usize,
        outcome: Outcome,
        by_bot: bool,
    },
    Revoke {
        bot: usize,
    },
    /// Uses the id of a lease that has ended.
    Stale {
        lease: usize,
        call: Stale,
    },
    /// Lets time pass. Where it cannot be paused: until no bot rests.
    Sleep {
        units: u64,
    },
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) wants: Vec<Want>,
    pub(super) wait: u64,
    pub(super) ttl: u64,
    pub(super) avoid: Option<usize>,
    pub(super) sticky: Option<u8>,
}

/// Which bot one selector wants.
#[derive(Debug, Clone)]
pub(super) enum Want {
    Any,
    Kind(u8),
    Dirty,
    Id(usize),
    Login(usize),
}

/// A call with the id of a lease that has ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stale {
    Acquire,
    Lookup,
    Release,
    ReleaseBot,
    Renew,
}

/// The operations of one case, the first bots included.
pub(super) fn case() -> impl Strategy<Value = Vec<Op>> {
    let bots = prop::collection::vec(kind().prop_map(|kind| Op::Create { kind }), 1..5);
    (bots, prop::collection::vec(op(), 1..60)).prop_map(|(bots, ops)| bots.into_iter().chain(ops).collect())
}

fn kind() -> impl Strategy<Value = u8> {
    0..3_u8
}

/// Which one, modulo how many there are.
fn nth() -> impl Strategy<Value = usize> {
    0..840_usize
}

fn units() -> impl Strategy<Value = u64> {
    prop_oneof![1 => Just(0), 3 => 1..20_u64]
}

fn asked() -> impl Strategy<Value = Asked> {
    let want = || {
        prop_oneof![
            3 => Just(Want::Any),
            4 => kind().prop_map(Want::Kind),
            1 => Just(Want::Dirty),
            1 => nth().prop_map(Want::Id),
            1 => nth().prop_map(Want::Login),
        ]
    };
    let wants = prop_oneof![3 => prop::collection::vec(want(), 1), 2 => prop::collection::vec(want(), 2..4)];
    let avoid = prop::option::weighted(0.2, nth());
    (wants, units(), 2..30_u64, avoid, prop::option::weighted(0.3, 0..2_u8))
        .prop_map(|(wants, wait, ttl, avoid, sticky)| Asked { wants, wait, ttl, avoid, sticky })
}

fn op() -> impl Strategy<Value = Op> {
    let outcome = || prop_oneof![4 => Just(Outcome::Clean), 1 => Just(Outcome::Dirty), 1 => Just(Outcome::Broken)];
    let condition = || prop_oneof![2 => Just(Condition::Ready), 1 => Just(Condition::Dirty)];
    let stale = prop_oneof![
        Just(Stale::Acquire),
        Just(Stale::Lookup),
        Just(Stale::Release),
        Just(Stale::ReleaseBot),
        Just(Stale::Renew),
    ];
    prop_oneof![
        2 => kind().prop_map(|kind| Op::Create { kind }),
        1 => (nth(), kind()).prop_map(|(bot, kind)| Op::Import { bot, kind }),
        1 => (nth(), prop::option::of(kind()), prop::option::of(condition()))
            .prop_map(|(bot, kind, condition)| Op::Update { bot, kind, condition }),
        1 => nth().prop_map(|bot| Op::Delete { bot }),
        12 => asked().prop_map(Op::Acquire),
        2 => (asked(), 0..12_u8).prop_map(|(asked, after)| Op::AcquireAndHangUp { asked, after }),
        1 => nth().prop_map(|waiter| Op::Twin { waiter }),
        2 => nth().prop_map(|waiter| Op::HangUp { waiter }),
        2 => (nth(), units()).prop_map(|(gone, wait)| Op::AskAgain { gone, wait }),
        1 => nth().prop_map(|lease| Op::Replay { lease }),
        1 => nth().prop_map(|lease| Op::Lookup { lease }),
        1 => (nth(), 2..30_u64).prop_map(|(lease, ttl)| Op::Renew { lease, ttl }),
        1 => nth().prop_map(|lease| Op::Expire { lease }),
        6 => (nth(), outcome(), prop::bool::weighted(0.2))
            .prop_map(|(lease, outcome, by_bot)| Op::Release { lease, outcome, by_bot }),
        1 => nth().prop_map(|bot| Op::Revoke { bot }),
        2 => (nth(), stale).prop_map(|(lease, call)| Op::Stale { lease, call }),
        3 => (1..6_u64).prop_map(|units| Op::Sleep { units }),
    ]
}

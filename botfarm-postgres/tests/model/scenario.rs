//! What is asked in a run, how much may go wrong, and which step is put back to what it was.

use crate::rows::{LeaseId, Set};

/// What one client asks for, once, at any time. Who asks again asks with another of these.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ask {
    /// A bot for each of `selectors`; those that fit each. Without `wait` it tries once.
    Acquire {
        id: LeaseId,
        selectors: &'static [Set],
        wait: bool,
    },
    /// Looks at a lease by its id, or renews it: what is seen is the same.
    Renew {
        id: LeaseId,
    },
    Release {
        id: LeaseId,
    },
    /// Ends whatever lease holds the bot.
    ReleaseBot {
        bot: usize,
    },
}

impl Ask {
    pub(crate) fn acquire(id: LeaseId, selectors: &'static [Set]) -> Self {
        Self::Acquire { id, selectors, wait: true }
    }

    pub(crate) fn try_once(id: LeaseId, selectors: &'static [Set]) -> Self {
        Self::Acquire { id, selectors, wait: false }
    }

    pub(crate) fn request(self) -> Option<Request> {
        match self {
            Self::Acquire { id, selectors, wait } => Some(Request { id, selectors, wait }),
            _ => None,
        }
    }

    pub(crate) fn id(self) -> Option<LeaseId> {
        match self {
            Self::Acquire { id, .. } | Self::Renew { id } | Self::Release { id } => Some(id),
            Self::ReleaseBot { .. } => None,
        }
    }
}

/// What an `Acquire` asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) id: LeaseId,
    pub(crate) selectors: &'static [Set],
    pub(crate) wait: bool,
}

/// How often what may happen at any time happens. Without a bound there would be no end of states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Bounds {
    /// Steps of the database's clock.
    pub(crate) ticks: u8,
    /// Clients that go before they have an answer, and calls that have waited for long enough.
    pub(crate) hang_ups: u8,
    /// Statements whose reply is lost, that come late, or that are given up.
    pub(crate) losses: u8,
    /// Processes that are killed.
    pub(crate) kills: u8,
    /// Looks whose outcome is acted upon late, when things have changed.
    pub(crate) looks: u8,
}

impl Bounds {
    /// By one more of each kind that there is, for a large run.
    pub(crate) fn grown(self) -> Self {
        let grow = |bound: u8| if bound > 0 && is_large() { bound + 1 } else { bound };
        let Self { ticks, hang_ups, losses, .. } = self;
        Self { ticks: grow(ticks), hang_ups: grow(hang_ups), losses: grow(losses), ..self }
    }
}

pub(crate) fn is_large() -> bool {
    std::env::var("BOTFARM_MODEL").is_ok_and(|size| size == "large")
}

/// A step as it must not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `leave` undoes what nobody *acquired*, though somebody has looked at it or renewed it.
    UndoIgnoresRenewals,
    /// The waiter's row takes what is wanted from a request that is then refused.
    OverwritesBeforeComparing,
    /// The repeated release of a bot reads anew who holds it.
    ReleaseLooksAnew,
    /// A waiter's row has room for one listener: the last one who came.
    OneListener,
    /// Nothing is locked between the look at the id's past and the claim.
    NoIdLock,
    /// The history of the id is read before its rows.
    HistoryBeforeRows,
    /// Nothing is looked at again once the waiter's row is locked: a pass may have granted something since.
    RowsBeforePlace,
    /// Each row of a lease is judged for itself, at the time when its turn comes.
    JudgesRowByRow,
    /// Processes listen instead of calls, and `leave` is told whether its call has been granted something.
    ProcessesListen,
    /// Nobody takes listeners away that no call stands behind.
    LeaveIsNotMadeUpFor,
    /// A listener is taken away that has got its lease since it was seen.
    StrayIsNotLookedForAgain,
    /// A request that is refused takes the waiter's row with it.
    RefusalTakesTheRow,
    /// A waiter whose choice has gone meanwhile is passed over.
    StaleChoiceIsPassedOver,
}

/// What is asked of which farm.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) bots: usize,
    pub(crate) asks: Vec<Ask>,
    pub(crate) bounds: Bounds,
}

impl Scenario {
    /// How many lease ids the asks speak of.
    pub(crate) fn ids(&self) -> usize {
        self.asks.iter().filter_map(|ask| ask.id()).max().map_or(0, |id| id + 1)
    }
}

/// The protocol under a scenario, with one step put back, or none.
#[derive(Debug, Clone)]
pub(crate) struct Protocol {
    pub(crate) scenario: Scenario,
    pub(crate) fault: Option<Fault>,
}

impl Protocol {
    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    pub(crate) fn request(&self, call: usize) -> Option<Request> {
        self.scenario.asks[call].request()
    }
}

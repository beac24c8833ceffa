//! What the clients of a schedule asked for, and what they were told, each at its time.

use std::{fmt, time::Instant};

use botfarm_core::{BotId, LeaseId, LeaseRequest};

use crate::schedule::Asked;

/// All that the clients know in the end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Story {
    pub(crate) requests: Vec<Request>,
    pub(crate) calls: Vec<CallRecord>,
    /// How many connections were cut.
    pub(crate) cuts: usize,
}

/// A request, which may be asked several times.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) asked: Asked,
    pub(crate) asks: LeaseRequest,
    /// Who stood in the queue for certain before it was asked for the first time.
    pub(crate) behind: Vec<LeaseId>,
    /// Its id was another request's before.
    pub(crate) reuses: bool,
}

/// A call, and what it was told.
#[derive(Debug, Clone)]
pub(crate) struct CallRecord {
    pub(crate) step: usize,
    pub(crate) call: Call,
    pub(crate) sent: Instant,
    pub(crate) back: Option<(Instant, Reply)>,
    pub(crate) hung_up: bool,
}

/// A call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// The number of the request.
    Acquire(usize),
    Renew(LeaseId),
    Lookup(LeaseId),
    Release(LeaseId),
    ReleaseBot(BotId, Option<LeaseId>),
    Revoke(BotId),
    Change(BotId),
    Import,
}

/// What a call was told.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Lease {
        holder: String,
        bots: Vec<(BotId, i64)>,
        until: Instant,
    },
    Done,
    /// The code, and all that was said.
    Refused(&'static str, String),
}

/// A hand-out in the books, with times of the database's clock in microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HandOut {
    pub(crate) bot: BotId,
    pub(crate) fence: i64,
    pub(crate) lease: LeaseId,
    pub(crate) since: i64,
    pub(crate) until: i64,
    pub(crate) reason: String,
    pub(crate) note: Option<String>,
}

impl Story {
    /// The number of the lease's first request.
    pub(crate) fn number(&self, lease: LeaseId) -> String {
        let at = self.requests.iter().position(|it| it.asks.id == lease);
        at.map_or_else(|| "of nobody's".to_owned(), |at| format!("r{at}"))
    }

    /// The lease that a call is about, if it names one.
    pub(crate) fn lease_of(&self, call: Call) -> Option<LeaseId> {
        match call {
            Call::Acquire(request) => self.requests.get(request).map(|it| it.asks.id),
            Call::Renew(lease) | Call::Lookup(lease) | Call::Release(lease) => Some(lease),
            Call::ReleaseBot(_, named) => named,
            Call::Revoke(_) | Call::Change(_) | Call::Import => None,
        }
    }
}

/// In the order of time, for whoever has to find out what happened.
impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(start) = self.calls.iter().map(|call| call.sent).min() else { return Ok(()) };
        let millis = |at: Instant| at.duration_since(start).as_secs_f64() * 1_000.0;
        for (number, told) in self.calls.iter().enumerate() {
            let lease = self.lease_of(told.call).map(|lease| self.number(lease)).unwrap_or_default();
            write!(f, "\n  {:8.1} call {number} of step {}: {:?} {lease}", millis(told.sent), told.step, told.call)?;
            match &told.back {
                Some((at, Reply::Refused(code, text))) => {
                    write!(f, "\n  {:8.1}   it was told {code}: {text}", millis(*at))?;
                }
                Some((at, answer)) => write!(f, "\n  {:8.1}   it was told {answer:?}", millis(*at))?,
                None if told.hung_up => write!(f, "\n             it hung up")?,
                None => write!(f, "\n             it was told nothing")?,
            }
        }
        Ok(())
    }
}

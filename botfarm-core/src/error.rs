//! What can go wrong, in words for whoever has to act on it.

use std::{fmt, time::Duration};

use crate::{
    condition::Condition,
    ending::EndReason,
    id::BotId,
    location::Location,
    name::Env,
    text::{Holder, Login, Note},
    time::Timestamp,
};

/// What every call of a farm gives.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong. None of it ever contains a password or a lease id.
///
/// The same failure is the same variant on every farm; [`Error::code`] names it for programs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bot asked for by name is not free, and did not become so in time.
    #[error("{0}")]
    Busy(Box<Busy>),
    /// Bots that fit exist, but none became free in time.
    #[error("{0}")]
    Exhausted(Box<Shortage>),
    /// No bot could ever satisfy the request.
    #[error("{detail}")]
    NoMatch {
        /// The first selector, counted from 0, that cannot be satisfied.
        selector: usize,
        /// What was wanted, and what there is.
        detail: String,
    },
    /// The lease has ended: its bots may be somebody else's by now.
    #[error("{0}")]
    LeaseLost(Box<LostLease>),
    /// The env has a bot of this login already.
    #[error("a bot with the login {login} exists in {env} already; use another login, or update that bot")]
    LoginTaken {
        /// The login, as it was asked for.
        login: Login,
        /// The env.
        env: Env,
    },
    /// The farm has no such bot.
    #[error("there is no bot {id}; it may have been deleted")]
    NoSuchBot {
        /// The id that was asked for.
        id: BotId,
    },
    /// The farm knows no such lease: never granted, or ended so long ago that it is forgotten.
    #[error("there is no such lease; it was never granted, or it ended long ago")]
    NoSuchLease,
    /// The bot must be free for this, and is not.
    #[error("bot {bot} is held by {holder} until {}; wait, or revoke the lease", shown(.expires_at))]
    InUse {
        /// The bot.
        bot: BotId,
        /// Who holds it.
        holder: Holder,
        /// When the lease ends unless it is renewed.
        expires_at: Timestamp,
    },
    /// Well-formed but wrong. Nothing was done.
    #[error("{}", listed(.faults))]
    Invalid {
        /// Every fault that was found.
        faults: Vec<Fault>,
    },
    /// Not even well-formed, such as a cursor that is none.
    #[error("{detail}")]
    Malformed {
        /// What is wrong with what.
        detail: String,
    },
    /// The lease id was used for another request.
    #[error("this idempotency key was used for another request; use a new key for a new request")]
    KeyReused,
    /// The change may have been made, or not: whoever was at it was cut off.
    #[error(
        "it is not known whether this change was made: the service lost its store, or stopped, while it was at it; look, \
         and if it was not made, ask again under a new idempotency key"
    )]
    OutcomeUnknown,
    /// Who asks has not proved who they are.
    #[error("{detail}")]
    Unauthenticated {
        /// What is missing.
        detail: String,
    },
    /// Who asks may not do this.
    #[error("{detail}")]
    Forbidden {
        /// What it would take.
        detail: String,
    },
    /// Only the holder or an admin may release this.
    #[error("bot {bot} is held by {holder}; only the holder or an admin may release it")]
    NotHolder {
        /// The bot.
        bot: BotId,
        /// Who holds it.
        holder: Holder,
    },
    /// The store cannot be reached just now, or the service is about to stop. What was asked for may have been done;
    /// asking again is safe for an acquire under the same lease id, a renewal and a release.
    #[error("{detail}; try again in {} s", .retry_after.as_secs().max(1))]
    Unavailable {
        /// What cannot be reached.
        detail: String,
        /// When to try again.
        retry_after: Duration,
        /// What happened. For logs.
        source: Option<BoxError>,
    },
    /// The backend failed in a way that nobody foresaw.
    #[error("the farm's store failed unexpectedly; its log has the details")]
    Backend {
        /// What happened. For logs.
        source: BoxError,
    },
}

/// Any error, as a cause.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

impl Error {
    /// The stable name of the failure, the same on every farm and on the wire.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Busy(_) => "busy",
            Self::Exhausted(_) => "exhausted",
            Self::NoMatch { .. } => "no-match",
            Self::LeaseLost(_) => "lease-lost",
            Self::LoginTaken { .. } => "login-taken",
            Self::NoSuchBot { .. } => "no-such-user",
            Self::NoSuchLease => "no-such-lease",
            Self::InUse { .. } => "in-use",
            Self::Invalid { .. } => "invalid",
            Self::Malformed { .. } => "malformed",
            Self::KeyReused => "key-reused",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::Unauthenticated { .. } => "unauthenticated",
            Self::Forbidden { .. } => "forbidden",
            Self::NotHolder { .. } => "not-holder",
            Self::Unavailable { .. } => "unavailable",
            Self::Backend { .. } => "internal",
        }
    }

    /// A single fault.
    #[must_use]
    pub fn invalid(at: impl Into<Location>, detail: impl Into<String>) -> Self {
        Self::Invalid { faults: vec![Fault::new(at, detail)] }
    }

    /// The lease has ended.
    #[must_use]
    pub fn lost(reason: EndReason, at: Timestamp, by: Option<Holder>, note: Option<Note>) -> Self {
        Self::LeaseLost(Box::new(LostLease { reason, at, by, note }))
    }

    /// An unforeseen failure of the backend.
    pub fn backend(source: impl Into<BoxError>) -> Self {
        Self::Backend { source: source.into() }
    }
}

/// One thing that is wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where: a field of the request; of an import also the row.
    pub at: Location,
    /// What is wrong, and what would be right. Never repeats the value.
    pub detail: String,
}

impl Fault {
    /// `detail` is wrong at `at`.
    #[must_use]
    pub fn new(at: impl Into<Location>, detail: impl Into<String>) -> Self {
        Self { at: at.into(), detail: detail.into() }
    }
}

/// `ttl: must be from 5 to 60 seconds`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, detail } = self;
        if *at == Location::whole() { f.write_str(detail) } else { write!(f, "{at}: {detail}") }
    }
}

/// Why the bot asked for by name cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Busy {
    /// The bot.
    pub bot: BotId,
    /// Who holds it, if anybody does.
    pub holder: Option<Holder>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// When the lease ends unless it is renewed; of a bot that rests, until when.
    pub expires_at: Option<Timestamp>,
    /// The bot's condition.
    pub condition: Condition,
}

impl Busy {
    /// A bot in this condition, which nobody holds.
    #[must_use]
    pub fn new(bot: BotId, condition: Condition) -> Self {
        Self { bot, holder: None, since: None, expires_at: None, condition }
    }
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bot, holder, since, expires_at, condition } = self;
        write!(f, "bot {bot} ")?;
        match (holder, since, expires_at) {
            (Some(holder), Some(since), Some(until)) => {
                write!(f, "is held by {holder} since {}, until {}", shown(since), shown(until))?;
            }
            (Some(holder), ..) => write!(f, "is held by {holder}")?,
            (None, _, Some(until)) => write!(f, "rests until {}", shown(until))?,
            (None, ..) if *condition == Condition::Ready => {
                f.write_str(
                    "is ready, but was asked for in another condition, others wait for it, or it is being changed just now",
                )?;
            }
            (None, ..) => write!(f, "is {condition}")?,
        }
        f.write_str("; wait longer, or take another bot")
    }
}

/// How things stand with the bots that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shortage {
    /// The first selector, counted from 0, that could not be satisfied; the counts are of its bots.
    pub selector: usize,
    /// How many bots match, whatever their condition.
    pub matching: u64,
    /// How many of them are leased.
    pub leased: u64,
    /// How many of them rest.
    pub cooling: u64,
    /// How many of them are free, but not in the condition that was asked for.
    pub out_of_service: u64,
    /// The place of the request among those that stand in the queue for such a bot, itself included, from 1. `None` when
    /// it does not stand there.
    pub place: Option<u64>,
    /// How many other requests stand in the queue for such a bot: those with a selector that
    /// [overlaps](crate::Selector::overlaps) this one. Counts who waits now, not the places that are kept.
    pub waiting: u64,
    /// Whoever has held one of them for the longest.
    pub oldest: Option<Oldest>,
    /// When it may be worth trying again.
    pub retry_after: Duration,
}

/// Whoever has held a bot for the longest.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Oldest {
    /// Who.
    pub holder: Holder,
    /// Since when.
    pub since: Timestamp,
}

impl Shortage {
    /// Of the selector number `selector`, counted from 0: no bots yet.
    #[must_use]
    pub fn new(selector: usize) -> Self {
        Self {
            selector,
            matching: 0,
            leased: 0,
            cooling: 0,
            out_of_service: 0,
            place: None,
            waiting: 0,
            oldest: None,
            retry_after: Duration::ZERO,
        }
    }
}

impl Oldest {
    /// `holder`, since then.
    #[must_use]
    pub fn new(holder: Holder, since: Timestamp) -> Self {
        Self { holder, since }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no bot became free in time: {}; wait longer, or add bots", self.reason())
    }
}

impl Shortage {
    /// What keeps the request waiting: the [counts](Self::counts), and whoever has held one of the bots for the longest.
    #[must_use]
    pub fn reason(&self) -> String {
        let counts = self.counts();
        match &self.oldest {
            Some(Oldest { holder, since }) => {
                format!("{counts}; the longest is held by {holder} since {}", shown(since))
            }
            None => counts.to_string(),
        }
    }

    /// How the bots stand, and the request among those that wait for them: `3 match, 2 leased, 1 cooling, 0 out of service,
    /// place 2 of 5`.
    #[must_use]
    pub fn counts(&self) -> impl fmt::Display {
        fmt::from_fn(move |f| {
            let Self { matching, leased, cooling, out_of_service, waiting, place, .. } = self;
            let rest = if *cooling > 0 { " (at rest after their last lease)" } else { "" };
            write!(f, "{matching} match, {leased} leased, {cooling} cooling{rest}, {out_of_service} out of service, ")?;
            match place {
                Some(place) => write!(f, "place {place} of {}", waiting.saturating_add(1)),
                None => write!(f, "{waiting} requests waiting"),
            }
        })
    }
}

/// How a lease ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LostLease {
    /// How.
    pub reason: EndReason,
    /// When.
    pub at: Timestamp,
    /// Who took it away, when somebody did.
    pub by: Option<Holder>,
    /// The reason they gave, or the remark made at the release.
    pub note: Option<Note>,
}

impl LostLease {
    /// In this way, at this time; nobody has said more of it.
    #[must_use]
    pub fn new(reason: EndReason, at: Timestamp) -> Self {
        Self { reason, at, by: None, note: None }
    }
}

impl fmt::Display for LostLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, at, by, note } = self;
        let at = shown(at);
        match reason {
            EndReason::Expired => write!(f, "the lease expired at {at}: nobody renewed it in time")?,
            EndReason::Released => write!(f, "the lease was released at {at}")?,
            EndReason::Revoked | EndReason::Taken => {
                let how = if *reason == EndReason::Taken { "given back by somebody else" } else { "revoked" };
                write!(f, "the lease was {how} at {at}")?;
                if let Some(by) = by {
                    write!(f, " by {by}")?;
                }
                if let Some(note) = note {
                    write!(f, " ({note})")?;
                }
            }
        }
        f.write_str("; its bots may be somebody else's now: stop using them, and acquire anew")
    }
}

fn shown(at: &Timestamp) -> impl fmt::Display {
    at.format("%Y-%m-%dT%H:%M:%SZ")
}

fn listed(faults: &[Fault]) -> String {
    let faults: Vec<_> = faults.iter().map(Fault::to_string).collect();
    format!("nothing was done, for these faults: {}", faults.join("; "))
}

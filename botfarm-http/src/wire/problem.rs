//! What went wrong, as RFC 9457 has it, complete enough to rebuild the error that it was.

use std::time::Duration;

use botfarm_core::{
    BotId, Busy, Condition, EndReason, Env, Error, Faults, Holder, Location, Login, LostLease, Note, Shortage,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{
    fault::Fault,
    value::{Seconds, Time},
};

/// What went wrong: `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Problem {
    /// `about:blank`: `code` tells more.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// One sentence that a tester can act on.
    pub detail: String,
    /// Which failure it is, with what is known about it.
    #[serde(flatten)]
    pub code: Code,
}

impl Problem {
    /// `code`, in the words of `detail`.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let status = code.status();
        Self {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            code,
        }
    }
}

/// Every failure that the service answers with, by its stable code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(tag = "code", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Code {
    /// Not well-formed.
    Malformed,
    /// The env has an account of this login already.
    LoginTaken {
        /// The login.
        login: Login,
        /// The env.
        env: Env,
    },
    /// Who asks has not proved who they are.
    Unauthenticated,
    /// Who asks may not do this.
    Forbidden,
    /// Only the holder or an admin may release this.
    NotHolder {
        /// The user.
        user_id: BotId,
        /// Who holds it.
        holder: Holder,
    },
    /// There is no such user.
    NoSuchUser {
        /// The id that was asked for.
        user_id: BotId,
    },
    /// There is no such lease.
    NoSuchLease,
    /// There is no such operator.
    NoSuchOperator,
    /// There is no such API token.
    NoSuchToken,
    /// There is nothing at this path.
    NoSuchRoute,
    /// The path is there, but not for this method.
    MethodNotAllowed,
    /// The user asked for by name is not free.
    Busy {
        /// The user.
        user_id: BotId,
        /// Who holds it, if anybody does.
        holder: Option<Holder>,
        /// Since when.
        since: Option<Time>,
        /// When the lease ends unless it is renewed; of a user that rests, until when.
        expires_at: Option<Time>,
        /// The user's condition.
        condition: Condition,
    },
    /// Nothing that fits became free in time.
    Exhausted {
        /// The first selector, counted from 0, that could not be satisfied; the counts are of its users.
        selector: usize,
        /// How many users match, whatever their condition.
        matching: u64,
        /// How many of them are leased.
        leased: u64,
        /// How many of them rest.
        cooling: u64,
        /// How many of them are free, but not in the condition that was asked for.
        out_of_service: u64,
        /// The place of the request among those that stand in the queue for such a user, itself included, from 1; null
        /// when it does not stand there.
        place: Option<u64>,
        /// How many other requests stand in the queue for such a user.
        waiting: u64,
        /// Whoever has held one of them for the longest.
        oldest: Option<Oldest>,
        /// When it may be worth trying again.
        retry_after_seconds: Seconds,
    },
    /// The user must be free for this, and is not.
    InUse {
        /// The user.
        user_id: BotId,
        /// Who holds it.
        holder: Holder,
        /// When the lease ends unless it is renewed.
        expires_at: Time,
    },
    /// The lease has ended.
    LeaseLost {
        /// How.
        reason: EndReason,
        /// When.
        ended_at: Time,
        /// Who took it away, when somebody did.
        by: Option<Holder>,
        /// The reason they gave.
        note: Option<Note>,
    },
    /// The body is too large.
    TooLarge,
    /// The body is of a kind that this path does not take.
    UnsupportedMediaType,
    /// Well-formed but wrong.
    Invalid {
        /// Every fault.
        errors: Vec<Fault>,
    },
    /// No user could ever satisfy the request.
    NoMatch {
        /// The first selector, counted from 0, that cannot be satisfied.
        selector: usize,
    },
    /// The idempotency key stands for another request.
    KeyReused,
    /// The change may have been made, or not: the service was cut off while it was at it.
    OutcomeUnknown,
    /// Too many requests in too short a time.
    TooManyRequests {
        /// When to try again.
        retry_after_seconds: Seconds,
    },
    /// The store cannot be reached just now, or the service is about to stop.
    Unavailable {
        /// When to try again.
        retry_after_seconds: Seconds,
    },
    /// The service failed in a way that nobody foresaw.
    Internal,
}

/// Whoever has held a user for the longest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Oldest {
    /// Who.
    pub holder: Holder,
    /// Since when.
    pub since: Time,
}

impl Code {
    /// The HTTP status that goes with it.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed | Self::LoginTaken { .. } => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::NotHolder { .. } => StatusCode::FORBIDDEN,
            Self::NoSuchUser { .. }
            | Self::NoSuchLease
            | Self::NoSuchOperator
            | Self::NoSuchToken
            | Self::NoSuchRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Busy { .. } | Self::Exhausted { .. } | Self::InUse { .. } | Self::OutcomeUnknown => {
                StatusCode::CONFLICT
            }
            Self::LeaseLost { .. } => StatusCode::GONE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid { .. } | Self::NoMatch { .. } | Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// When it may be worth trying again, for the header `Retry-After`.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Exhausted { retry_after_seconds, .. }
            | Self::TooManyRequests { retry_after_seconds }
            | Self::Unavailable { retry_after_seconds } => Some(retry_after_seconds.0),
            _ => None,
        }
    }
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        let code = match error {
            Error::Busy(busy) => {
                let Busy { bot, holder, since, expires_at, condition, .. } = (**busy).clone();
                let (since, expires_at) = (since.map(Time), expires_at.map(Time));
                Code::Busy { user_id: bot, holder, since, expires_at, condition }
            }
            Error::Exhausted(shortage) => {
                let Shortage {
                    selector,
                    matching,
                    leased,
                    cooling,
                    out_of_service,
                    place,
                    waiting,
                    oldest,
                    retry_after,
                    ..
                } = (**shortage).clone();
                Code::Exhausted {
                    selector,
                    matching,
                    leased,
                    cooling,
                    out_of_service,
                    place,
                    waiting,
                    oldest: oldest.map(|oldest| Oldest { holder: oldest.holder, since: Time(oldest.since) }),
                    retry_after_seconds: Seconds(retry_after),
                }
            }
            Error::NoMatch { selector, .. } => Code::NoMatch { selector: *selector },
            Error::LeaseLost(lost) => {
                let LostLease { reason, at, by, note, .. } = (**lost).clone();
                Code::LeaseLost { reason, ended_at: Time(at), by, note }
            }
            Error::LoginTaken { login, env } => Code::LoginTaken { login: login.clone(), env: env.clone() },
            Error::NoSuchBot { id } => Code::NoSuchUser { user_id: *id },
            Error::NoSuchLease => Code::NoSuchLease,
            Error::InUse { bot, holder, expires_at } => {
                Code::InUse { user_id: *bot, holder: holder.clone(), expires_at: Time(*expires_at) }
            }
            // A farm may have found fault with each of a hundred thousand rows.
            Error::Invalid { faults } if faults.len() > Faults::LISTED + 1 => {
                let errors: Vec<_> = faults.iter().cloned().collect::<Faults>().into();
                return Self::from(&Error::Invalid { faults: errors });
            }
            Error::Invalid { faults } => Code::Invalid { errors: faults.iter().cloned().map(Fault::from).collect() },
            Error::Malformed { .. } => Code::Malformed,
            Error::KeyReused => Code::KeyReused,
            Error::OutcomeUnknown => Code::OutcomeUnknown,
            Error::Unauthenticated { .. } => Code::Unauthenticated,
            Error::Forbidden { .. } => Code::Forbidden,
            Error::NotHolder { bot, holder } => Code::NotHolder { user_id: *bot, holder: holder.clone() },
            Error::Unavailable { detail, retry_after, .. } => {
                // Without the "try again in" of the error's own text, which the other end adds again.
                let code = Code::Unavailable { retry_after_seconds: Seconds(*retry_after) };
                return Self::new(code, detail.clone());
            }
            _ => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

/// The very error that the service met, as far as it told.
impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        let Problem { detail, code, .. } = problem;
        match code {
            Code::Malformed => Self::Malformed { detail },
            Code::LoginTaken { login, env } => Self::LoginTaken { login, env },
            Code::Unauthenticated => Self::Unauthenticated { detail },
            Code::Forbidden => Self::Forbidden { detail },
            Code::NotHolder { user_id, holder } => Self::NotHolder { bot: user_id, holder },
            Code::NoSuchUser { user_id } => Self::NoSuchBot { id: user_id },
            Code::NoSuchLease => Self::NoSuchLease,
            Code::Busy { user_id, holder, since, expires_at, condition } => {
                let mut busy = Busy::new(user_id, condition);
                busy.holder = holder;
                (busy.since, busy.expires_at) = (since.map(|at| at.0), expires_at.map(|at| at.0));
                Self::Busy(Box::new(busy))
            }
            Code::Exhausted {
                selector,
                matching,
                leased,
                cooling,
                out_of_service,
                place,
                waiting,
                oldest,
                retry_after_seconds,
            } => {
                let mut shortage = Shortage::new(selector);
                shortage.matching = matching;
                shortage.leased = leased;
                shortage.cooling = cooling;
                shortage.out_of_service = out_of_service;
                (shortage.place, shortage.waiting) = (place, waiting);
                shortage.oldest = oldest.map(|oldest| botfarm_core::Oldest::new(oldest.holder, oldest.since.0));
                shortage.retry_after = retry_after_seconds.0;
                Self::Exhausted(Box::new(shortage))
            }
            Code::InUse { user_id, holder, expires_at } => {
                Self::InUse { bot: user_id, holder, expires_at: expires_at.0 }
            }
            Code::LeaseLost { reason, ended_at, by, note } => Self::lost(reason, ended_at.0, by, note),
            Code::TooLarge => Self::invalid(Location::whole(), detail),
            Code::Invalid { errors } => Self::Invalid { faults: errors.into_iter().map(Into::into).collect() },
            Code::NoMatch { selector } => Self::NoMatch { selector, detail },
            Code::KeyReused => Self::KeyReused,
            Code::OutcomeUnknown => Self::OutcomeUnknown,
            Code::TooManyRequests { retry_after_seconds } | Code::Unavailable { retry_after_seconds } => {
                Self::Unavailable { detail, retry_after: retry_after_seconds.0, source: None }
            }
            Code::NoSuchOperator
            | Code::NoSuchToken
            | Code::NoSuchRoute
            | Code::MethodNotAllowed
            | Code::UnsupportedMediaType
            | Code::Internal => Self::backend(detail),
        }
    }
}

#[cfg(test)]
mod tests;

//! What the backend knows of its failures, and which of them the trait has a name for.

use std::time::Duration;

use botfarm_core::{BoxError, KeyError};

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// What the trait has a name for.
    #[error(transparent)]
    Farm(#[from] botfarm_core::Error),
    /// The database said no, or said nothing.
    #[error("the database failed")]
    Sql(#[from] sqlx::Error),
    /// A password that the key does not open.
    #[error("the password of bot {bot} cannot be opened")]
    Sealed { bot: botfarm_core::BotId, source: KeyError },
    /// A row that could not have been written.
    #[error("the database holds a value that the farm did not write")]
    Corrupt { source: BoxError },
    /// Nobody waits for the answer any more.
    #[error("nobody waits for the answer any more")]
    Unanswered,
    /// Others changed meanwhile what this call was about to change.
    #[error("others keep changing the same bots")]
    Outrun,
    /// Neither an answer nor the end of the connection came, for longer than the server works on a statement.
    #[error("the database did not answer within {patience:?}")]
    Silent { patience: Duration },
    /// No host takes writes.
    #[error("{detail}")]
    Unreachable { detail: String, source: Option<BoxError> },
}

impl Error {
    pub(crate) fn corrupt(source: impl Into<BoxError>) -> Self {
        Self::Corrupt { source: source.into() }
    }

    /// The constraint that was violated, if one was.
    pub(crate) fn constraint(&self) -> Option<&str> {
        match self {
            Self::Sql(sqlx::Error::Database(error)) => error.constraint(),
            _ => None,
        }
    }

    /// Whether the connection, or the server behind it, has gone: the statement may have been carried out or not, and
    /// another connection may do better.
    pub(crate) fn lost_connection(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Silent { .. } => true,
            Self::Sql(error) => match error {
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed => true,
                // Connection exceptions; shutting down or starting; too many connections; a standby.
                sqlx::Error::Database(error) => error.code().is_some_and(|code| {
                    code.starts_with("08")
                        || matches!(&*code, "57P01" | "57P02" | "57P03" | "57P05" | "53300" | "25006" | "25P03")
                }),
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether the statement was given up for another's sake, and nothing was done: a deadlock, a serialisation failure,
    /// a lock or statement that took too long.
    pub(crate) fn gave_way(&self) -> bool {
        match self {
            Self::Sql(sqlx::Error::Database(error)) => {
                // Also what was about to be used when it was cleared away: a selector, a pool, a set of labels.
                error.code().is_some_and(|code| matches!(&*code, "40001" | "40P01" | "55P03" | "57014" | "23503"))
            }
            _ => false,
        }
    }
}

impl From<Error> for botfarm_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Farm(error) => error,
            error if error.lost_connection() || error.gave_way() || matches!(error, Error::Outrun) => {
                Self::Unavailable {
                    detail: "the farm's database cannot be reached just now".into(),
                    retry_after: Duration::from_secs(1),
                    source: Some(error.into()),
                }
            }
            error => Self::backend(error),
        }
    }
}

//! What the backend knows of its failures, and which of them the trait has a name for.

use std::{io, time::Duration};

use botfarm_core::BoxError;
use sqlx::postgres::PgConnectOptions;

use crate::unreadable::Unreadable;

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// What the trait has a name for.
    #[error(transparent)]
    Farm(#[from] botfarm_core::Error),
    /// The database said no, or said nothing.
    #[error("{}", told(.0))]
    Sql(sqlx::Error),
    /// A password that the key does not open.
    #[error(transparent)]
    Sealed(Box<Unreadable>),
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

impl From<Unreadable> for Error {
    fn from(unreadable: Unreadable) -> Self {
        Self::Sealed(Box::new(unreadable))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

/// What the database said, in the place of all that it sends along: the line of its own source is of no use here.
fn told(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(said) => {
            format!("the database says: {} ({})", said.message(), said.code().unwrap_or_default())
        }
        error => format!("the database failed: {error}"),
    }
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
    pub(crate) fn was_cut_short(&self) -> bool {
        match self {
            Self::Sql(sqlx::Error::Database(error)) => {
                // Also what was about to be used when it was cleared away: a selector, a pool, a set of labels.
                error.code().is_some_and(|code| matches!(&*code, "40001" | "40P01" | "55P03" | "57014" | "23503"))
            }
            _ => false,
        }
    }
}

/// Why a farm cannot be opened, for whoever has given the URL: what is wrong with it, where that is what it is.
pub(crate) fn at_start(error: Error, hosts: &[PgConnectOptions]) -> botfarm_core::Error {
    // The one that was tried last.
    let Some(host) = hosts.last() else { return error.into() };
    let mut cause = Some(&error);
    // What a server says who is there at all may be told as that none could be used.
    while let Some(Error::Unreachable { source: Some(source), .. }) = cause {
        cause = source.downcast_ref::<Error>();
    }
    let (user, database) = (host.get_username(), host.get_database().unwrap_or(host.get_username()));
    let place = format!("{}:{}", host.get_host(), host.get_port());
    let malformed = |detail| botfarm_core::Error::Malformed { detail };
    let unavailable = |why: &str| botfarm_core::Error::Unavailable {
        detail: format!("the database at {place} cannot be reached: {why}"),
        retry_after: Duration::from_secs(1),
        source: None,
    };
    match cause {
        Some(Error::Sql(sqlx::Error::Database(said))) => match said.code().as_deref() {
            Some("28P01") => malformed(format!(
                "the database at {place} does not take the password of {user}: it is wrong, or there is none in the URL; \
                 in a URL, @ : / ? # and % within a password are written %40 %3A %2F %3F %23 %25"
            )),
            Some("28000") => malformed(format!("the database at {place} does not let {user} in: {}", said.message())),
            Some("3D000") => malformed(format!(
                "there is no database {database} at {place}; make it (`createdb {database}`), or name another at the end \
                 of the URL: postgres://user@host/database"
            )),
            Some("42501") => malformed(format!(
                "{user} may not do what a farm needs in the database {database} at {place}: {}; let that role own it",
                said.message()
            )),
            _ => error.into(),
        },
        Some(Error::Sql(sqlx::Error::Io(io))) => match io.kind() {
            io::ErrorKind::ConnectionRefused => unavailable("nobody listens there; is it running?"),
            io::ErrorKind::TimedOut => unavailable("nobody answers; is a firewall in between?"),
            _ if io.to_string().contains("lookup") => malformed(format!(
                "there is no host {}; if that is a part of the password, write @ : / ? # and % in it as %40 %3A %2F %3F \
                 %23 %25",
                host.get_host()
            )),
            _ => error.into(),
        },
        _ => error.into(),
    }
}

impl From<Error> for botfarm_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Farm(error) => error,
            error if error.lost_connection() || error.was_cut_short() || matches!(error, Error::Outrun) => {
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

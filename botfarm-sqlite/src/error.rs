//! What can go wrong with a file.

use std::{io, path::PathBuf, time::Duration};

use botfarm_core::{Error as FarmError, KeyError};
use botfarm_engine::Contradiction;

/// What can go wrong with a file, in words for whoever runs the farm.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{} cannot be {what}: {source}", .path.display())]
    File { path: PathBuf, what: &'static str, source: io::Error },
    #[error("{} is in use by {by}; stop that, or go through it: a farm in a file belongs to one process at a time", .path.display())]
    InUse { path: PathBuf, by: String },
    #[error("{} is not the file of a farm: {why}; name another file, which is made when it is not there", .path.display())]
    Foreign { path: PathBuf, why: &'static str },
    #[error("{} was written by a later version of botfarm (layout {found}, this one knows {known}); start that version, or restore a copy from before", .path.display())]
    Later { path: PathBuf, found: i64, known: i64 },
    #[error("{} is damaged: {why}; it is left as it is: move it away with the files beside it, and restore a copy that `botfarm backup` made", .path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("the key of {} is missing: its passwords are sealed with the one in {}, which is not there; put it back, or set BOTFARM_KEY to it", .farm.display(), .key.display())]
    KeyGone { farm: PathBuf, key: PathBuf },
    #[error("the key is not that of {}: {source}", .path.display())]
    WrongKey { path: PathBuf, source: KeyError },
    #[error("{} is no key: {source}", .path.display())]
    BadKeyFile { path: PathBuf, source: KeyError },
    #[error("{} exists already; name a file that does not", .path.display())]
    Exists { path: PathBuf },
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("{0}")]
    Damage(String),
}

impl Error {
    pub(crate) fn file(path: &std::path::Path, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, what, source }
    }

    /// The error for whoever opens the file at `path`.
    pub(crate) fn at(self, path: &std::path::Path) -> Self {
        let path = path.to_owned();
        match self {
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(rusqlite::ErrorCode::NotADatabase) => Self::Foreign { path, why: "it is no SQLite database" },
                Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                    Self::InUse { path, by: "another program".to_owned() }
                }
                Some(rusqlite::ErrorCode::DiskFull) => {
                    Self::File { path, what: "written", source: io::ErrorKind::StorageFull.into() }
                }
                _ => Self::Damaged { path, why: error.to_string() },
            },
            Self::Damage(why) => Self::Damaged { path, why },
            other => other,
        }
    }
}

impl From<Contradiction> for Error {
    fn from(contradiction: Contradiction) -> Self {
        Self::Damage(contradiction.to_string())
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Damage(error.to_string())
    }
}

impl From<botfarm_core::BadText> for Error {
    fn from(error: botfarm_core::BadText) -> Self {
        Self::Damage(format!("what is kept as a text {error}"))
    }
}

impl From<Error> for FarmError {
    fn from(error: Error) -> Self {
        match error {
            Error::InUse { .. } => {
                Self::Unavailable { detail: error.to_string(), retry_after: Duration::from_secs(1), source: None }
            }
            Error::WrongKey { .. } => Self::Forbidden { detail: error.to_string() },
            error => Self::Malformed { detail: error.to_string() },
        }
    }
}

//! From a URL to a farm that keeps things itself, with what a service needs besides.

#[cfg(feature = "postgres")]
pub(crate) mod database;
#[cfg(feature = "sqlite")]
pub(crate) mod file;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod history;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

#[cfg(any(feature = "postgres", feature = "sqlite"))]
use botfarm_core::Keyring;
use botfarm_core::{BotFarm, LeasePolicy, Result, audit::Audit, idempotency::Idempotency, operators::Operators};
#[cfg(feature = "memory")]
use botfarm_memory::MemoryFarm;
#[cfg(feature = "postgres")]
use botfarm_postgres::PostgresFarm;

#[cfg(not(all(feature = "memory", feature = "postgres", feature = "sqlite")))]
use crate::variables::feature_off;
use crate::variables::{Vars, malformed, process};

/// A farm that keeps things itself, and what a service needs besides: `memory:`, `sqlite:PATH` or
/// `postgres://user@host/database`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> botfarm::Result<()> {
/// # #[cfg(feature = "memory")] {
/// use botfarm::{Store, StoreOptions};
///
/// let store = Store::open("memory:", StoreOptions::default()).await?;
/// assert_eq!(store.farm.stats().await?.waiting, 0);
/// assert!(store.operators.is_some() && store.audit.is_none(), "who did what is kept by a service in memory");
/// # }
/// # Ok(())
/// # }
/// ```
#[non_exhaustive]
pub struct Store {
    /// The farm itself.
    pub farm: Arc<dyn BotFarm>,
    /// Who may use a service of it; `None` when the farm does not keep that.
    pub operators: Option<Arc<dyn Operators>>,
    /// What became of changes that came with a key; `None` when the farm does not keep that.
    pub idempotency: Option<Arc<dyn Idempotency>>,
    /// Who did what; `None` when the farm does not keep that.
    pub audit: Option<Arc<dyn Audit>>,
    /// The farm's keys; `None` when it is in memory, and seals nothing.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub keyring: Option<Keyring>,
    /// The file that it is in; `None` when it is in none.
    pub file: Option<PathBuf>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("farm", &self.farm).field("file", &self.file).finish_non_exhaustive()
    }
}

/// How to open a store, where it is not as the environment says.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct StoreOptions {
    /// What the farm allows, and how long its bots rest.
    pub policy: LeasePolicy,
    /// Where a database is listened to for notifications, past a connection pooler; `none`: it is looked at often instead.
    /// Not given: as `BOTFARM_LISTEN_URL` says, or else where the database is.
    pub listen_url: Option<String>,
    /// How many connections to a database to have at most, beside the one that listens. Not given: as
    /// `BOTFARM_MAX_CONNECTIONS` says, or else 10.
    pub max_connections: Option<u32>,
}

impl StoreOptions {
    /// The same, with this policy.
    #[must_use]
    pub fn policy(self, policy: LeasePolicy) -> Self {
        Self { policy, ..self }
    }

    /// The same, listening at this URL, or with `none` nowhere.
    #[must_use]
    pub fn listen_url(self, url: impl Into<String>) -> Self {
        Self { listen_url: Some(url.into()), ..self }
    }

    /// The same, with at most so many connections.
    #[must_use]
    pub fn max_connections(self, number: u32) -> Self {
        Self { max_connections: Some(number), ..self }
    }
}

impl Store {
    /// Opens the store at `url`. Its key comes from `BOTFARM_KEY`, as `Keyring::from_env` reads it; a file without one has
    /// its key in a file beside it.
    ///
    /// | variable | what | default |
    /// |---|---|---|
    /// | `BOTFARM_LISTEN_URL` (or the file that `BOTFARM_LISTEN_URL_FILE` names) | where to listen for notifications, past a connection pooler; `none`: look often instead | `url` |
    /// | `BOTFARM_MAX_CONNECTIONS` | how many connections to have at most, beside the one that listens; from 2 on | 10 |
    /// | `BOTFARM_KEEP_HISTORY` | for how many days histories are kept, beside the last hundred hand-outs of each bot; from 1 on, with or without a `d` | 90 |
    ///
    /// # Errors
    /// `Malformed` or `Invalid` when it is no such URL, when the feature that it needs is off, and for a variable or secret
    /// that is missing or makes no sense; `Unavailable` when the database cannot be reached, or the file is in use.
    pub async fn open(url: &str, options: StoreOptions) -> Result<Self> {
        Self::open_with(url, options, &process).await
    }

    #[cfg_attr(
        not(any(feature = "postgres", feature = "sqlite")),
        expect(clippy::unused_async, unused_variables, reason = "only what is kept elsewhere is opened")
    )]
    pub(crate) async fn open_with(url: &str, options: StoreOptions, vars: Vars<'_>) -> Result<Self> {
        // The URL is never repeated: it may hold a password.
        match url.split_once(':') {
            #[cfg(feature = "memory")]
            Some(("memory", "")) => Ok(Self::memory(options.policy)),
            #[cfg(feature = "postgres")]
            Some(("postgres" | "postgresql", _)) => {
                let options = database::options(url, options, vars)?;
                let keyring = Keyring::from_vars(vars).map_err(|error| malformed(error.to_string()))?;
                let farm = PostgresFarm::connect(options, keyring.clone()).await?;
                Ok(Self::kept(farm, keyring))
            }
            #[cfg(feature = "sqlite")]
            Some(("sqlite", _)) => {
                let farm = file::open(url, options.policy, vars).await?;
                let keyring = farm.keyring().clone();
                Ok(Self { file: Self::file_of(url).map(Path::to_owned), ..Self::kept(farm, keyring) })
            }
            #[cfg(not(feature = "memory"))]
            Some(("memory", "")) => Err(feature_off("memory:", "memory")),
            #[cfg(not(feature = "postgres"))]
            Some(("postgres" | "postgresql", _)) => Err(feature_off("postgres://…", "postgres")),
            #[cfg(not(feature = "sqlite"))]
            Some(("sqlite", _)) => Err(feature_off("sqlite:PATH", "sqlite")),
            _ => Err(malformed("this is no store; give sqlite:PATH, postgres://user@host/database or memory:")),
        }
    }

    #[cfg(feature = "memory")]
    fn memory(policy: LeasePolicy) -> Self {
        let farm = MemoryFarm::with_policy(policy);
        Self {
            operators: Some(Arc::new(farm.clone())),
            farm: Arc::new(farm),
            idempotency: None,
            audit: None,
            #[cfg(any(feature = "postgres", feature = "sqlite"))]
            keyring: None,
            file: None,
        }
    }

    /// A farm that keeps all that there is to keep.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    fn kept(farm: impl BotFarm + Operators + Idempotency + Audit + Clone, keyring: Keyring) -> Self {
        Self {
            operators: Some(Arc::new(farm.clone())),
            idempotency: Some(Arc::new(farm.clone())),
            audit: Some(Arc::new(farm.clone())),
            farm: Arc::new(farm),
            keyring: Some(keyring),
            file: None,
        }
    }

    /// Whether `url` names a store, rather than a service in front of one.
    #[must_use]
    pub fn is_at(url: &str) -> bool {
        url == "memory:" || Self::file_of(url).is_some() || Self::is_database(url)
    }

    /// Whether `url` names a database.
    #[must_use]
    pub fn is_database(url: &str) -> bool {
        url.starts_with("postgres:") || url.starts_with("postgresql:")
    }

    /// The file that `url` names: `sqlite:PATH`, or as other programs write it, `sqlite://PATH`.
    #[must_use]
    pub fn file_of(url: &str) -> Option<&Path> {
        let path = url.strip_prefix("sqlite:")?;
        Some(Path::new(path.strip_prefix("//").unwrap_or(path)))
    }
}

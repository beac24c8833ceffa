//! Where a service keeps its farm, with what it needs besides.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use botfarm::{
    BotFarm, Keyring, LeasePolicy, MemoryFarm, PostgresFarm, audit::Audit, idempotency::Idempotency,
    operators::Operators,
};
use clap::{Args, value_parser};

use crate::{config::Config, failure::Failure};

/// Where a service keeps its farm when nobody says otherwise.
pub(crate) const DEFAULT: &str = "sqlite:botfarm-data/farm.db";

/// How to reach a database, where it is not as the environment says.
#[derive(Debug, Default, Args)]
pub(crate) struct Reach {
    /// Where to listen for notifications, past a connection pooler; none: look often instead [env: BOTFARM_LISTEN_URL,
    /// BOTFARM_LISTEN_URL_FILE] [default: the database itself]
    // Not read by clap, whose help would show the value, and with it a password.
    #[arg(long, value_name = "URL")]
    listen_url: Option<String>,
    /// How many connections to the database to have at most [env: BOTFARM_MAX_CONNECTIONS] [default: 10]
    #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u32).range(2..))]
    max_connections: Option<u32>,
}

/// A farm, and what a service needs besides.
pub(crate) struct Store {
    pub(crate) farm: Arc<dyn BotFarm>,
    /// Who may use a service of it; `None` when the farm does not keep that.
    pub(crate) operators: Option<Arc<dyn Operators>>,
    /// What became of changes that came with a key; `None` when the farm does not keep that.
    pub(crate) idempotency: Option<Arc<dyn Idempotency>>,
    /// Who did what; `None` when the farm does not keep that.
    pub(crate) audit: Option<Arc<dyn Audit>>,
    /// The farm's keys, where it has any.
    pub(crate) keyring: Option<Keyring>,
    /// The file that it is in, if it is in one.
    pub(crate) file: Option<PathBuf>,
}

impl Store {
    /// Opens the store at `url`, as a farm with this policy.
    ///
    /// # Errors
    /// Those of [`botfarm::connect`].
    pub(crate) async fn open(url: &str, reach: &Reach, policy: LeasePolicy) -> Result<Self, Failure> {
        if url == "memory:" {
            let farm = MemoryFarm::with_policy(policy);
            return Ok(Self {
                operators: Some(Arc::new(farm.clone())),
                farm: Arc::new(farm),
                idempotency: None,
                audit: None,
                keyring: None,
                file: None,
            });
        }
        if let Some(path) = path(url) {
            let farm = botfarm::open_sqlite(url, policy).await?;
            let keyring = Some(farm.keyring().clone());
            return Ok(Self { file: Some(path.to_owned()), ..Self::kept(farm, keyring) });
        }
        if !is_database(url) {
            return Err(Failure::usage("this is no store; give sqlite:PATH, postgres://user@host/database or memory:"));
        }
        let mut options = botfarm::postgres_options(url)?.policy(policy);
        match reach.listen_url.as_deref() {
            None => {}
            Some("none") => options = options.without_listen(),
            Some(url) => options = options.listen_url(url)?,
        }
        if let Some(number) = reach.max_connections {
            options = options.max_connections(number);
        }
        let keyring = Keyring::from_env().map_err(|error| Failure::usage(error.to_string()))?;
        let farm = PostgresFarm::connect(options, keyring.clone()).await?;
        Ok(Self::kept(farm, Some(keyring)))
    }

    /// A farm that keeps all that there is to keep.
    fn kept(farm: impl BotFarm + Operators + Idempotency + Audit + Clone, keyring: Option<Keyring>) -> Self {
        Self {
            operators: Some(Arc::new(farm.clone())),
            idempotency: Some(Arc::new(farm.clone())),
            audit: Some(Arc::new(farm.clone())),
            farm: Arc::new(farm),
            keyring,
            file: None,
        }
    }
}

/// Whether `url` names a farm in a file.
pub(crate) fn is_file(url: &str) -> bool {
    url.starts_with("sqlite:")
}

/// The file of a farm in one: `sqlite:PATH`, or as other programs write it, `sqlite://PATH`.
pub(crate) fn path(url: &str) -> Option<&Path> {
    let path = url.strip_prefix("sqlite:")?;
    Some(Path::new(path.strip_prefix("//").unwrap_or(path)))
}

/// Whether `url` names a store, rather than a service in front of one.
pub(crate) fn is_store(url: &str) -> bool {
    url == "memory:" || is_file(url) || is_database(url)
}

/// Whether `url` names a database, rather than a service in front of one.
pub(crate) fn is_database(url: &str) -> bool {
    url.starts_with("postgres:") || url.starts_with("postgresql:")
}

/// Refuses a database that a file in the working directory names: whoever wrote it would be sent the password of whoever
/// runs a command there, or the passwords of their accounts.
///
/// # Errors
/// When it is so.
pub(crate) fn refuse_found(config: &Config) -> Result<(), Failure> {
    if config.farm_is_found() && config.farm.as_deref().is_some_and(is_database) {
        return Err(Failure::usage(
            "botfarm.toml in this folder names a database, which would be sent your password; if it is yours, name it \
             with --farm or BOTFARM_URL, or the file with --config",
        ));
    }
    Ok(())
}

/// The URL of the database that a command is for.
///
/// # Errors
/// When no farm was named, or one that is no database.
pub(crate) fn database(config: &Config) -> Result<&str, Failure> {
    match config.farm.as_deref() {
        Some(url) if is_database(url) => {
            refuse_found(config)?;
            Ok(url)
        }
        Some(_) => Err(Failure::usage("this is for a database: give --farm postgres://user@host/database")),
        None => {
            Err(Failure::usage("there is no database; give --farm postgres://user@host/database, or set BOTFARM_URL"))
        }
    }
}

//! Where a service keeps its farm, with what it needs besides.

use botfarm::{LeasePolicy, Store, StoreOptions};
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

impl Reach {
    /// Opens the store at `url`, as a farm with this policy.
    ///
    /// # Errors
    /// Those of [`Store::open`].
    pub(crate) async fn open(&self, url: &str, policy: LeasePolicy) -> Result<Store, Failure> {
        let mut options = StoreOptions::default().policy(policy);
        (options.listen_url, options.max_connections) = (self.listen_url.clone(), self.max_connections);
        Ok(Store::open(url, options).await?)
    }
}

/// Refuses a database that a file in the working directory names: whoever wrote it would be sent the password of whoever
/// runs a command there, or the passwords of their accounts.
///
/// # Errors
/// When it is so.
pub(crate) fn refuse_found(config: &Config) -> Result<(), Failure> {
    if config.farm_is_found() && config.farm.as_deref().is_some_and(Store::is_database) {
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
        Some(url) if Store::is_database(url) => {
            refuse_found(config)?;
            Ok(url)
        }
        Some(_) => Err(Failure::usage("this is for a database: give --farm postgres://user@host/database")),
        None => {
            Err(Failure::usage("there is no database; give --farm postgres://user@host/database, or set BOTFARM_URL"))
        }
    }
}

//! How to open a file.

use botfarm_core::{KeyError, Keyring, LeasePolicy, Result};
use botfarm_sqlite::{SqliteFarm, SqliteOptions};

use super::{Store, history::keep_history};
use crate::variables::{Vars, malformed, process};

/// Opens the farm in a file, by its URL `sqlite:PATH`, with this policy, as [`Store::open`] does: for what is done to a file
/// that nobody uses.
///
/// # Errors
/// Those of [`Store::open`].
pub async fn open_sqlite(url: &str, policy: LeasePolicy) -> Result<SqliteFarm> {
    open(url, policy, &process).await
}

pub(super) async fn open(url: &str, policy: LeasePolicy, vars: Vars<'_>) -> Result<SqliteFarm> {
    let Some(path) = Store::file_of(url).filter(|path| !path.as_os_str().is_empty()) else {
        return Err(malformed("this is not the URL of a farm in a file; give sqlite:PATH"));
    };
    let mut options = SqliteOptions::new(path).policy(policy);
    if let Some(keep) = keep_history(vars)? {
        options = options.history(keep, 100);
    }
    let keyring = match Keyring::from_vars(vars) {
        Ok(keyring) => Some(keyring),
        Err(KeyError::Missing) => None,
        Err(error) => return Err(malformed(error.to_string())),
    };
    SqliteFarm::connect(options, keyring).await
}

//! How to reach a database.

use botfarm_core::Result;
use botfarm_postgres::PostgresOptions;

use super::{StoreOptions, history::keep_history};
use crate::variables::{Vars, malformed, process, read};

/// How to reach the database at `url`, as the environment has it:
///
/// | variable | what | default |
/// |---|---|---|
/// | `BOTFARM_LISTEN_URL` (or the file that `BOTFARM_LISTEN_URL_FILE` names) | where to listen for notifications, past a connection pooler; `none`: look often instead | `url` |
/// | `BOTFARM_MAX_CONNECTIONS` | how many connections to have at most, beside the one that listens; from 2 on | 10 |
/// | `BOTFARM_KEEP_HISTORY` | for how many days histories are kept, beside the last hundred hand-outs of each bot; from 1 on, with or without a `d` | 90 |
///
/// # Errors
/// `Invalid` when it is no such URL; `Malformed` for a variable that makes no sense.
pub fn postgres_options(url: &str) -> Result<PostgresOptions> {
    options(url, StoreOptions::default(), &process)
}

/// How to reach the database at `url`, as the environment has it, and `given` where it says otherwise.
pub(crate) fn options(url: &str, given: StoreOptions, vars: Vars<'_>) -> Result<PostgresOptions> {
    let mut options = PostgresOptions::new(url)?.policy(given.policy);
    match given.listen_url.map_or_else(|| read("BOTFARM_LISTEN_URL", vars), |url| Ok(Some(url)))?.as_deref() {
        None => {}
        Some("none") => options = options.without_listen(),
        Some(url) => options = options.listen_url(url)?,
    }
    if let Some(number) = given.max_connections {
        options = options.max_connections(number);
    } else if let Some(number) = read("BOTFARM_MAX_CONNECTIONS", vars)? {
        let number = number.parse().ok().filter(|number| *number >= 2);
        let bad = || malformed("BOTFARM_MAX_CONNECTIONS must be a number from 2 on");
        options = options.max_connections(number.ok_or_else(bad)?);
    }
    if let Some(keep) = keep_history(vars)? {
        options = options.keep_history(keep);
    }
    Ok(options)
}

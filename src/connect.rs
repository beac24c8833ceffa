//! From a URL to a farm.

#[cfg(feature = "memory")]
use std::sync::LazyLock;
use std::{ffi::OsString, fs, sync::Arc, time::Duration};

#[cfg(feature = "sqlite")]
use botfarm_core::LeasePolicy;
use botfarm_core::{BotFarm, Error, Result};
#[cfg(feature = "http")]
use botfarm_http::{HttpFarm, HttpFarmBuilder};
#[cfg(feature = "memory")]
use botfarm_memory::MemoryFarm;
#[cfg(feature = "postgres")]
use botfarm_postgres::{PostgresFarm, PostgresOptions};
#[cfg(feature = "sqlite")]
use botfarm_sqlite::{SqliteFarm, SqliteOptions};

/// What a URL of a farm looks like.
const URLS: &str = "memory:, sqlite:PATH, postgres://user@host/database or http://host:port";

/// Opens the farm at `url`:
///
/// | URL | farm | feature |
/// |---|---|---|
/// | `memory:` | a new, empty one within this process | `memory` (default) |
/// | `sqlite:PATH` | the one in this file, which is made when it is not there | `sqlite` |
/// | `postgres://user@host/database` | the one in this database | `postgres` |
/// | `http://host:port`, `https://…` | the one that this service serves | `http` |
///
/// How to reach a database comes from the environment, too: see `postgres_options`; and how to reach a service: see
/// `http_options`. And so does the key of a database or a file, from `BOTFARM_KEY`, as `Keyring::from_env` reads it; a
/// file without one has its key in a file beside it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> botfarm::Result<()> {
/// # #[cfg(feature = "memory")] {
/// let farm = botfarm::connect("memory:").await?;
/// assert_eq!(farm.stats().await?.waiting, 0);
/// # }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `Malformed` or `Invalid` when it is no such URL, when the feature that it needs is off, and for a secret that is
/// missing or faulty; `Unavailable` when the database cannot be reached, or the file is in use. A service is not called yet:
/// [`check`](BotFarm::check) does that.
pub async fn connect(url: &str) -> Result<Arc<dyn BotFarm>> {
    open(url, &|name| std::env::var_os(name)).await
}

/// Opens the farm that `BOTFARM_URL` names (or the file that `BOTFARM_URL_FILE` names), as [`connect`] does.
///
/// With `memory:` everybody in the process gets the same farm, since two of them would lend one account to two tests.
/// For the same reason it is refused under cargo-nextest, where every test is a process.
///
/// # Errors
/// Those of [`connect`]; `Malformed` when the variable is missing, or names what cannot work.
pub async fn connect_from_env() -> Result<Arc<dyn BotFarm>> {
    open_from_env(&|name| std::env::var_os(name)).await
}

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
#[cfg(feature = "postgres")]
pub fn postgres_options(url: &str) -> Result<PostgresOptions> {
    options(url, &|name| std::env::var_os(name))
}

#[cfg(feature = "postgres")]
fn options(url: &str, vars: Vars<'_>) -> Result<PostgresOptions> {
    let mut options = PostgresOptions::new(url)?;
    match read("BOTFARM_LISTEN_URL", vars)?.as_deref() {
        None => {}
        Some("none") => options = options.without_listen(),
        Some(url) => options = options.listen_url(url)?,
    }
    if let Some(number) = read("BOTFARM_MAX_CONNECTIONS", vars)? {
        let number = number.parse().ok().filter(|number| *number >= 2);
        let bad = || malformed("BOTFARM_MAX_CONNECTIONS must be a number from 2 on");
        options = options.max_connections(number.ok_or_else(bad)?);
    }
    if let Some(keep) = keep_history(vars)? {
        options = options.keep_history(keep);
    }
    Ok(options)
}

/// For how long histories are kept, if the environment says so.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
fn keep_history(vars: Vars<'_>) -> Result<Option<Duration>> {
    let Some(days) = read("BOTFARM_KEEP_HISTORY", vars)? else { return Ok(None) };
    let days = days.strip_suffix('d').unwrap_or(&days).parse::<u64>().ok();
    let days = days.filter(|days| (1..=36_500).contains(days));
    let bad = || malformed("BOTFARM_KEEP_HISTORY must be a number of days, from 1 to 36500");
    Ok(Some(Duration::from_hours(24 * days.ok_or_else(bad)?)))
}

/// Opens the farm in a file, by its URL `sqlite:PATH`, with this policy, and the key that the environment has, or the one
/// beside the file.
///
/// | variable | what | default |
/// |---|---|---|
/// | `BOTFARM_KEEP_HISTORY` | for how many days histories are kept, beside the last hundred hand-outs of each bot; from 1 on, with or without a `d` | 90 |
///
/// # Errors
/// Those of [`SqliteFarm::open`]; `Malformed` when it is no such URL, and for a variable that makes no sense.
#[cfg(feature = "sqlite")]
pub async fn open_sqlite(url: &str, policy: LeasePolicy) -> Result<SqliteFarm> {
    sqlite(url, policy, &|name| std::env::var_os(name)).await
}

#[cfg(feature = "sqlite")]
async fn sqlite(url: &str, policy: LeasePolicy, vars: Vars<'_>) -> Result<SqliteFarm> {
    use botfarm_core::{KeyError, Keyring};

    let Some(path) = url.strip_prefix("sqlite:").filter(|path| !path.is_empty()) else {
        return Err(malformed("this is not the URL of a farm in a file; give sqlite:PATH"));
    };
    // As other programs write it: sqlite://relative and sqlite:///absolute.
    let mut options = SqliteOptions::new(path.strip_prefix("//").unwrap_or(path)).policy(policy);
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

/// How to reach the service at `url`, as the environment has it:
///
/// | variable | what | default |
/// |---|---|---|
/// | `BOTFARM_TOKEN` (or the file that `BOTFARM_TOKEN_FILE` names) | the token that says who is calling | none |
/// | `BOTFARM_PLAIN_HTTP` | `true`: the token may go over plain HTTP to another machine | `false` |
/// | `BOTFARM_CA_FILE` | a file with certificate authorities in PEM, to be trusted beside the system's | none |
///
/// # Errors
/// `Malformed` for a variable that makes no sense.
#[cfg(feature = "http")]
pub fn http_options(url: &str) -> Result<HttpFarmBuilder> {
    service(url, &|name| std::env::var_os(name))
}

#[cfg(feature = "http")]
fn service(url: &str, vars: Vars<'_>) -> Result<HttpFarmBuilder> {
    let mut farm = HttpFarm::builder(url);
    if let Some(token) = read("BOTFARM_TOKEN", vars)? {
        farm = farm.token(token);
    }
    if let Some(allowed) = read("BOTFARM_PLAIN_HTTP", vars)? {
        farm = farm.plain_http(matches!(allowed.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on"));
    }
    if let Some(path) = vars("BOTFARM_CA_FILE").filter(|path| !path.is_empty()) {
        let unreadable =
            |error| malformed(format!("BOTFARM_CA_FILE names {}, which cannot be read: {error}", path.display()));
        farm = farm.authorities(fs::read(&path).map_err(unreadable)?);
    }
    Ok(farm)
}

/// The value of the variable `name`, or of the file that the variable `name` with `_FILE` after it names; a line break
/// at the file's end is left out. The usual way for a secret to come into a container.
///
/// # Errors
/// `Malformed` when both are set, the value is not UTF-8, or the file cannot be read.
pub fn env_or_file(name: &str) -> Result<Option<String>> {
    read(name, &|name| std::env::var_os(name))
}

/// Looks variables up; so that tests need not change those of the process.
type Vars<'a> = &'a (dyn Fn(&str) -> Option<OsString> + Sync);

#[cfg_attr(
    not(any(feature = "postgres", feature = "sqlite")),
    expect(clippy::unused_async, reason = "only a database is connected to at once")
)]
#[cfg_attr(
    not(any(feature = "postgres", feature = "sqlite", feature = "http")),
    expect(unused_variables, reason = "memory has no settings")
)]
async fn open(url: &str, vars: Vars<'_>) -> Result<Arc<dyn BotFarm>> {
    // The URL is never repeated: it may hold a password.
    match url.split_once(':') {
        #[cfg(feature = "memory")]
        Some(("memory", "")) => Ok(Arc::new(MemoryFarm::new())),
        #[cfg(feature = "postgres")]
        Some(("postgres" | "postgresql", _)) => {
            let options = options(url, vars)?;
            let keyring = botfarm_core::Keyring::from_vars(vars).map_err(|error| malformed(error.to_string()))?;
            Ok(Arc::new(PostgresFarm::connect(options, keyring).await?))
        }
        #[cfg(feature = "sqlite")]
        Some(("sqlite", _)) => Ok(Arc::new(sqlite(url, LeasePolicy::default(), vars).await?)),
        #[cfg(feature = "http")]
        Some(("http" | "https", _)) => Ok(Arc::new(service(url, vars)?.build()?)),
        #[cfg(not(feature = "memory"))]
        Some(("memory", "")) => Err(feature_off("memory:", "memory")),
        #[cfg(not(feature = "postgres"))]
        Some(("postgres" | "postgresql", _)) => Err(feature_off("postgres://…", "postgres")),
        #[cfg(not(feature = "sqlite"))]
        Some(("sqlite", _)) => Err(feature_off("sqlite:PATH", "sqlite")),
        #[cfg(not(feature = "http"))]
        Some(("http" | "https", _)) => Err(feature_off("http://…", "http")),
        _ => Err(malformed(format!("this is not the URL of a farm; give {URLS}"))),
    }
}

async fn open_from_env(vars: Vars<'_>) -> Result<Arc<dyn BotFarm>> {
    let Some(url) = read("BOTFARM_URL", vars)? else {
        return Err(malformed(format!("BOTFARM_URL is not set, so there is no farm to connect to; set it to {URLS}")));
    };
    #[cfg(feature = "memory")]
    if url == "memory:" {
        static SHARED: LazyLock<MemoryFarm> = LazyLock::new(MemoryFarm::new);

        if vars("NEXTEST").is_some_and(|value| value == "1") {
            return Err(malformed(
                "BOTFARM_URL is memory:, but cargo-nextest runs every test in a process of its own, so each would have \
                 a farm of its own, and two tests the same account; start `botfarm serve`, and set BOTFARM_URL to its \
                 address",
            ));
        }
        return Ok(Arc::new(SHARED.clone()));
    }
    open(&url, vars).await
}

fn read(name: &str, vars: Vars<'_>) -> Result<Option<String>> {
    let file_name = format!("{name}_FILE");
    // An empty value is none: that is what a variable that is not set becomes on its way through a compose file.
    let set = |name: &str| vars(name).filter(|value| !value.is_empty());
    match (set(name), set(&file_name)) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(malformed(format!("{name} and {file_name} are both set; keep one of them"))),
        (Some(value), None) => {
            value.into_string().map(Some).map_err(|_| malformed(format!("{name} is not a text in UTF-8")))
        }
        (None, Some(path)) => match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(error) => {
                Err(malformed(format!("{file_name} names {}, which cannot be read: {error}", path.display())))
            }
        },
    }
}

fn malformed(detail: impl Into<String>) -> Error {
    Error::Malformed { detail: detail.into() }
}

#[cfg(not(all(feature = "memory", feature = "postgres", feature = "sqlite", feature = "http")))]
fn feature_off(scheme: &str, feature: &str) -> Error {
    malformed(format!(
        "a farm at {scheme} needs the feature `{feature}`; turn it on: botfarm = {{ features = [\"{feature}\"] }}"
    ))
}

#[cfg(test)]
mod tests;

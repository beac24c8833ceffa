//! From a URL to a farm.

#[cfg(feature = "http")]
use std::fs;
use std::sync::Arc;
#[cfg(feature = "memory")]
use std::sync::LazyLock;

use botfarm_core::{BotFarm, Result};
#[cfg(feature = "http")]
use botfarm_http::{HttpFarm, HttpFarmBuilder};
#[cfg(feature = "memory")]
use botfarm_memory::MemoryFarm;

#[cfg(not(feature = "http"))]
use crate::variables::feature_off;
use crate::{
    store::{Store, StoreOptions},
    variables::{Vars, malformed, process, read},
};

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
/// How to reach a database comes from the environment, too: see [`Store::open`]; and how to reach a service: see
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
    open(url, &process).await
}

/// Opens the farm that `BOTFARM_URL` names (or the file that `BOTFARM_URL_FILE` names), as [`connect`] does.
///
/// With `memory:` everybody in the process gets the same farm, since two of them would lend one account to two tests.
/// For the same reason it is refused under cargo-nextest, where every test is a process.
///
/// # Errors
/// Those of [`connect`]; `Malformed` when the variable is missing, or names what cannot work.
pub async fn connect_from_env() -> Result<Arc<dyn BotFarm>> {
    open_from_env(&process).await
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
    service(url, &process)
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

async fn open(url: &str, vars: Vars<'_>) -> Result<Arc<dyn BotFarm>> {
    match url.split_once(':') {
        #[cfg(feature = "http")]
        Some(("http" | "https", _)) => Ok(Arc::new(service(url, vars)?.build()?)),
        #[cfg(not(feature = "http"))]
        Some(("http" | "https", _)) => Err(feature_off("http://…", "http")),
        _ if Store::is_at(url) => Ok(Store::open_with(url, StoreOptions::default(), vars).await?.farm),
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

#[cfg(test)]
mod tests;

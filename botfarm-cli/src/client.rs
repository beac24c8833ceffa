//! The farm that a command talks to.

use std::{sync::Arc, time::Duration};

use botfarm_core::BotFarm;

use crate::{config::Config, failure::Failure};

/// Where `botfarm serve` listens unless told otherwise.
pub(crate) const LOCAL: &str = "http://127.0.0.1:8000";

/// The URL of the farm that was named, or of the service on this machine.
///
/// # Errors
/// When it is `memory:`, which is another farm in every process.
pub(crate) fn url(config: &Config) -> Result<&str, Failure> {
    match config.farm.as_deref() {
        Some("memory:") => Err(Failure::usage(
            "memory: is an empty farm within this one process; start `botfarm serve`, and give its address with --farm \
             or BOTFARM_URL",
        )),
        Some(url) => Ok(url),
        None => Ok(LOCAL),
    }
}

/// For how long a command asks again when the service is out of reach: somebody waits for the answer.
const RETRY_FOR: Duration = Duration::from_secs(2);

/// Connects to the farm that was named, or to the service on this machine.
///
/// # Errors
/// When it cannot be reached.
pub(crate) async fn connect(config: &Config) -> Result<Arc<dyn BotFarm>, Failure> {
    open(config, RETRY_FOR).await
}

/// The same, for who asks again by itself, and says why.
pub(crate) async fn connect_once(config: &Config) -> Result<Arc<dyn BotFarm>, Failure> {
    open(config, Duration::ZERO).await
}

async fn open(config: &Config, retry_for: Duration) -> Result<Arc<dyn BotFarm>, Failure> {
    let url = url(config)?;
    if !url.starts_with("http") {
        return Ok(botfarm::connect(url).await?);
    }
    Ok(Arc::new(botfarm::http_options(url)?.retry_for(retry_for).build()?))
}

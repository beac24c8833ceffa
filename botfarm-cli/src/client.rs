//! The farm that a command talks to.

use std::sync::Arc;

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

/// Connects to the farm that was named, or to the service on this machine.
///
/// # Errors
/// When it cannot be reached.
pub(crate) async fn connect(config: &Config) -> Result<Arc<dyn BotFarm>, Failure> {
    Ok(botfarm::connect(url(config)?).await?)
}

//! The farm that a command talks to.

use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use botfarm::Store;
use botfarm_core::BotFarm;
use botfarm_http::HttpFarmBuilder;

use crate::{
    config::Config,
    failure::Failure,
    store::{self, Reach},
};

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

/// Refuses a service that a file in the working directory names, for commands that send it passwords: whoever wrote the
/// file would get them.
///
/// # Errors
/// When it is so.
pub(crate) fn refuse_found(config: &Config) -> Result<(), Failure> {
    let url = url(config)?;
    if config.farm_is_found() && url.starts_with("http") {
        return Err(Failure::usage(
            "botfarm.toml in this folder names a farm, which would be sent passwords; if it is yours, name it with \
             --farm or BOTFARM_URL, or the file with --config",
        ));
    }
    Ok(())
}

async fn open(config: &Config, retry_for: Duration) -> Result<Arc<dyn BotFarm>, Failure> {
    let url = url(config)?;
    if !url.starts_with("http") {
        store::refuse_found(config)?;
        if Store::is_at(url) {
            return Ok(Reach::default().open(url, config.file.env.policy()).await?.farm);
        }
        // Says what is wrong with it.
        return Ok(botfarm::connect(url).await?);
    }
    Ok(Arc::new(service(config)?.retry_for(retry_for).build()?))
}

/// The service that was named, or the one on this machine, with the token of the environment: unless it is a file in the
/// working directory that names it, since whoever wrote that would get the token of whoever runs a command there.
///
/// # Errors
/// When there is none, or a variable makes no sense.
pub(crate) fn service(config: &Config) -> Result<HttpFarmBuilder, Failure> {
    let builder = botfarm::http_options(url(config)?)?;
    if !config.farm_is_found() {
        return Ok(builder);
    }
    if builder.has_token() {
        let _ = writeln!(
            io::stderr(),
            "botfarm: BOTFARM_TOKEN is not sent to the farm that botfarm.toml in this folder names; if it is yours, \
             name it with --farm or BOTFARM_URL, or the file with --config"
        );
    }
    Ok(builder.without_token())
}

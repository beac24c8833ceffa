//! `botfarm rekey`: passwords under another key.

use std::process::ExitCode;

use botfarm::{Keyring, LeasePolicy, PostgresFarm, Store};
use clap::Args;
use serde_json::json;

use crate::{config::Config, failure::Failure, output::Output, store};

/// Seals the passwords of a store anew, under BOTFARM_KEY
///
/// Before: add the new key to BOTFARM_OLD_KEYS of every service, then make it their BOTFARM_KEY and the former one the old.
/// After: take the old one away. A database stays in use all the while; a
/// farm in a file must not be. A rekey that was interrupted is begun again.
#[derive(Debug, Args)]
pub(crate) struct Rekey {
    #[command(flatten)]
    output: Output,
}

impl Rekey {
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let (resealed, key) = match config.farm.as_deref() {
            Some(url) if Store::file_of(url).is_some() => {
                let farm = botfarm::open_sqlite(url, LeasePolicy::default()).await?;
                (farm.rekey().await?, farm.keyring().current_key_id())
            }
            _ => {
                let options = botfarm::postgres_options(store::database(&config)?)?.migrate(false).without_listen();
                let keyring = Keyring::from_env().map_err(|error| Failure::usage(error.to_string()))?;
                let key = keyring.current_key_id();
                (PostgresFarm::connect(options, keyring).await?.rekey().await?, key)
            }
        };
        let sentence = match resealed {
            0 => format!("all passwords are sealed under key {key} already"),
            1 => format!("sealed 1 password anew, under key {key}"),
            _ => format!("sealed {resealed} passwords anew, under key {key}"),
        };
        self.output.say(&json!({ "resealed": resealed, "key": key.to_string() }), &sentence)?;
        Ok(ExitCode::SUCCESS)
    }
}

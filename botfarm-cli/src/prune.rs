//! `botfarm prune`: clears away old history.

use std::process::ExitCode;

use botfarm::{Keyring, PostgresFarm};
use clap::Args;
use serde_json::json;

use crate::{config::Config, failure::Failure, output::Output, store};

/// Clears old history out of a database
///
/// A farm in use does this by itself, once an hour. What is younger than BOTFARM_KEEP_HISTORY (90d) stays, and of each
/// account the last hundred hand-outs. It works a little at a time, so that nobody notices, and may be interrupted.
#[derive(Debug, Args)]
pub(crate) struct Prune {
    #[command(flatten)]
    output: Output,
}

impl Prune {
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let options = botfarm::postgres_options(store::database(&config)?)?.migrate(false).without_listen();
        let keyring = Keyring::from_env().map_err(|error| Failure::usage(error.to_string()))?;
        let removed = PostgresFarm::connect(options, keyring).await?.prune().await?;
        let sentence = match removed {
            0 => "nothing is old enough to be removed".to_owned(),
            1 => "removed 1 row".to_owned(),
            _ => format!("removed {removed} rows"),
        };
        self.output.say(&json!({ "removed": removed }), &sentence)?;
        Ok(ExitCode::SUCCESS)
    }
}

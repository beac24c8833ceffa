//! `botfarm backup`: a copy of a farm in a file.

use std::{path::PathBuf, process::ExitCode};

use botfarm::{SqliteFarm, Store};
use clap::Args;
use serde_json::json;

use crate::{config::Config, failure::Failure, output::Output, store};

/// Copies a farm in a file, also while a service uses it
///
/// The farm is the one that --farm names, or that `botfarm serve` keeps in this folder. The copy is as the farm was at one
/// moment, and is opened like any other: --store sqlite:FILE. Keep the key elsewhere: it is not in the copy.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The copy, which must not be there yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    output: Output,
}

impl Backup {
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let store = match botfarm::env_or_file("BOTFARM_STORE")? {
            _ if config.farm.as_deref().is_some_and(Store::is_at) => config.farm,
            Some(store) => Some(store),
            None => config.file.store,
        };
        let store = store.unwrap_or_else(|| store::DEFAULT.to_owned());
        let Some(path) = Store::file_of(&store) else {
            return Err(Failure::usage(
                "this copies a farm in a file: give --farm sqlite:PATH; a database is copied with pg_dump",
            ));
        };
        let (from, to) = (path.to_owned(), self.file.clone());
        let copied = tokio::task::spawn_blocking(move || SqliteFarm::backup(&from, &to)).await;
        copied.map_err(|error| Failure::new(error.to_string()))??;
        let shown = self.file.display().to_string();
        let sentence =
            format!("copied the farm to {shown}; its passwords open with the same key alone: keep that, too");
        self.output.say(&json!({ "file": shown }), &sentence)?;
        Ok(ExitCode::SUCCESS)
    }
}

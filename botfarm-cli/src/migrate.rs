//! `botfarm migrate`: the tables of a database.

use std::process::ExitCode;

use botfarm::PostgresFarm;
use clap::Args;
use serde_json::json;

use crate::{config::Config, failure::Failure, output::Output, store};

/// Brings the tables of a database up to date
///
/// `serve` does so itself; this is for those who do not let a service change tables, and for a database behind a
/// connection pooler: give the URL of the database itself. It needs no key.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    output: Output,
}

impl Migrate {
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let url = store::database(&config)?;
        let applied = PostgresFarm::migrate(botfarm::postgres_options(url)?).await?;
        let sentence = match applied {
            0 => "the tables are up to date".to_owned(),
            1 => "the tables are up to date now: they lacked 1 migration".to_owned(),
            _ => format!("the tables are up to date now: they lacked {applied} migrations"),
        };
        self.output.say(&json!({ "applied": applied }), &sentence)?;
        Ok(ExitCode::SUCCESS)
    }
}

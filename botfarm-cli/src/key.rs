//! `botfarm key`: the key that passwords are sealed with.

use std::process::ExitCode;

use botfarm::MasterKey;
use clap::{Args, Subcommand};

use crate::{config::Config, failure::Failure, stdout::print};

/// Makes the key that a database's passwords are sealed with
#[derive(Debug, Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints a new key, for BOTFARM_KEY
    ///
    /// Keep a copy of it where the database's backups are not: without it their passwords cannot be read, with it they
    /// can.
    New,
}

impl Key {
    #[expect(clippy::unused_async, reason = "all commands are run alike")]
    pub(crate) async fn run(self, _: Config) -> Result<ExitCode, Failure> {
        match self.command {
            Command::New => print(&MasterKey::generate().expose_base64())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

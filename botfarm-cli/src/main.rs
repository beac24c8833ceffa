//! The `botfarm` command: the service, the wrapper, and the tools.
//!
//! Each command is a module with a struct of its arguments and a method `run`. A new one is listed here twice: below
//! `mod`, and in [`Command`].

mod client;
mod completions;
mod config;
mod doctor;
mod export;
mod failure;
mod healthcheck;
mod history;
mod holder;
mod import;
mod leases;
mod log;
mod output;
mod release;
mod revoke;
mod run;
mod serve;
mod user;
mod users;
mod wanted;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{
    config::{Common, Config},
    failure::Failure,
};

/// Leases real test accounts to parallel end-to-end tests.
///
/// Flags beat environment variables, which beat `botfarm.toml`, which beats the defaults.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Calls `run` of whichever command was given.
macro_rules! commands {
    ($($(#[$meta:meta])* $name:ident($arguments:ty),)+) => {
        #[derive(Debug, Subcommand)]
        enum Command {
            $($(#[$meta])* $name($arguments),)+
        }

        impl Command {
            async fn run(self, config: Config) -> Result<ExitCode, Failure> {
                match self {
                    $(Self::$name(command) => command.run(config).await,)+
                }
            }
        }
    };
}

commands! {
    Serve(serve::Serve),
    Run(run::Run),
    Users(users::Users),
    Import(import::Import),
    Export(export::Export),
    Leases(leases::Leases),
    Release(release::Release),
    Revoke(revoke::Revoke),
    History(history::History),
    Doctor(doctor::Doctor),
    Healthcheck(healthcheck::Healthcheck),
    Completions(completions::Completions),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    match start(common, command).await {
        Ok(code) => code,
        Err(failure) => {
            // Nobody is left to be told when stderr is closed.
            let _ = writeln!(io::stderr(), "botfarm: {failure}");
            failure.code()
        }
    }
}

async fn start(common: Common, command: Command) -> Result<ExitCode, Failure> {
    let config = Config::load(common)?;
    log::start(config.log_format)?;
    command.run(config).await
}

//! The `botfarm` command: the service, the wrapper, and the tools.
//!
//! Each command is a module with a struct of its arguments and a method `run`. A new one is listed here twice: below
//! `mod`, and in [`Command`].
#![expect(clippy::doc_markdown, reason = "what is said of an argument is its help, where backticks would stand out")]

mod admission;
mod allowed;
mod audit;
mod backup;
mod client;
mod completions;
mod config;
mod directory;
mod doctor;
mod end_run;
mod export;
mod failure;
mod first_admin;
#[cfg(target_os = "linux")]
mod handed_over;
mod healthcheck;
mod history;
mod holder;
mod import;
mod key;
mod leases;
mod log;
mod migrate;
mod operator;
mod output;
mod pager;
mod password;
mod policy;
mod prune;
mod rekey;
mod release;
mod revoke;
mod run;
mod selectors;
mod serve;
mod span;
mod stdout;
mod store;
mod table;
mod token;
#[cfg(feature = "otel")]
mod traces;
mod user;
mod users;
mod variables;
mod waiters;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser, Subcommand};
use mimalloc::MiMalloc;
use tracing_subscriber::layer::Identity;
use zeroizing_alloc::ZeroAlloc;

use crate::{
    config::{Common, Config},
    failure::Failure,
};

/// Gives back to the system what a burst of requests has taken, and wipes whatever is freed: a password goes through buffers
/// of crates that know nothing of it, and is in none of them afterwards.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<MiMalloc> = ZeroAlloc(MiMalloc);

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
    Waiters(waiters::Waiters),
    Release(release::Release),
    Revoke(revoke::Revoke),
    EndRun(end_run::EndRun),
    History(history::History),
    Audit(audit::Audit),
    Operator(operator::Operator),
    Token(token::Token),
    Migrate(migrate::Migrate),
    Backup(backup::Backup),
    Key(key::Key),
    Rekey(rekey::Rekey),
    Prune(prune::Prune),
    Doctor(doctor::Doctor),
    Healthcheck(healthcheck::Healthcheck),
    Completions(completions::Completions),
}

/// Keeps what this process knows from others of the same user: no core dumps, and nothing of its memory and environment
/// in `/proc`. Where the system has no such thing, core dumps are off.
fn close_to_others() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    // What `run` starts would have this limit, too.
    #[cfg(not(target_os = "linux"))]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: None });
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    close_to_others();
    let Cli { common, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            if let Some(hint) = missing_dashes(&error) {
                let _ = writeln!(io::stderr(), "\n{hint}");
            }
            return if error.use_stderr() { usage_code() } else { ExitCode::SUCCESS };
        }
    };
    #[cfg(target_os = "linux")]
    if matches!(command, Command::Run(_) | Command::Serve(_)) {
        handed_over::hand_over();
    }
    let wraps = matches!(command, Command::Run(_));
    match start(common, command).await {
        Ok(code) => code,
        Err(failure) => {
            let failure = if wraps { failure.or_code(run::OWN_FAULT) } else { failure };
            // Nobody is left to be told when stderr is closed.
            let _ = writeln!(io::stderr(), "botfarm: {failure}");
            failure.code()
        }
    }
}

/// What to do where the command to be run was taken for an argument of botfarm's own.
fn missing_dashes(error: &clap::Error) -> Option<String> {
    let own: Vec<_> = std::env::args().skip(1).collect();
    let run = own.iter().position(|argument| argument == "run")?;
    let rest = &own[run + 1..];
    let is_so = error.kind() == clap::error::ErrorKind::UnknownArgument
        && !rest.iter().any(|argument| argument == "--")
        && rest.first().is_some_and(|first| !first.starts_with('-'));
    is_so.then(|| format!("the command to be run comes after --, as in: botfarm run -- {}", rest.join(" ")))
}

/// The exit code for flags that cannot be: 2, unless that could be taken for the code of the command to be run.
fn usage_code() -> ExitCode {
    let mut own = std::env::args_os().skip(1).take_while(|argument| argument != "--");
    ExitCode::from(if own.any(|argument| argument == "run") { run::OWN_FAULT } else { 2 })
}

async fn start(common: Common, command: Command) -> Result<ExitCode, Failure> {
    let config = Config::load(common)?;
    #[cfg(feature = "otel")]
    if matches!(command, Command::Serve(_))
        && let Some(traces) = traces::Traces::from_env()?
    {
        log::start(config.log_format, Some(traces.layer()))?;
        variables::warn_of_unknown(&Cli::command());
        let ended = command.run(config).await;
        traces.end().await;
        return ended;
    }
    log::start(config.log_format, None::<Identity>)?;
    variables::warn_of_unknown(&Cli::command());
    #[cfg(not(feature = "otel"))]
    if matches!(command, Command::Serve(_)) {
        variables::warn_of_traces();
    }
    command.run(config).await
}

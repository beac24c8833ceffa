//! `botfarm run -- cmd`: leases bots, runs a command with them in its environment, and gives them back.

mod child;
mod descendants;
mod encodings;
pub(crate) mod environment;
mod leased;
mod loss;
mod mask;
mod masked_output;
mod queue;
mod signals;

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use botfarm::Store;
use botfarm_core::{BootTime, LeaseRequest};
use clap::Args;
use rustix::process::Signal;
use tokio::process;

use self::{environment::Mapping, leased::Leased, signals::Signals};
#[cfg(target_os = "linux")]
use crate::handed_over;
use crate::{client, config::Config, failure::Failure, holder::HeldBy, selectors::SelectorArgs, span::span};

/// How long the account stays locked after botfarm was killed, unless told otherwise.
const TTL: Duration = Duration::from_mins(1);

/// How long to wait in the queue on CI unless told otherwise.
const CI_WAIT: Duration = Duration::from_mins(10);

/// Exit codes of botfarm's own, beside those of the command.
const LOST: u8 = 123;
pub(crate) const OWN_FAULT: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

const MORE_HELP: &str = "\
Everything after -- is the command and its arguments; no shell is involved.

Environment of the command:
  BOTFARM_USER_LOGIN, _PASSWORD, _ID, _PROJECT_ID, _ENV, _DOMAIN, _LABEL_<KEY>
             the account; with --user admin:… they are BOTFARM_USER_ADMIN_LOGIN and so on
  BOTFARM_LEASE_ID, BOTFARM_URL
             for a command that releases with an outcome itself
  BOTFARM_TOKEN and the other secrets of botfarm's own are taken out, and where its farm is a
  database also PG… and DATABASE_URL. On Linux, nothing that runs as the same user reads them
  from botfarm's process instead; root does, and files that hold them are as they are.

Exit codes:
  the command's own, or 128 + n when signal n killed it
  123  the lease was lost, so the command was stopped: its result is not valid
  124  no account was free in time
  125  botfarm itself failed
  126  the command cannot be executed
  127  there is no such command

Signals:
  INT, TERM, HUP and QUIT reach the command once, and what is left of it after 5 seconds is
  killed; but after Ctrl-C at a terminal the command takes its time. A second Ctrl-C kills it.

  When botfarm itself is killed (kill -9), the command goes on; its account becomes free after
  the TTL and a rest.

  In CI, write `exec botfarm run …` as the last line of a step, so that a cancelled job reaches
  botfarm at once.";

/// Runs a command with a test account of its own
///
/// The account is given back when the command ends.
#[derive(Debug, Args)]
#[command(after_long_help = MORE_HELP)]
pub(crate) struct Run {
    #[command(flatten)]
    selectors: SelectorArgs,

    /// How long to wait for an account: seconds, or such as 90s or 5m [default: 10m when CI is set, otherwise 0]
    #[arg(long, value_name = "TIME", env = "BOTFARM_WAIT", value_parser = span)]
    wait: Option<Duration>,

    /// How long the account stays locked after botfarm was killed; it is renewed all the time [default: 60s]
    #[arg(long, value_name = "TIME", env = "BOTFARM_TTL", value_parser = span)]
    ttl: Option<Duration>,

    #[arg(
        long = "map",
        value_name = "FIELD=VARIABLE",
        help = "A further variable with one of BOTFARM_USER_…, such as LOGIN=CYPRESS_USERNAME; may be repeated"
    )]
    mappings: Vec<Mapping>,

    /// Do not replace passwords in the command's output by ***, as is done on CI where the output is not a terminal
    ///
    /// Found are a password and a lease id as they are, and in JSON, source text, URLs, forms, HTML and base64. Not found
    /// is what is encoded or split otherwise, and what the command writes to files. GitHub and Azure Pipelines are told
    /// of them before the command starts, and mask them in the whole log.
    #[arg(long)]
    no_mask: bool,

    #[command(flatten)]
    held_by: HeldBy,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Run {
    /// Runs the command, and gives its exit code.
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let aliases = self.selectors.aliases();
        environment::check_aliases(&aliases).map_err(Failure::new)?;
        for mapping in &self.mappings {
            mapping.check(&aliases).map_err(Failure::new)?;
        }
        if config.farm_flag_has_password {
            return Err(Failure::new(
                "the command could read the password in --farm, as all arguments can be; set BOTFARM_URL or \
                 BOTFARM_URL_FILE instead",
            ));
        }
        let selectors = self.selectors.or(&config.file).selectors().map_err(Failure::new)?;
        let (program, arguments) = self.command.split_first().ok_or_else(|| Failure::new("there is no command"))?;
        child::look_up(program).map_err(|error| unstarted(program, &error))?;

        let mut signals = Signals::listen().map_err(|error| Failure::new(format!("signals: {error}")))?;
        let farm = tokio::select! {
            farm = client::connect_once(&config) => farm?,
            signal = signals.next() => return Err(stopped(signal, "stopped before it had connected")),
        };
        // Before there is a command, which has the same files open.
        #[cfg(target_os = "linux")]
        handed_over::forget();
        let ttl = self.ttl.or(config.file.ttl).unwrap_or(TTL);
        let request = self.held_by.apply(LeaseRequest::many(self.held_by.holder(), selectors).ttl(ttl));
        let wait = self.wait.or(config.file.wait).unwrap_or(if on_ci() { CI_WAIT } else { Duration::ZERO });
        let (lease, asked) = queue::acquire(&*farm, request, wait, &mut signals).await?;

        let mut command = process::Command::new(program);
        command.args(arguments);
        for name in environment::withheld(Store::is_database(client::url(&config)?)) {
            command.env_remove(name);
        }
        if let Some(url) = Some(client::url(&config)?).filter(|url| url.starts_with("http")) {
            command.env("BOTFARM_URL", url);
        }
        let leased = Leased { farm: &*farm, lease: &lease, signals };
        match environment::variables(&lease, &self.mappings) {
            Ok(variables) => {
                command.envs(variables);
                leased.run(command, asked, !self.no_mask && on_ci()).await
            }
            Err(fault) => leased.give_up(Failure::new(fault)).await,
        }
    }
}

/// That a signal came before the command was started.
fn stopped(signal: Signal, text: &str) -> Failure {
    Failure::coded(u8::try_from(128 + signal.as_raw()).unwrap_or(OWN_FAULT), text)
}

/// Tells why a command was not started.
fn unstarted(program: &OsStr, error: &io::Error) -> Failure {
    let program = program.display();
    match error.kind() {
        io::ErrorKind::NotFound => Failure::coded(NOT_FOUND, format!("{program}: there is no such command")),
        _ => Failure::coded(NOT_EXECUTABLE, format!("{program} cannot be executed: {error}")),
    }
}

/// Whether this is a CI job.
fn on_ci() -> bool {
    env::var_os("CI").is_some_and(|ci| says_yes(&ci))
}

/// Whether a variable that is set says yes: CI services write it in many ways.
fn says_yes(value: &OsStr) -> bool {
    let value = value.to_string_lossy().trim().to_ascii_lowercase();
    !matches!(value.as_str(), "" | "0" | "false" | "no" | "off" | "n" | "f")
}

/// Resolves when the time has come; never without one. Cancel safety: may be dropped.
async fn come(time: Option<BootTime>) {
    match time {
        Some(time) => time.come().await,
        None => std::future::pending().await,
    }
}

/// Says something to whoever looks at stderr: stdout is the command's. In one write, since it is the command's, too.
fn say(text: impl fmt::Display) {
    let _ = io::stderr().write_all(format!("botfarm: {text}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ci_service_is_known_however_it_spells_it() {
        for yes in ["true", "True", "TRUE", "1", "yes", "woodpecker", "drone"] {
            assert!(says_yes(OsStr::new(yes)), "{yes}");
        }
        for no in ["", " ", "0", "false", "False", "FALSE", "no", "off"] {
            assert!(!says_yes(OsStr::new(no)), "{no}");
        }
    }
}

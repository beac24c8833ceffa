//! `botfarm end-run`: ends all that a CI run or a test session has leased and waits for.

use std::process::ExitCode;

use botfarm_core::{Ending, Note, Outcome, Run, RunEnding};
use botfarm_http::wire;
use clap::Args;

use crate::{client, config::Config, failure::Failure, holder::Job, output::Output};

/// Ends all leases of a CI run or a test session, and sends away who waits as a part of it
///
/// What others have leased under the same name stays, unless an admin asks, or the farm asks nobody who they are. Whoever
/// still works with an account of the run is told that it is lost.
#[derive(Debug, Args)]
pub(crate) struct EndRun {
    /// The run, as `botfarm leases` names it [default: the run of the CI service, or of cargo-nextest]
    #[arg(value_name = "RUN", env = "BOTFARM_RUN")]
    run: Option<Run>,

    /// In what state the accounts are left: clean, dirty or broken
    #[arg(long, value_name = "OUTCOME", default_value_t = Outcome::Clean)]
    outcome: Outcome,

    /// A remark: the holders are told, and it stays in the history
    #[arg(long, value_name = "TEXT")]
    note: Option<Note>,

    #[command(flatten)]
    output: Output,
}

impl EndRun {
    /// Ends it.
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let Self { run, outcome, note, output } = self;
        let job = Job::found();
        let run = run.or(job.run).ok_or_else(|| {
            Failure::new("which run? name it, or set BOTFARM_RUN; `botfarm leases` lists the runs that hold accounts")
        })?;
        let farm = client::connect(&config).await?;
        let ended = farm.end_run(&run, RunEnding::new(job.holder).ending(Ending { outcome, note })).await?;
        let message = format!(
            "ended {run}: {} given back, {} sent away",
            counted(ended.leases, "lease"),
            counted(ended.waiters, "waiting request")
        );
        output.say(&wire::EndedRun::from(ended), &message)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

//! `botfarm completions`: for shells.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{Cli, config::Config, failure::Failure, stdout::print};

/// Prints the completions for a shell
///
/// Such as: botfarm completions bash > /etc/bash_completion.d/botfarm
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

impl Completions {
    /// Prints them.
    #[expect(clippy::unused_async, reason = "every command is run the same way")]
    pub(crate) async fn run(self, _config: Config) -> Result<ExitCode, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "botfarm", &mut script);
        print(&String::from_utf8_lossy(&script))?;
        Ok(ExitCode::SUCCESS)
    }
}

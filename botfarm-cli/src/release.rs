//! `botfarm release`: gives an account back.

use std::process::ExitCode;

use botfarm_core::{BotRelease, Ending, Note, Outcome};
use botfarm_http::wire::Message;
use clap::Args;

use crate::{
    client,
    config::Config,
    failure::Failure,
    output::{Output, named},
    user,
};

/// Gives an account back as its holder would, with all others of the same lease
#[derive(Debug, Args)]
pub(crate) struct Release {
    /// The account: its login, its env and login as in stage/qa-7, or its id
    #[arg(value_name = "USER")]
    user: String,

    /// In what state it is left: clean, dirty or broken
    #[arg(long, value_name = "OUTCOME", default_value = "clean")]
    outcome: Outcome,

    /// A remark for the history
    #[arg(long, value_name = "TEXT")]
    note: Option<Note>,

    #[command(flatten)]
    output: Output,
}

impl Release {
    /// Gives it back.
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let farm = client::connect(&config).await?;
        let bot = user::find(&*farm, &self.user).await?;
        let ending = Ending { outcome: self.outcome, note: self.note };
        let message = match &bot.holding {
            Some(holding) => {
                // Whoever has it by now, if it is somebody else, keeps it.
                let holder = Some(holding.terms.holder.clone());
                farm.release_bot(bot.id, BotRelease { ending, holder, ..BotRelease::default() }).await?;
                format!("released {}, which {} held", named(&bot), holding.terms.holder)
            }
            None => format!("nobody held {}", named(&bot)),
        };
        self.output.say(&Message { message: message.clone() }, &message)?;
        Ok(ExitCode::SUCCESS)
    }
}

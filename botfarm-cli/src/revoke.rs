//! `botfarm revoke`: takes an account away from whoever holds it.

use std::process::ExitCode;

use botfarm_core::{Note, Revocation};
use botfarm_http::wire::Message;
use clap::Args;

use crate::{
    client,
    config::Config,
    failure::Failure,
    holder::Job,
    output::{Output, named},
    user,
};

/// Takes an account away from whoever holds it
///
/// The whole lease ends, and its accounts rest before anybody else gets them.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The account: its login, its env and login as in stage/qa-7, or its id
    #[arg(value_name = "USER")]
    user: String,

    /// Why: the holder is told, and it stays in the history
    #[arg(long, value_name = "TEXT")]
    reason: Note,

    #[command(flatten)]
    output: Output,
}

impl Revoke {
    /// Takes it away.
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let farm = client::connect(&config).await?;
        let bot = user::find(&*farm, &self.user).await?;
        farm.revoke(bot.id, Revocation::new(self.reason, Job::found().holder)).await?;
        let message = match &bot.holding {
            Some(holding) => format!("revoked {}, which {} held", named(&bot), holding.terms.holder),
            None => format!("nobody held {}", named(&bot)),
        };
        self.output.say(&Message { message: message.clone() }, &message)?;
        Ok(ExitCode::SUCCESS)
    }
}

//! `botfarm users`: lists accounts.

use std::process::ExitCode;

use botfarm_core::{BotFarmExt, BotFilter, BotState, Condition, Domain, Env, Login, ProjectId};
use botfarm_http::wire;
use clap::Args;

use crate::{
    client,
    config::Config,
    failure::Failure,
    output::{Output, ago, state},
    wanted::{labels, pair},
};

/// Lists the accounts, oldest first, and who holds them
#[derive(Debug, Args)]
pub(crate) struct Users {
    /// Those of this env
    #[arg(long, value_name = "ENV")]
    env: Option<Env>,

    /// Those of this domain
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<Domain>,

    /// Those of this project
    #[arg(long, value_name = "PROJECT")]
    project: Option<ProjectId>,

    /// Those with this login
    #[arg(long, value_name = "LOGIN")]
    login: Option<Login>,

    /// Those with this label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,

    /// Those in this condition: ready, dirty or broken
    #[arg(long, value_name = "CONDITION")]
    condition: Option<Condition>,

    /// Those in this state: free, leased or cooling
    #[arg(long, value_name = "STATE")]
    state: Option<BotState>,

    #[command(flatten)]
    output: Output,
}

impl Users {
    /// Lists them.
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let filter = BotFilter {
            project: self.project,
            env: self.env,
            domain: self.domain,
            login: self.login,
            condition: self.condition,
            state: self.state,
            labels: labels(&self.labels).map_err(Failure::usage)?,
        };
        let bots = client::connect(&config).await?.list_all(&filter).await?;
        let rows: Vec<_> = bots
            .iter()
            .map(|bot| {
                let labels: Vec<_> = bot.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                let holding = bot.holding.as_ref();
                [
                    bot.login.to_string(),
                    bot.env.to_string(),
                    bot.domain.to_string(),
                    state(bot),
                    holding.map(|holding| holding.holder.to_string()).unwrap_or_default(),
                    holding.map(|holding| ago(holding.since)).unwrap_or_default(),
                    labels.join(" "),
                    bot.project.to_string(),
                    bot.id.to_string(),
                ]
            })
            .collect();
        let json: Vec<_> = bots.into_iter().map(wire::User::from).collect();
        let header = ["LOGIN", "ENV", "DOMAIN", "STATE", "HOLDER", "SINCE", "LABELS", "PROJECT", "ID"];
        self.output.list(&json, header, rows)?;
        Ok(ExitCode::SUCCESS)
    }
}

//! `botfarm users`: lists accounts.

use std::process::ExitCode;

use botfarm_core::{Bot, BotFarmExt, BotFilter, BotState, Condition, Domain, Env, Login, ProjectId};
use botfarm_http::wire;
use clap::Args;

use crate::{
    client,
    config::Config,
    failure::Failure,
    output::{Output, ago, state},
    selectors::{labels, pair},
    table::Tone,
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

    /// With the ids of projects and accounts
    #[arg(long)]
    wide: bool,

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
        let rows: Vec<_> = bots.iter().map(|bot| (tone(bot), row(bot))).collect();
        let total = Some(total(&bots)).filter(|_| !bots.is_empty());
        let ids: Vec<_> = bots.iter().map(|bot| [bot.project.to_string(), bot.id.to_string()]).collect();
        let json: Vec<_> = bots.into_iter().map(wire::User::from).collect();
        if self.wide {
            let rows = rows.into_iter().zip(ids).map(|((tone, row), ids)| {
                let ([login, env, domain, state, holder, since, labels], [project, id]) = (row, ids);
                (tone, [login, env, domain, state, holder, since, labels, project, id])
            });
            let header = ["LOGIN", "ENV", "DOMAIN", "STATE", "HOLDER", "SINCE", "LABELS", "PROJECT", "ID"];
            self.output.sheet(&json, header, rows, total)?;
        } else {
            let header = ["LOGIN", "ENV", "DOMAIN", "STATE", "HOLDER", "SINCE", "LABELS"];
            self.output.sheet(&json, header, rows, total)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn row(bot: &Bot) -> [String; 7] {
    let labels: Vec<_> = bot.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let holding = bot.holding.as_ref();
    [
        bot.login.to_string(),
        bot.env.to_string(),
        bot.domain.to_string(),
        state(bot),
        holding.map(|holding| holding.terms.holder.to_string()).unwrap_or_default(),
        holding.map(|holding| ago(holding.since)).unwrap_or_default(),
        labels.join(" "),
    ]
}

fn tone(bot: &Bot) -> Tone {
    match (bot.state(), bot.condition) {
        (BotState::Leased, _) => Tone::Busy,
        (_, Condition::Dirty | Condition::Broken) => Tone::Bad,
        (BotState::Cooling, Condition::Ready) => Tone::Resting,
        (BotState::Free, Condition::Ready) => Tone::Plain,
    }
}

/// How many there are, each counted once, and what is not plain about the words.
fn total(bots: &[Bot]) -> String {
    let count = |state, condition: Option<Condition>| {
        let counted = |bot: &&Bot| bot.state() == state && condition.is_none_or(|condition| bot.condition == condition);
        bots.iter().filter(counted).count()
    };
    let cooling = count(BotState::Cooling, None);
    let mut parts = vec![
        format!("{} free", count(BotState::Free, Some(Condition::Ready))),
        format!("{} leased", count(BotState::Leased, None)),
    ];
    let others = [
        (cooling, "cooling (at rest after a lease, and free again by themselves)"),
        (count(BotState::Free, Some(Condition::Dirty)), "dirty"),
        (count(BotState::Free, Some(Condition::Broken)), "broken"),
    ];
    parts.extend(others.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    let accounts = if bots.len() == 1 { "account" } else { "accounts" };
    format!("{} {accounts}: {}", bots.len(), parts.join(", "))
}

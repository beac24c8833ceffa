//! `botfarm export`: writes accounts to a file, without their passwords.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    process::ExitCode,
};

use botfarm_core::{Bot, BotFarmExt, BotFilter, Domain, Env, Labels, Login, ProjectId};
use botfarm_http::import::guarded;
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{client, config::Config, failure::Failure, output::pretty, stdout::print};

/// Writes the accounts to stdout as import reads them, without their passwords
///
/// A farm lists passwords to nobody. An import of the file updates what has no password; new accounts need theirs added.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// How to write them
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,

    /// Those of this env
    #[arg(long, value_name = "ENV")]
    env: Option<Env>,

    /// Those of this project
    #[arg(long, value_name = "PROJECT")]
    project: Option<ProjectId>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// With a column label.<key> for each label
    #[default]
    Csv,
    /// One array
    Json,
    /// One object a line
    Ndjson,
}

/// An account as import reads it, but for the password.
#[derive(Debug, Serialize)]
struct Exported {
    login: Login,
    project_id: ProjectId,
    env: Env,
    domain: Domain,
    labels: Labels,
}

impl From<Bot> for Exported {
    fn from(bot: Bot) -> Self {
        Self { login: bot.login, project_id: bot.project, env: bot.env, domain: bot.domain, labels: bot.labels }
    }
}

impl Export {
    /// Writes them.
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let filter = BotFilter { env: self.env, project: self.project, ..BotFilter::default() };
        let bots = client::connect(&config).await?.list_all(&filter).await?;
        let bots: Vec<_> = bots.into_iter().map(Exported::from).collect();
        let text = match self.format {
            Format::Csv => csv(&bots)?,
            Format::Json => pretty(&bots)?,
            Format::Ndjson => {
                let lines: Result<Vec<_>, _> = bots.iter().map(serde_json::to_string).collect();
                lines.map_err(|error| Failure::new(format!("JSON: {error}")))?.join("\n")
            }
        };
        print(&text)?;
        let note = "botfarm: passwords are not exported; an import of this file changes all but them";
        let _ = writeln!(io::stderr(), "{note}");
        Ok(ExitCode::SUCCESS)
    }
}

fn csv(bots: &[Exported]) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(format!("CSV: {error}"));
    let keys: BTreeSet<&str> = bots.iter().flat_map(|bot| bot.labels.iter().map(|(key, _)| key)).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = ["login", "project_id", "env", "domain"].map(str::to_owned);
    let header = header.into_iter().chain(keys.iter().map(|key| format!("label.{key}")));
    writer.write_record(header).map_err(|error| failed(&error))?;
    for bot in bots {
        let labels: BTreeMap<&str, &str> = bot.labels.iter().collect();
        let fields = [guarded(&bot.login), bot.project_id.to_string(), bot.env.to_string(), bot.domain.to_string()];
        let labels = keys.iter().map(|key| labels.get(key).copied().map(guarded).unwrap_or_default());
        writer.write_record(fields.into_iter().chain(labels)).map_err(|error| failed(&error))?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(&error))?;
    String::from_utf8(bytes).map_err(|error| failed(&error))
}

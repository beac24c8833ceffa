//! `botfarm import`: adds and updates accounts out of a file.

pub(crate) mod faulty;
mod prune;
mod updates;

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use botfarm::Store;
use botfarm_core::{BotFarm, Domain, Env, ImportReport, NewBot, ProjectId};
use botfarm_http::import::{Format, Given, Rows};
use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use self::{faulty::faulty, prune::Pruned, updates::Updates};
use crate::{allowed::Allowed, client, config::Config, failure::Failure, output::Output};

/// Adds and updates accounts out of a file
///
/// The file is CSV, JSON or NDJSON, by its extension. Each account has login, password, project_id, env, and may have
/// domain and labels; those whose env and login the farm has are updated, the others are created: all of them, or none.
/// Columns may be called as spreadsheets have them (username, email, project), and be separated by commas, semicolons or
/// tabs. A row without a password changes an account that the farm has, and leaves its password as it is.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file; - is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,

    /// The env of rows that name none
    #[arg(long, value_name = "ENV")]
    env: Option<Env>,

    /// The project of rows that name none
    #[arg(long, value_name = "PROJECT")]
    project: Option<ProjectId>,

    /// The domain of rows that name none
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<Domain>,

    /// The columns of a CSV file that are labels
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    labels: Vec<String>,

    /// Take away the accounts that the file does not have, of each project and env that it has accounts of; with
    /// --dry-run, list them
    #[arg(long)]
    prune: bool,

    #[command(flatten)]
    allowed: Allowed,

    #[command(flatten)]
    output: Output,
}

/// What was done, or would be.
#[derive(Debug, Serialize)]
struct Done {
    #[serde(flatten)]
    report: ImportReport,
    /// Names that the farm has no accounts of yet.
    #[serde(skip_serializing_if = "New::is_nothing")]
    new: New,
    #[serde(flatten)]
    pruned: Option<Pruned>,
}

/// Names that no account of the farm has.
#[derive(Debug, Default, Serialize)]
struct New {
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    projects: BTreeSet<ProjectId>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    envs: BTreeSet<Env>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    domains: BTreeSet<Domain>,
}

impl New {
    /// Those of the bots that the farm does not have.
    async fn of(farm: &dyn BotFarm, bots: &[NewBot]) -> Result<Self, Failure> {
        let mut new = Self::default();
        for bot in bots {
            new.projects.insert(bot.project.clone());
            new.envs.insert(bot.env.clone());
            new.domains.insert(bot.domain.clone());
        }
        for pool in farm.stats().await?.pools {
            new.projects.remove(&pool.project);
            new.envs.remove(&pool.env);
            new.domains.remove(&pool.domain);
        }
        Ok(new)
    }

    fn is_nothing(&self) -> bool {
        self.projects.is_empty() && self.envs.is_empty() && self.domains.is_empty()
    }

    /// A line for each kind of name.
    fn lines(&self) -> impl Iterator<Item = String> {
        let joined = |names: Vec<&str>| names.join(", ");
        let kinds = [
            ("project", joined(self.projects.iter().map(ProjectId::as_str).collect())),
            ("env", joined(self.envs.iter().map(Env::as_str).collect())),
            ("domain", joined(self.domains.iter().map(Domain::as_str).collect())),
        ];
        kinds.into_iter().filter(|(_, names)| !names.is_empty()).map(|(kind, names)| format!("new {kind}: {names}"))
    }
}

impl Import {
    /// Imports the file.
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        client::refuse_found(&config)?;
        let shown = self.file.display().to_string();
        let text = if self.file == Path::new("-") { stdin() } else { fs::read(&self.file) };
        let text = text.map_err(|error| Failure::usage(format!("{shown}: {error}")))?;
        let format = Format::from_path(&self.file).unwrap_or_else(|| guessed(&text));
        let given =
            Given { project: self.project, env: self.env, domain: self.domain, labels: self.labels, updates: true };
        let mut rows =
            Rows::read_given(format, text.as_slice(), usize::MAX, given).map_err(|error| faulty(&shown, error))?;
        for note in rows.notes() {
            let _ = writeln!(io::stderr(), "botfarm: {shown}: {note}");
        }
        let (bots, updates) = (rows.take(), rows.take_updates());
        let farm = client::connect(&config).await?;
        // A service has names of its own to check.
        if Store::is_at(client::url(&config)?) {
            let names = self.allowed.or(&config.file);
            names.check_all(&bots).map_err(|error| faulty(&shown, rows.located(error)))?;
            updates::check(&names, &updates).map_err(|error| faulty(&shown, rows.shown(error)))?;
        }
        // Hidden unless stderr is a terminal.
        let count = bots.len() + updates.len();
        let progress = ProgressBar::new_spinner().with_message(format!("importing {count} users"));
        progress.enable_steady_tick(Duration::from_millis(100));
        let new = New::of(&*farm, &bots).await?;
        let updates = Updates::plan(&farm, updates).await?.map_err(|error| faulty(&shown, rows.shown(error)))?;
        let kept = self.prune.then(|| prune::Kept::of(&bots, &updates));
        let imported = farm.import(bots, self.dry_run).await;
        let mut report = imported.map_err(|error| faulty(&shown, rows.located(error)))?;
        updates.make(&*farm, self.dry_run, &mut report).await?;
        let pruned = match kept {
            Some(kept) => Some(kept.prune(&farm, self.dry_run).await?),
            None => None,
        };
        progress.finish_and_clear();

        let ImportReport { created, updated, unchanged } = report;
        let would = if self.dry_run { " (dry run: nothing was done)" } else { "" };
        let counts = format!("+{created} ~{updated} ={unchanged}");
        let words = format!("{created} created, {updated} updated, {unchanged} unchanged");
        let first = format!("{counts}: {words}{would}");
        let lines = [first].into_iter().chain(new.lines()).chain(pruned.iter().flat_map(Pruned::lines));
        let text = lines.collect::<Vec<_>>().join("\n");
        self.output.say(&Done { report, new, pruned }, &text)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn stdin() -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text)?;
    Ok(text)
}

/// What a file without a telling name is written in.
fn guessed(text: &[u8]) -> Format {
    match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => Format::Json,
        Some(b'{') => Format::Ndjson,
        _ => Format::Csv,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_of_stdin_is_guessed() {
        assert_eq!(guessed(b"\n [{}]"), Format::Json);
        assert_eq!(guessed(b"{\"login\""), Format::Ndjson);
        assert_eq!(guessed(b"login,password\n"), Format::Csv);
        assert_eq!(guessed(b""), Format::Csv);
    }
}

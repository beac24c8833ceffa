//! `botfarm import`: adds and updates accounts out of a file.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use botfarm_core::{Error, ImportReport};
use botfarm_http::import::{Format, Rows};
use clap::Args;
use indicatif::ProgressBar;

use crate::{client, config::Config, failure::Failure, output::Output};

/// Adds and updates accounts out of a file, all or nothing
///
/// The file is CSV, JSON or NDJSON, by its extension. Each account has login, password, project_id, env, and may have
/// domain and labels; those whose env and login the farm has are updated, the others are created.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file; - is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    output: Output,
}

impl Import {
    /// Imports the file.
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let shown = self.file.display();
        let text = if self.file == Path::new("-") { stdin() } else { fs::read(&self.file) };
        let text = text.map_err(|error| Failure::usage(format!("{shown}: {error}")))?;
        let format = Format::from_path(&self.file).unwrap_or_else(|| guessed(&text));
        let mut rows =
            Rows::read(format, text.as_slice(), usize::MAX).map_err(|error| faulty(&shown.to_string(), error))?;
        let bots = rows.take();

        let farm = client::connect(&config).await?;
        // Hidden unless stderr is a terminal.
        let progress = ProgressBar::new_spinner().with_message(format!("importing {} users", bots.len()));
        progress.enable_steady_tick(Duration::from_millis(100));
        let imported = farm.import(bots, self.dry_run).await;
        progress.finish_and_clear();
        let report = imported.map_err(|error| faulty(&shown.to_string(), rows.located(error)))?;

        let ImportReport { created, updated, unchanged } = report;
        let would = if self.dry_run { " (dry run: nothing was done)" } else { "" };
        let counts = format!("+{created} ~{updated} ={unchanged}");
        let words = format!("{created} created, {updated} updated, {unchanged} unchanged");
        self.output.say(&report, &format!("{counts}: {words}{would}"))?;
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

/// Every fault on a line of its own.
fn faulty(file: &str, error: Error) -> Failure {
    let Error::Invalid { faults } = &error else { return error.into() };
    let mut text = format!("{file}: nothing was imported, for these faults:");
    for fault in faults {
        let field = fault.pointer.splitn(3, '/').nth(2).map(|field| format!("{field} ")).unwrap_or_default();
        // The detail starts with the row, where it has one.
        let (row, detail) = match fault.detail.split_once(": ") {
            Some((row, detail)) if row.starts_with("row ") => (format!("{row}: "), detail),
            _ => (String::new(), fault.detail.as_str()),
        };
        text.extend(["\n  ", &row, &field, detail]);
    }
    Failure::usage(text)
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

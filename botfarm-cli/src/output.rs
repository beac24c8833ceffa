//! What commands print: tables for people, JSON for programs.

use std::{
    io::{self, Write},
    time::Duration,
};

use botfarm_core::{Bot, Condition, Timestamp};
use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::failure::Failure;

/// The flag that every command with a result has.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Output {
    /// A table for people, or JSON for programs
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Table,
    Json,
}

impl Output {
    /// Prints `rows` under `header`, or `json`: the shapes of the HTTP API.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(crate) fn list<const N: usize>(
        self,
        json: &impl Serialize,
        header: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json => print(&pretty(json)?),
            Format::Table => print(&table(header, rows)),
        }
    }

    /// Prints a sentence, or `json`.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(crate) fn say(self, json: &impl Serialize, sentence: &str) -> Result<(), Failure> {
        match self.format {
            Format::Json => print(&pretty(json)?),
            Format::Table => print(sentence),
        }
    }
}

/// JSON for programs, which people may look at.
///
/// # Errors
/// When the value has no JSON.
pub(crate) fn pretty(json: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(json).map_err(|error| Failure::new(format!("JSON: {error}")))
}

/// Writes to stdout, and ends the line. That nobody reads any more is no failure: `botfarm users | head`.
///
/// # Errors
/// When stdout cannot be written for another reason.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(format!("stdout: {error}"))),
        _ => Ok(()),
    }
}

fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    // A remark may have several lines; a row has one.
    table.add_rows(rows.into_iter().map(|row| row.map(|cell| cell.replace(char::is_control, " "))));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// How long, in two units: `4m 10s`.
pub(crate) fn lasting(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let first = units.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let shown: Vec<_> = units[first..]
        .iter()
        .take(2)
        .enumerate()
        .filter(|(place, (count, _))| *place == 0 || *count > 0)
        .map(|(_, (count, unit))| format!("{count}{unit}"))
        .collect();
    shown.join(" ")
}

/// How long ago, as far as this machine's clock can tell: `4m 10s ago`.
pub(crate) fn ago(at: Timestamp) -> String {
    format!("{} ago", lasting(now().signed_duration_since(at).to_std().unwrap_or_default()))
}

/// How far off: `in 50s`.
pub(crate) fn ahead(at: Timestamp) -> String {
    format!("in {}", lasting(at.signed_duration_since(now()).to_std().unwrap_or_default()))
}

/// To the second: `2026-11-21 03:04:05Z`.
pub(crate) fn dated(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

fn now() -> DateTime<Utc> {
    Utc::now()
}

/// A bot as people name it: `stage/qa-7`.
pub(crate) fn named(bot: &Bot) -> String {
    format!("{}/{}", bot.env, bot.login)
}

/// What a bot is doing, and its condition unless it is ready: `leased`, `free, broken`.
pub(crate) fn state(bot: &Bot) -> String {
    match bot.condition {
        Condition::Ready => bot.state().to_string(),
        condition => format!("{}, {condition}", bot.state()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_units_at_most() {
        let shown = |seconds| lasting(Duration::from_secs(seconds));
        let times = [0, 59, 60, 250, 3_600, 3_605, 7_260, 90_061].map(shown);
        assert_eq!(times, ["0s", "59s", "1m", "4m 10s", "1h", "1h", "2h 1m", "1d 1h"]);
    }

    #[test]
    fn a_cell_stays_on_its_line() {
        let rows = [["qa-7".to_owned(), "two\nlines\u{1b}[31m".to_owned()]];
        assert_eq!(table(["LOGIN", "NOTE"], rows), "LOGIN  NOTE\nqa-7   two lines [31m");
    }
}

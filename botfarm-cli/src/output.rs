//! What commands print: tables for people, JSON for programs.

use std::time::Duration;

use botfarm_core::{Bot, Condition, Timestamp};
use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{
    failure::Failure,
    pager,
    stdout::print,
    table::{self, Tone, coloured},
};

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
        let rows = rows.into_iter().map(|row| (Tone::Plain, row));
        self.sheet(json, header, rows, None)
    }

    /// The same, with a colour for each row, and a line about all of them below.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(crate) fn sheet<const N: usize>(
        self,
        json: &impl Serialize,
        header: [&str; N],
        rows: impl IntoIterator<Item = (Tone, [String; N])>,
        total: Option<String>,
    ) -> Result<(), Failure> {
        if self.format == Format::Json {
            return print(&pretty(json)?);
        }
        let (tones, rows): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let width = pager::terminal().map(|(columns, _)| columns);
        let mut lines = table::lines(header, rows, width);
        if pager::colours() {
            // The first is the header.
            for (line, tone) in lines.iter_mut().skip(1).zip(tones) {
                *line = coloured(line, tone);
            }
        }
        if let Some(total) = total {
            lines.extend([String::new(), total]);
        }
        pager::print(&lines.join("\n"))
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
    format!("in {}", left(at))
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

/// What a bot is doing, for how long it rests, and its condition unless it is ready: `leased`, `cooling for 12s`, `free,
/// broken`.
pub(crate) fn state(bot: &Bot) -> String {
    let state = match bot.cooling_until {
        Some(until) if bot.holding.is_none() => format!("cooling for {}", left(until)),
        _ => bot.state().to_string(),
    };
    match bot.condition {
        Condition::Ready => state,
        condition => format!("{state}, {condition}"),
    }
}

/// How much longer until then, as far as this machine's clock can tell.
fn left(until: Timestamp) -> String {
    lasting(until.signed_duration_since(now()).to_std().unwrap_or_default())
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
}

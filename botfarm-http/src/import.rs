//! Reads files of bots: JSON, NDJSON and CSV.

mod csv;
mod given;
mod json;
mod source;
mod update;

use std::{io::Read, path::Path};

use botfarm_core::{Error, Fault, Faults, Location, NewBot, Result};
use serde_json::Value;

use self::source::Source;
pub use self::{csv::guarded, given::Given, update::Update};
use crate::{fields::Read as _, wire::NewUser};

/// The longest row, in bytes; the longest that makes a bot has some 30 KiB. A longer one would take many times its
/// length once it is parsed.
const ROW: usize = 256 << 10;

/// How a file of bots is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A JSON array of objects with `login`, `password`, `project_id`, `env`, and optionally `domain` and `labels`.
    Json,
    /// One such object a line. Empty lines are passed over.
    Ndjson,
    /// Separated by commas, semicolons or tabs, with a header row that names the columns, in any order and case: `login`
    /// (or `username`, `user`, `email`), `password`, `project_id` (or `project`), `env`, and optionally `domain`, `labels`
    /// (as `key=value;key=value`) and `label.<key>`. An empty cell is one that is not given.
    Csv,
}

impl Format {
    /// The format of this media type, which is given in lower case and without parameters.
    #[must_use]
    pub fn from_media_type(kind: &str) -> Option<Self> {
        match kind {
            "application/json" => Some(Self::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some(Self::Ndjson),
            "text/csv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// The format of a file with this name, by its extension.
    #[must_use]
    pub fn from_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "json" => Some(Self::Json),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }
}

/// The bots of a file, and where in it they stand.
#[derive(Debug)]
pub struct Rows {
    bots: Vec<NewBot>,
    /// Which row each bot is, counted from 0.
    numbers: Vec<usize>,
    updates: Vec<Update>,
    notes: Vec<String>,
    /// The line on which each row begins, counted from 1; empty where a file has no lines to speak of.
    lines: Vec<u64>,
}

impl Rows {
    /// Reads a file row by row: of the file itself, no more than a row is in memory.
    ///
    /// # Errors
    /// `Malformed` when it is not what `format` says, or has a row of more than 256 KiB. `Invalid` when it has more than
    /// `most` rows, or with the faults of its rows, as [`Faults`] lists them: each is in its row, counted
    /// from 0, and the detail with its number from 1 and its line.
    pub fn read(format: Format, file: impl Read, most: usize) -> Result<Self> {
        Self::read_given(format, file, most, Given::default())
    }

    /// The same, of a file that leaves something out.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn read_given(format: Format, file: impl Read, most: usize, given: Given) -> Result<Self> {
        let mut rows = Reading {
            read: Self {
                bots: Vec::new(),
                numbers: Vec::new(),
                updates: Vec::new(),
                notes: Vec::new(),
                lines: Vec::new(),
            },
            given,
            count: 0,
            most,
            faults: Faults::default(),
        };
        let mut file = Source::new(file).map_err(|error| malformed(format!("the file cannot be read: {error}")))?;
        match format {
            Format::Json => json::array(&mut file, &mut rows)?,
            Format::Ndjson => json::lines(&mut file, &mut rows)?,
            Format::Csv => csv::read(&mut file, &mut rows)?,
        }
        let Reading { read, faults, .. } = rows;
        if faults.is_empty() { Ok(read) } else { Err(read.shown(faults.into())) }
    }

    /// What was made of the file beyond what is written in it, in words.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The rows without a password, where they [may](Given::updates) lack it. They can be taken once.
    #[must_use]
    pub fn take_updates(&mut self) -> Vec<Update> {
        std::mem::take(&mut self.updates)
    }

    /// The bots, in the order of the file. They can be taken once.
    #[must_use]
    pub fn take(&mut self) -> Vec<NewBot> {
        std::mem::take(&mut self.bots)
    }

    /// The same error, saying of each fault which row and line it is on, as a person counts them. For what
    /// [`BotFarm::import`](botfarm_core::BotFarm::import) says of these bots.
    #[must_use]
    pub fn located(&self, error: Error) -> Error {
        let Error::Invalid { mut faults } = error else { return error };
        for fault in &mut faults {
            let row = row_of(fault).and_then(|bot| Some((bot, *self.numbers.get(bot)?)));
            if let Some((_, row)) = row.filter(|(bot, row)| bot != row) {
                fault.at = fault.at.clone().moved_to_row(row);
            }
        }
        self.shown(Error::Invalid { faults })
    }

    /// The same error, saying of each fault which row and line it is on. The places are in rows of the file, not of the bots.
    #[must_use]
    pub fn shown(&self, error: Error) -> Error {
        let Error::Invalid { mut faults } = error else { return error };
        for fault in &mut faults {
            if let Some(row) = row_of(fault) {
                let line = self.lines.get(row).map(|line| format!(" (line {line})")).unwrap_or_default();
                fault.detail = format!("row {}{line}: {}", row + 1, fault.detail);
            }
        }
        // Row by row, whoever found the fault; last what is said of the whole file.
        faults.sort_by_key(|fault| row_of(fault).unwrap_or(usize::MAX));
        Error::Invalid { faults }
    }
}

/// The row that a fault is in.
fn row_of(fault: &Fault) -> Option<usize> {
    fault.at.as_row()
}

/// A file that is being read.
struct Reading {
    read: Rows,
    given: Given,
    /// How many rows there were so far.
    count: usize,
    /// How many there may be.
    most: usize,
    faults: Faults,
}

impl Reading {
    /// Where the next row is.
    fn at(&self) -> Location {
        Location::row(self.count)
    }

    /// Takes the next row, unless it could not be parsed, and the faults found in it so far. `line` is where it begins, if
    /// the file has lines to speak of.
    fn row(&mut self, line: Option<u64>, row: Option<Value>, faults: Faults) -> Result<()> {
        if self.count == self.most {
            let detail = format!("must have at most {} rows; import it in parts", self.most);
            return Err(Error::invalid(Location::whole(), detail));
        }
        self.faults.append(faults);
        let row = row.map(|row| self.given.complete(row));
        let found = match row {
            Some(row) if self.given.updates && update::has_no_password(&row) => {
                Update::read(row, self.count).map(|update| self.read.updates.push(update))
            }
            Some(row) => NewUser::read(row, self.at()).map(|user| {
                self.read.bots.push(user.into());
                self.read.numbers.push(self.count);
            }),
            None => Ok(()),
        };
        if let Err(faults) = found {
            self.faults.append(faults);
        }
        self.read.lines.extend(line);
        self.count += 1;
        Ok(())
    }
}

fn malformed(detail: impl Into<String>) -> Error {
    Error::Malformed { detail: detail.into() }
}

#[cfg(test)]
mod tests;

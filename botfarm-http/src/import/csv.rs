//! Rows of CSV.

use std::io::Read;

use botfarm_core::{Fault, Faults, Result};
use csv::StringRecord;
use serde_json::{Map, Value};

use super::{Reading, malformed, source::Source};

/// What a column of a CSV file holds.
#[derive(Debug, PartialEq, Eq)]
enum Column {
    /// A field of its own.
    Field(&'static str),
    /// All labels.
    Labels,
    /// The label of this key.
    Label(String),
}

impl Column {
    fn of(name: &str) -> Option<Self> {
        Some(match name.trim() {
            "login" => Self::Field("login"),
            "password" => Self::Field("password"),
            "project_id" => Self::Field("project_id"),
            "env" => Self::Field("env"),
            "domain" => Self::Field("domain"),
            "labels" => Self::Labels,
            name => Self::Label(name.strip_prefix("label.").filter(|key| !key.is_empty())?.to_owned()),
        })
    }
}

/// Reads a file with a header row.
pub(super) fn read<R: Read>(file: &mut Source<R>, rows: &mut Reading) -> Result<()> {
    let mut budget = file.budget();
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
    let unreadable = |error: csv::Error| match error.kind() {
        csv::ErrorKind::Io(error) => malformed(error.to_string()),
        // Its messages name positions alone.
        _ => malformed(format!("the file is not CSV: {error}")),
    };
    let columns = columns(reader.headers().map_err(unreadable)?)?;
    let mut record = StringRecord::new();
    loop {
        budget.row(rows.count);
        if !reader.read_record(&mut record).map_err(unreadable)? {
            return Ok(());
        }
        let (at, line) = (rows.at(), record.position().map(csv::Position::line));
        let (row, faults) = if record.len() == columns.len() {
            row(&columns, &record, &at)
        } else {
            let detail = format!("must have {} cells, as the header row has; has {}", columns.len(), record.len());
            (None, Faults::from_iter([Fault::new(at, detail)]))
        };
        rows.row(line, row, faults)?;
    }
}

/// The columns that the header row names. A file without one may have a password in its first row: no cell of it is
/// repeated.
fn columns(header: &StringRecord) -> Result<Vec<Column>> {
    const KNOWN: &str = "login, password, project_id, env, domain, labels, label.<key>";
    let (mut columns, mut faults) = (Vec::new(), Faults::default());
    let mut fault = |detail: String| faults.push(Fault::new("", format!("the header row: {detail}")));
    // A bot has 64 labels at most.
    if header.len() > 100 {
        fault(format!("has {} columns; 100 is the most", header.len()));
    } else {
        for (number, name) in (1..).zip(header) {
            match Column::of(name) {
                None => fault(format!("column {number} is none of: {KNOWN}")),
                Some(column) if columns.contains(&column) => fault(format!("column {number} is there twice")),
                Some(column) => columns.push(column),
            }
        }
        for name in ["login", "password", "project_id", "env"] {
            if !columns.contains(&Column::Field(name)) {
                fault(format!("the column {name} is missing"));
            }
        }
    }
    if faults.is_empty() { Ok(columns) } else { Err(faults.into()) }
}

/// One row as the JSON that it stands for.
fn row(columns: &[Column], record: &StringRecord, at: &str) -> (Option<Value>, Faults) {
    let (mut row, mut labels, mut faults) = (Map::new(), Map::new(), Faults::default());
    let mut label = |key: &str, value: &str| {
        if labels.insert(key.to_owned(), value.into()).is_some() {
            faults.push(Fault::new(format!("{at}/labels"), "must not have a key twice"));
        }
    };
    let mut bad_labels = false;
    for (column, cell) in columns.iter().zip(record) {
        // Of a password, every space counts.
        let trimmed = unguarded(cell.trim());
        match column {
            Column::Field("password") if !cell.is_empty() => drop(row.insert("password".to_owned(), cell.into())),
            _ if trimmed.is_empty() => {}
            Column::Field(name) => drop(row.insert((*name).to_owned(), trimmed.into())),
            Column::Label(key) => label(key, trimmed),
            Column::Labels => {
                for pair in trimmed.split(';').filter(|pair| !pair.trim().is_empty()) {
                    match pair.split_once('=') {
                        Some((key, value)) => label(key.trim(), value.trim()),
                        None => bad_labels = true,
                    }
                }
            }
        }
    }
    if bad_labels {
        faults.push(Fault::new(format!("{at}/labels"), "must be key=value;key=value"));
    }
    if !labels.is_empty() {
        row.insert("labels".to_owned(), Value::Object(labels));
    }
    (Some(Value::Object(row)), faults)
}

/// A cell as it was before [`guarded`].
fn unguarded(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|rest| is_formula(rest)).unwrap_or(cell)
}

/// The text for a cell that a spreadsheet is not to take for a formula: with an apostrophe before it, which an import
/// takes away again.
#[must_use]
pub fn guarded(text: &str) -> String {
    if is_formula(text) { format!("'{text}") } else { text.to_owned() }
}

/// Whether a spreadsheet would compute it, or it was guarded by as many apostrophes.
fn is_formula(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_a_spreadsheet_would_compute_is_guarded_and_comes_back_as_it_was() {
        for (text, cell) in [
            ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@ada", "'@ada"),
            ("'=1", "''=1"),
            ("'tis", "'tis"),
            ("ada@example.com", "ada@example.com"),
            ("", ""),
        ] {
            assert_eq!(guarded(text), cell);
            assert_eq!(unguarded(cell), text);
        }
    }
}

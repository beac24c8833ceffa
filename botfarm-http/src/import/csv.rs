//! Rows of CSV.

use std::io::Read;

use botfarm_core::{Fault, Faults, Field, Location, Result};
use csv::StringRecord;
use serde_json::{Map, Value};

use super::{Given, Reading, malformed, source::Source};

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
    /// The field that a column of this name holds, with how well the name says so: the least says it best.
    fn field(name: &str) -> Option<(&'static str, usize)> {
        const NAMES: [(&str, &[&str]); 5] = [
            ("login", &["login", "username", "user", "email", "e-mail"]),
            ("password", &["password", "pass", "pwd"]),
            ("project_id", &["project_id", "project"]),
            ("env", &["env", "environment"]),
            ("domain", &["domain"]),
        ];
        NAMES.iter().find_map(|(field, names)| Some((*field, names.iter().position(|known| *known == name)?)))
    }
}

/// Reads a file with a header row.
pub(super) fn read<R: Read>(file: &mut Source<R>, rows: &mut Reading) -> Result<()> {
    let mut budget = file.budget();
    let separator = separator(file.start());
    let mut reader = csv::ReaderBuilder::new().flexible(true).delimiter(separator).from_reader(file);
    let unreadable = |error: csv::Error| match error.kind() {
        csv::ErrorKind::Io(error) => malformed(error.to_string()),
        // Its messages name positions alone.
        _ => malformed(format!("the file is not CSV: {error}")),
    };
    match separator {
        b';' => rows.read.notes.push("cells are separated by semicolons".to_owned()),
        b'\t' => rows.read.notes.push("cells are separated by tabs".to_owned()),
        _ => {}
    }
    let columns = columns(reader.headers().map_err(unreadable)?, &rows.given, &mut rows.read.notes)?;
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

/// The key of a column `label.<key>`.
fn label_key(name: &str) -> Option<&str> {
    let (prefix, key) = name.split_once('.')?;
    (prefix.eq_ignore_ascii_case("label") && !key.is_empty()).then_some(key)
}

/// What separates the cells: of those that spreadsheets write, the one that the header row has most of.
fn separator(start: &[u8]) -> u8 {
    let (mut counts, mut is_quoted) = ([(b',', 0), (b';', 0), (b'\t', 0)], false);
    for byte in start.iter().take_while(|byte| !matches!(byte, b'\n' | b'\r')) {
        is_quoted ^= *byte == b'"';
        if let Some((_, count)) = counts.iter_mut().find(|(separator, _)| separator == byte && !is_quoted) {
            *count += 1;
        }
    }
    // Of equals the first.
    let [first, rest @ ..] = counts;
    rest.into_iter().fold(first, |most, next| if next.1 > most.1 { next } else { most }).0
}

/// The columns that the header row names. A file without one may have a password in its first row: no cell of it is
/// repeated, unless there is one that is called like the login.
fn columns(header: &StringRecord, given: &Given, notes: &mut Vec<String>) -> Result<Vec<Column>> {
    const KNOWN: &str = "login, password, project_id, env, domain, labels, label.<key>";
    let (mut columns, mut faults) = (Vec::new(), Faults::default());
    let mut fault = |detail: String| faults.push(Fault::new(Location::whole(), format!("the header row: {detail}")));
    // A bot has 64 labels at most.
    if header.len() > 100 {
        fault(format!("has {} columns; 100 is the most", header.len()));
        return Err(faults.into());
    }
    let names: Vec<_> = header.iter().map(|name| name.trim().to_lowercase()).collect();
    // Where several columns could be a field, the one whose name says it best.
    let best = |field: &str| {
        let is_label = |name: &&String| given.label(name).is_none();
        let ranks = names.iter().filter(is_label).filter_map(|name| Column::field(name));
        ranks.filter(|(of, _)| *of == field).map(|(_, rank)| rank).min()
    };
    let is_a_header = best("login").is_some();
    let mut labels = Vec::new();
    for (number, (name, written)) in (1..).zip(names.iter().zip(header.iter().map(str::trim))) {
        let shown = if is_a_header { format!("column {number} ({written})") } else { format!("column {number}") };
        let column = if let Some(label) = given.label(name) {
            labels.push(label.to_owned());
            Column::Label(label.to_owned())
        } else if let Some((field, rank)) = Column::field(name).filter(|(field, rank)| best(field) == Some(*rank)) {
            if rank > 0 {
                notes.push(format!("{shown} is the {field}"));
            }
            Column::Field(field)
        } else if name == "labels" {
            Column::Labels
        } else if let Some(key) = label_key(written) {
            Column::Label(key.to_owned())
        } else {
            fault(format!(
                "{shown} is none of: {KNOWN}; to make it a label, name it in --labels, or call it label.<key>"
            ));
            continue;
        };
        if columns.contains(&column) {
            fault(format!("{shown} is there twice"));
        } else {
            columns.push(column);
        }
    }
    if !labels.is_empty() {
        notes.push(format!("labels are: {}", labels.join(", ")));
    }
    for label in given.labels.iter().filter(|label| !labels.contains(label)) {
        fault(format!("has no column {label}, which --labels names"));
    }
    for name in ["login", "password", "project_id", "env"] {
        if !columns.contains(&Column::Field(name)) && !given.has(name) {
            let flag = match name {
                "project_id" => "; --project gives it for all rows",
                "env" => "; --env gives it for all rows",
                _ => "",
            };
            fault(format!("the column {name} is missing{flag}"));
        }
    }
    if faults.is_empty() { Ok(columns) } else { Err(faults.into()) }
}

/// One row as the JSON that it stands for.
fn row(columns: &[Column], record: &StringRecord, at: &Location) -> (Option<Value>, Faults) {
    let (mut row, mut labels, mut faults) = (Map::new(), Map::new(), Faults::default());
    let mut label = |key: &str, value: &str| {
        if labels.insert(key.to_owned(), value.into()).is_some() {
            faults.push(Fault::new(at.clone().field(Field::Labels), "must not have a key twice"));
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
        faults.push(Fault::new(at.clone().field(Field::Labels), "must be key=value;key=value"));
    }
    // Where the file has labels, a row without any says that the account has none.
    if columns.iter().any(|column| !matches!(column, Column::Field(_))) {
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

//! Reads files of bots: JSON, NDJSON and CSV.

use std::path::Path;

use botfarm_core::{Error, Fault, NewBot, Result, input};
use serde_json::{Map, Value};

/// How a file of bots is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A JSON array of objects with `login`, `password`, `project_id`, `env`, and optionally `domain` and `labels`.
    Json,
    /// One such object a line. Empty lines are passed over.
    Ndjson,
    /// Comma-separated, with a header row that names the columns, in any order: `login`, `password`, `project_id`,
    /// `env`, and optionally `domain`, `labels` (as `key=value;key=value`) and `label.<key>`. An empty cell is one that
    /// is not given.
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
    /// The line on which each row begins, counted from 1; empty where a file has no lines to speak of.
    lines: Vec<u64>,
}

impl Rows {
    /// Reads a file, all of it.
    ///
    /// # Errors
    /// `Malformed` when it is not what `format` says. `Invalid` with every fault of every row: the pointer begins with
    /// the row's number from 0, and the detail with its number from 1 and its line.
    pub fn read(format: Format, file: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(file).map_err(|_| malformed("the file must be UTF-8"))?;
        // As spreadsheets write it.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let Parsed { rows, lines, mut faults } = match format {
            Format::Json => json(text)?,
            Format::Ndjson => ndjson(text),
            Format::Csv => csv(text)?,
        };
        let mut bots = Vec::with_capacity(rows.len());
        for (index, row) in rows.into_iter().enumerate() {
            // A row that could not be parsed has its fault already.
            let Some(row) = row else { continue };
            match input::new_bot(row, &format!("/{index}")) {
                Ok(bot) => bots.push(bot),
                Err(more) => faults.extend(more),
            }
        }
        let read = Self { bots, lines };
        if faults.is_empty() { Ok(read) } else { Err(read.located(Error::Invalid { faults })) }
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
            let row = fault.pointer.split('/').nth(1).and_then(|row| row.parse::<usize>().ok());
            if let Some(row) = row {
                let line = self.lines.get(row).map(|line| format!(" (line {line})")).unwrap_or_default();
                fault.detail = format!("row {}{line}: {}", row + 1, fault.detail);
            }
        }
        // Row by row, whoever found the fault.
        faults.sort_by_key(|fault| fault.pointer.split('/').nth(1).and_then(|row| row.parse::<usize>().ok()));
        Error::Invalid { faults }
    }
}

/// What a format makes of a file.
struct Parsed {
    /// The rows; `None` for one that has its fault already.
    rows: Vec<Option<Value>>,
    lines: Vec<u64>,
    faults: Vec<Fault>,
}

fn malformed(detail: impl Into<String>) -> Error {
    Error::Malformed { detail: detail.into() }
}

fn json(text: &str) -> Result<Parsed> {
    let file: Value =
        serde_json::from_str(text).map_err(|error| malformed(format!("the file is not JSON: {error}")))?;
    let Value::Array(rows) = file else { return Err(Error::invalid("", "must be a JSON array")) };
    Ok(Parsed { rows: rows.into_iter().map(Some).collect(), lines: Vec::new(), faults: Vec::new() })
}

fn ndjson(text: &str) -> Parsed {
    let mut parsed = Parsed { rows: Vec::new(), lines: Vec::new(), faults: Vec::new() };
    for (line, text) in (1..).zip(text.lines()) {
        if text.trim().is_empty() {
            continue;
        }
        let row = serde_json::from_str(text);
        if row.is_err() {
            parsed.faults.push(Fault::new(format!("/{}", parsed.rows.len()), "is not JSON"));
        }
        parsed.rows.push(row.ok());
        parsed.lines.push(line);
    }
    parsed
}

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

fn csv(text: &str) -> Result<Parsed> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    // Its messages name positions alone.
    let unreadable = |error: csv::Error| malformed(format!("the file is not CSV: {error}"));
    let columns = columns(reader.headers().map_err(unreadable)?)?;
    let mut parsed = Parsed { rows: Vec::new(), lines: Vec::new(), faults: Vec::new() };
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        let at = format!("/{}", parsed.rows.len());
        parsed.lines.push(record.position().map_or(0, csv::Position::line));
        if record.len() == columns.len() {
            let row = csv_row(&columns, &record, &at, &mut parsed.faults);
            parsed.rows.push(Some(row));
        } else {
            let detail = format!("must have {} cells, as the header row has; has {}", columns.len(), record.len());
            parsed.faults.push(Fault::new(at, detail));
            parsed.rows.push(None);
        }
    }
    Ok(parsed)
}

/// The columns that the header row names. A file without one may have a password in its first row: no cell of it is
/// repeated.
fn columns(header: &csv::StringRecord) -> Result<Vec<Column>> {
    const KNOWN: &str = "login, password, project_id, env, domain, labels, label.<key>";
    let (mut columns, mut faults) = (Vec::new(), Vec::new());
    for (number, name) in (1..).zip(header) {
        match Column::of(name) {
            None => faults.push(format!("column {number} is none of: {KNOWN}")),
            Some(column) if columns.contains(&column) => faults.push(format!("column {number} is there twice")),
            Some(column) => columns.push(column),
        }
    }
    for name in ["login", "password", "project_id", "env"] {
        if !columns.contains(&Column::Field(name)) {
            faults.push(format!("the column {name} is missing"));
        }
    }
    if faults.is_empty() {
        return Ok(columns);
    }
    let faults = faults.into_iter().map(|detail| Fault::new("", format!("the header row: {detail}"))).collect();
    Err(Error::Invalid { faults })
}

/// One row as the JSON that it stands for.
fn csv_row(columns: &[Column], record: &csv::StringRecord, at: &str, faults: &mut Vec<Fault>) -> Value {
    let (mut row, mut labels) = (Map::new(), Map::new());
    let mut label = |key: &str, value: &str| {
        if labels.insert(key.to_owned(), value.into()).is_some() {
            faults.push(Fault::new(format!("{at}/labels"), "must not have a key twice"));
        }
    };
    let mut bad_labels = false;
    for (column, cell) in columns.iter().zip(record) {
        // Of a password, every space counts.
        let trimmed = cell.trim();
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
    Value::Object(row)
}

#[cfg(test)]
mod tests {
    use botfarm_core::{Domain, Env, Labels};

    use super::*;

    const PROJECT: &str = "00000000-0000-4000-8000-000000000001";

    fn faults(format: Format, file: &str) -> Vec<(String, String)> {
        match Rows::read(format, file.as_bytes()).unwrap_err() {
            Error::Invalid { faults } => faults.into_iter().map(|fault| (fault.pointer, fault.detail)).collect(),
            error => panic!("{error:?}"),
        }
    }

    fn fault(pointer: &str, detail: &str) -> (String, String) {
        (pointer.to_owned(), detail.to_owned())
    }

    #[test]
    fn one_bot_reads_the_same_from_every_format() {
        let labels = Labels::try_from([("plan", "pro"), ("role", "admin")]).unwrap();
        let bot = NewBot::new(
            "ada".try_into().unwrap(),
            " s3cret, \"quoted\" ".try_into().unwrap(),
            PROJECT.parse().unwrap(),
            Env::Stage,
        )
        .domain(Domain::Regular)
        .labels(labels);
        let json = format!(
            r#"{{"login": "ada", "password": " s3cret, \"quoted\" ", "project_id": "{PROJECT}", "env": "stage",
            "domain": "regular", "labels": {{"plan": "pro", "role": "admin"}}}}"#
        );
        let csv = format!(
            "\u{feff}env,login,password,project_id,labels,label.plan,domain,label.empty\r\n\
             stage, ada ,\" s3cret, \"\"quoted\"\" \",{PROJECT},role=admin; ,pro,regular,\r\n"
        );
        for (format, file) in [
            (Format::Json, format!("[{json}]")),
            (Format::Ndjson, format!("\n{}\n\n", json.replace('\n', " "))),
            (Format::Csv, csv),
        ] {
            assert_eq!(Rows::read(format, file.as_bytes()).unwrap().take(), std::slice::from_ref(&bot), "{format:?}");
        }
    }

    #[test]
    fn a_csv_fault_names_the_row_and_the_line_as_a_person_counts_them() {
        let file = format!(
            "login,password,project_id,env,labels\nada,\"two\nlines\",{PROJECT},stage,\nbob,,{PROJECT},moon,broken\nc,d\n"
        );
        assert_eq!(
            faults(Format::Csv, &file),
            [
                fault("/1/labels", "row 2 (line 4): must be key=value;key=value"),
                fault("/1/password", "row 2 (line 4): is required"),
                fault("/1/env", "row 2 (line 4): must be one of prod, preprod, stage"),
                fault("/2", "row 3 (line 5): must have 5 cells, as the header row has; has 2"),
            ]
        );
    }

    #[test]
    fn a_csv_file_without_a_header_row_shows_no_password() {
        let faults = faults(Format::Csv, &format!("ada,hunter2,{PROJECT},stage\n"));
        assert_eq!(faults.len(), 8, "{faults:?}");
        assert!(!format!("{faults:?}").contains("hunter2"), "{faults:?}");
    }

    #[test]
    fn an_ndjson_fault_names_its_line_past_the_empty_ones() {
        let file = "\n{\"login\": \n\n7\n";
        assert_eq!(
            faults(Format::Ndjson, file),
            [fault("/0", "row 1 (line 2): is not JSON"), fault("/1", "row 2 (line 4): must be a JSON object")]
        );
    }

    #[test]
    fn what_is_no_file_of_bots_is_refused() {
        assert_eq!(faults(Format::Json, "{}"), [fault("", "must be a JSON array")]);
        for (format, file) in [(Format::Json, &b"[1"[..]), (Format::Csv, b"\xff"), (Format::Ndjson, b"\xff")] {
            assert_eq!(Rows::read(format, file).unwrap_err().code(), "malformed");
        }
    }
}

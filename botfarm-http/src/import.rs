//! Reads files of bots: JSON, NDJSON and CSV.

mod csv;
mod given;
mod json;
mod source;
mod update;

use std::{io::Read, path::Path};

use botfarm_core::{Error, Fault, Faults, NewBot, Result, input};
use serde_json::Value;

use self::source::Source;
pub use self::{csv::guarded, given::Given, update::Update};

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
    /// `most` rows, or with the faults of its rows, as [`Faults`] lists them: the pointer begins with the row's number
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
            if let Some((bot, row)) = row.filter(|(bot, row)| bot != row) {
                fault.pointer = fault.pointer.replacen(&format!("/{bot}"), &format!("/{row}"), 1);
            }
        }
        self.shown(Error::Invalid { faults })
    }

    /// The same error, saying of each fault which row and line it is on. The pointers name rows, not bots.
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
    fault.pointer.split('/').nth(1)?.parse().ok()
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
    fn at(&self) -> String {
        format!("/{}", self.count)
    }

    /// Takes the next row, unless it could not be parsed, and the faults found in it so far. `line` is where it begins, if
    /// the file has lines to speak of.
    fn row(&mut self, line: Option<u64>, row: Option<Value>, faults: Faults) -> Result<()> {
        if self.count == self.most {
            let detail = format!("must have at most {} rows; import it in parts", self.most);
            return Err(Error::invalid("", detail));
        }
        self.faults.append(faults);
        let row = row.map(|row| self.given.complete(row));
        let found = match row {
            Some(row) if self.given.updates && update::has_no_password(&row) => {
                Update::read(row, self.count).map(|update| self.read.updates.push(update))
            }
            Some(row) => input::new_bot(row, &self.at()).map(|bot| {
                self.read.bots.push(bot);
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
mod tests {
    use botfarm_core::{Domain, Env, Labels};

    use super::*;

    const PROJECT: &str = "00000000-0000-4000-8000-000000000001";

    fn faults(format: Format, file: &str) -> Vec<(String, String)> {
        match Rows::read(format, file.as_bytes(), 10).unwrap_err() {
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
            Env::STAGE,
        )
        .domain(Domain::REGULAR)
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
            assert_eq!(
                Rows::read(format, file.as_bytes(), 10).unwrap().take(),
                std::slice::from_ref(&bot),
                "{format:?}"
            );
        }
    }

    #[test]
    fn a_csv_fault_names_the_row_and_the_line_as_a_person_counts_them() {
        let file = format!(
            "login,password,project_id,env,labels\nada,\"two\nlines\",{PROJECT},stage,\nbob,,{PROJECT},the moon,broken\nc,d\n"
        );
        assert_eq!(
            faults(Format::Csv, &file),
            [
                fault("/1/labels", "row 2 (line 4): must be key=value;key=value"),
                fault("/1/password", "row 2 (line 4): is required"),
                fault(
                    "/1/env",
                    "row 2 (line 4): must be a name: 1 to 64 of a-z, 0-9, '.', '_' and '-', of which the first is a letter or a digit"
                ),
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

    fn given(labels: &[&str]) -> Given {
        Given {
            project: Some("shop".parse().unwrap()),
            env: Some(Env::STAGE),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            ..Given::default()
        }
    }

    #[test]
    fn columns_are_called_and_separated_as_spreadsheets_have_them() {
        let expected =
            NewBot::new("ada".try_into().unwrap(), "a,b;c".try_into().unwrap(), "shop".parse().unwrap(), Env::STAGE);
        for file in [
            "username,pass\nada,\"a,b;c\"\n",
            "User;PASSWORD\nada;\"a,b;c\"\n",
            "\u{feff}\"E-Mail\"\tpwd\r\nada\ta,b;c\r\n",
            "login,password,env\nada,\"a,b;c\",\n",
            "project;login;password\n;ada;\"a,b;c\"\n",
        ] {
            let mut rows = Rows::read_given(Format::Csv, file.as_bytes(), 10, given(&[])).unwrap();
            assert_eq!(rows.take(), std::slice::from_ref(&expected), "{file}");
        }
        let both = "email,username,password\na@b,ada,\"a,b;c\"\n";
        let Error::Invalid { faults } = Rows::read_given(Format::Csv, both.as_bytes(), 10, given(&[])).unwrap_err()
        else {
            panic!("one of them is no login")
        };
        assert!(faults[0].detail.starts_with("the header row: column 1 (email) is none of"), "{faults:?}");
        let mut rows = Rows::read_given(Format::Csv, both.as_bytes(), 10, given(&["Email"])).unwrap();
        assert_eq!(rows.notes(), ["column 2 (username) is the login", "labels are: Email"]);
        let labels = Labels::try_from([("Email", "a@b")]).unwrap();
        assert_eq!(rows.take(), [NewBot { labels, ..expected }]);
        let none = Rows::read_given(Format::Csv, both.as_bytes(), 10, given(&["email", "team"])).unwrap_err();
        assert!(none.to_string().contains("has no column team, which --labels names"), "{none}");
    }

    #[test]
    fn a_row_without_a_password_is_an_update_where_it_may_be() {
        let file = "login,password,env,label.role\nada,,qa,admin\nben,x,qa,\n";
        let all = Given { updates: true, project: Some("shop".parse().unwrap()), ..Given::default() };
        let mut rows = Rows::read_given(Format::Csv, file.as_bytes(), 10, all).unwrap();
        let labels = Labels::try_from([("role", "admin")]).unwrap();
        let changes = botfarm_core::BotChanges {
            labels: Some(labels),
            project: Some("shop".parse().unwrap()),
            ..Default::default()
        };
        let update = Update { row: 0, login: "ada".parse().unwrap(), env: "qa".parse().unwrap(), changes };
        assert_eq!(rows.take_updates(), [update]);
        assert_eq!(rows.take().len(), 1);
        // What the farm says of its first bot is of the second row.
        let Error::Invalid { faults } = rows.located(Error::invalid("/0/domain", "is wrong")) else { panic!("it is") };
        assert_eq!(faults, [Fault::new("/1/domain", "row 2 (line 3): is wrong")]);
        let missing = faults_of(Rows::read_given(Format::Csv, file.as_bytes(), 10, given(&[])));
        assert_eq!(missing, ["row 1 (line 2): is required"]);
    }

    fn faults_of(read: Result<Rows>) -> Vec<String> {
        match read.unwrap_err() {
            Error::Invalid { faults } => faults.into_iter().map(|fault| fault.detail).collect(),
            error => panic!("{error:?}"),
        }
    }

    #[test]
    fn an_ndjson_fault_names_its_line_past_the_empty_ones() {
        let file = "\n{\"login\": \n\n7\n";
        assert_eq!(
            faults(Format::Ndjson, file),
            [
                fault("/0", "row 1 (line 2): is not JSON, or has a field twice"),
                fault("/1", "row 2 (line 4): must be a JSON object")
            ]
        );
    }

    /// A file that never ends, and counts how much of it was read.
    struct Endless<'a> {
        begins: &'a [u8],
        goes_on: &'a [u8],
        read: &'a mut usize,
    }

    impl Read for Endless<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let mut text = self.begins.iter().chain(self.goes_on.iter().cycle()).skip(*self.read);
            buffer.fill_with(|| *text.next().unwrap());
            *self.read += buffer.len();
            Ok(buffer.len())
        }
    }

    #[test]
    fn no_more_of_a_file_is_read_than_it_takes_to_refuse_it() {
        let (row, header) = (r#"{"login": 1}"#, "login,password,project_id,env\n");
        let many = "must have at most 10 rows; import it in parts";
        let long = "row 1 has more than 262144 bytes";
        for (format, begins, goes_on, code, expected) in [
            (Format::Json, "[", &*format!("{row},"), "invalid", many),
            (Format::Ndjson, "", &*format!("{row}\n"), "invalid", many),
            (Format::Csv, header, "a,b,c,d\n", "invalid", many),
            (Format::Json, "[{\"login\": \"", "x", "malformed", long),
            (Format::Ndjson, "{\"login\": \"", "x", "malformed", long),
            (Format::Csv, header, "x", "malformed", long),
        ] {
            let mut read = 0;
            let file = Endless { begins: begins.as_bytes(), goes_on: goes_on.as_bytes(), read: &mut read };
            let error = Rows::read(format, file, 10).unwrap_err();
            assert_eq!(error.code(), code, "{format:?}");
            assert!(error.to_string().contains(expected), "{format:?}: {error}");
            assert!(read < 300_000, "{format:?}: {read}");
        }
    }

    #[test]
    fn a_row_with_a_field_twice_is_refused() {
        let row = r#"{"login": "ada", "login": "bob"}"#;
        assert_eq!(faults(Format::Ndjson, row), [fault("/0", "row 1 (line 1): is not JSON, or has a field twice")]);
        let error = Rows::read(Format::Json, format!("[{row}]").as_bytes(), 10).unwrap_err().to_string();
        assert!(error.contains("an object has a field twice at line 1"), "{error}");
    }

    #[test]
    fn the_faults_of_a_file_end_after_a_hundred() {
        let file = "{}\n".repeat(1_000);
        let Error::Invalid { faults } = Rows::read(Format::Ndjson, file.as_bytes(), 1_000).unwrap_err() else {
            panic!("rows without a login are faults")
        };
        assert_eq!(faults.len(), 101);
        assert_eq!(faults[100], Fault::new("", "and 3900 more faults"));
    }

    #[test]
    fn what_is_no_file_of_bots_is_refused() {
        assert_eq!(faults(Format::Json, "{}"), [fault("", "must be a JSON array")]);
        for (format, file) in [(Format::Json, &b"[1"[..]), (Format::Csv, b"\xff"), (Format::Ndjson, b"\xff")] {
            assert_eq!(Rows::read(format, file, 10).unwrap_err().code(), "malformed");
        }
    }
}

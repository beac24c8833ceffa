use botfarm_core::{Domain, Env, Field, Labels, Location};

use super::*;

const PROJECT: &str = "00000000-0000-4000-8000-000000000001";

fn faults(format: Format, file: &str) -> Vec<(String, String)> {
    match Rows::read(format, file.as_bytes(), 10).unwrap_err() {
        Error::Invalid { faults } => {
            faults.into_iter().map(|fault| (crate::wire::pointer(&fault.at), fault.detail)).collect()
        }
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
        assert_eq!(Rows::read(format, file.as_bytes(), 10).unwrap().take(), std::slice::from_ref(&bot), "{format:?}");
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
    let Error::Invalid { faults } = Rows::read_given(Format::Csv, both.as_bytes(), 10, given(&[])).unwrap_err() else {
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
    let changes =
        botfarm_core::BotChanges { labels: Some(labels), project: Some("shop".parse().unwrap()), ..Default::default() };
    let update = Update { row: 0, login: "ada".parse().unwrap(), env: "qa".parse().unwrap(), changes };
    assert_eq!(rows.take_updates(), [update]);
    assert_eq!(rows.take().len(), 1);
    // What the farm says of its first bot is of the second row.
    let Error::Invalid { faults } = rows.located(Error::invalid(Location::row(0).field(Field::Domain), "is wrong"))
    else {
        panic!("it is")
    };
    assert_eq!(faults, [Fault::new(Location::row(1).field(Field::Domain), "row 2 (line 3): is wrong")]);
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
    assert_eq!(faults[100], Fault::new(Location::whole(), "and 3900 more faults"));
}

#[test]
fn what_is_no_file_of_bots_is_refused() {
    assert_eq!(faults(Format::Json, "{}"), [fault("", "must be a JSON array")]);
    for (format, file) in [(Format::Json, &b"[1"[..]), (Format::Csv, b"\xff"), (Format::Ndjson, b"\xff")] {
        assert_eq!(Rows::read(format, file, 10).unwrap_err().code(), "malformed");
    }
}

//! Who a service lets in, and the commands that look after it.

use std::process::Stdio;

use botfarm::MasterKey;
use postgres_lab::Database;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::Command,
    time::timeout,
};

use crate::{
    secrets::is_secret,
    service::{PATIENCE, PROJECT, Running, Service, at_terminal, bare, finish},
};

pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// Where services and commands are run: a folder, and perhaps a database.
struct Ground {
    folder: TempDir,
    vars: Vec<(&'static str, String)>,
    _database: Option<Database>,
}

impl Ground {
    fn in_memory() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            vars: vec![("RUST_LOG", "warn".to_owned()), ("BOTFARM_STORE", "memory:".to_owned())],
            _database: None,
        }
    }

    async fn on_database() -> Self {
        let database = Database::new().await;
        let key = MasterKey::generate().expose_base64().to_string();
        let vars = vec![
            ("RUST_LOG", "warn".to_owned()),
            ("BOTFARM_URL", database.url()),
            ("BOTFARM_STORE", database.url()),
            ("BOTFARM_KEY", key),
        ];
        Self { folder: TempDir::new().unwrap(), vars, _database: Some(database) }
    }

    fn with(&self, vars: &[(&'static str, &str)]) -> Self {
        let more = vars.iter().map(|(name, value)| (*name, (*value).to_owned()));
        Self { folder: TempDir::new().unwrap(), vars: self.vars.iter().cloned().chain(more).collect(), _database: None }
    }

    fn botfarm(&self, arguments: &[&str]) -> Command {
        let mut command = bare(&self.folder);
        command.args(arguments).envs(self.vars.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The exit code, and what is said, of a command that prints nothing.
    async fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let (code, stdout, said) = finish(self.botfarm(arguments)).await;
        assert_eq!(stdout, "", "{arguments:?}: {said}");
        (code, said)
    }

    async fn output(&self, arguments: &[&str]) -> String {
        let (code, stdout, said) = finish(self.botfarm(arguments)).await;
        assert_eq!(code, 0, "{arguments:?}: {said}");
        assert!(!said.contains(PASSWORD) && !stdout.contains(PASSWORD), "{said} {stdout}");
        stdout
    }

    /// Adds an operator, with the password on stdin.
    async fn add(&self, login: &str, role: &str) -> (i32, String) {
        let mut command = self.botfarm(&["operator", "add", login, "--role", role, "--password-file", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(format!("{PASSWORD}\n").as_bytes()).await.unwrap();
        drop(stdin);
        let output = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!said.contains(PASSWORD), "{said}");
        (output.status.code().unwrap(), said)
    }

    async fn serve(&self, arguments: &[&str]) -> Service {
        let command = self.botfarm(&[&["serve", "--listen", "127.0.0.1:0", "--auth", "required"], arguments].concat());
        Service::start(TempDir::new().unwrap(), command).await
    }
}

/// The status, and the answer.
async fn log_in(service: &Service, login: &str, password: &str) -> (u16, Value) {
    let address = service.url.strip_prefix("http://").unwrap();
    is_secret(PASSWORD);
    let body = json!({"login": login, "password": password}).to_string();
    let length = body.len();
    let head = format!(
        "POST /api/v1/login HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, connection.read_to_string(&mut answer)).await.expect("it answers").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

/// Logs in; gives the access token.
pub(crate) async fn session(service: &Service, login: &str) -> String {
    let (status, answer) = log_in(service, login, PASSWORD).await;
    assert_eq!(status, 200, "{answer}");
    let token = answer["access_token"].as_str().unwrap();
    is_secret(token);
    token.to_owned()
}

/// A command for a service, with this token.
fn with_token(service: &Service, token: &str, arguments: &[&str]) -> Command {
    is_secret(token);
    let mut command = service.botfarm(arguments);
    command.env("BOTFARM_TOKEN", token);
    command
}

const ADMIN: [(&str, &str); 2] = [("BOTFARM_ADMIN_LOGIN", "ann"), ("BOTFARM_ADMIN_PASSWORD", PASSWORD)];

#[tokio::test]
async fn the_first_admin_comes_from_the_environment() {
    let ground = Ground::in_memory().with(&ADMIN);
    let service = ground.serve(&[]).await;
    assert_eq!(log_in(&service, "ann", "wrong").await.0, 401);
    let session = session(&service, "ann").await;
    let (code, listed, _) = finish(with_token(&service, &session, &["operator", "list", "--format", "json"])).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((code, listed[0]["login"].as_str(), listed[0]["role"].as_str()), (0, Some("ann"), Some("admin")));
    let (code, _, said) = finish(service.botfarm(&["users"])).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("say who you are"), "{said}");
}

#[tokio::test]
async fn the_first_admins_password_may_be_in_a_file() {
    let ground = Ground::in_memory();
    let file = ground.folder.path().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let ground = Ground {
        vars: vec![("BOTFARM_ADMIN_LOGIN", "ann".to_owned()), ("BOTFARM_ADMIN_PASSWORD_FILE", file)],
        ..ground
    };
    session(&ground.serve(&[]).await, "ann").await;
}

#[tokio::test]
async fn a_password_of_the_environment_that_is_none_to_have_or_not_the_admins_is_said() {
    let ground = Ground::in_memory();
    let store = format!("sqlite:{}", ground.folder.path().join("farm.db").display());
    let serve = ["serve", "--listen", "127.0.0.1:0", "--auth", "required", "--until-eof"];
    let with = |login: &'static str, password: &'static str| {
        ground.with(&[("BOTFARM_STORE", &store), ("BOTFARM_ADMIN_LOGIN", login), ("BOTFARM_ADMIN_PASSWORD", password)])
    };
    let (code, said) = with("ann", "elevenchars").refused(&serve[..5]).await;
    assert!(code == 2 && said.contains("BOTFARM_ADMIN_PASSWORD") && said.contains("at least 12 characters"), "{said}");
    for (login, password, expected) in [
        ("ann", PASSWORD, ""),
        ("ann", PASSWORD, ""),
        ("ann", "another one, as one goes", "`botfarm operator passwd ann` gives it another"),
        ("bob", PASSWORD, "BOTFARM_ADMIN_LOGIN names bob, who is no operator"),
    ] {
        let ground = with(login, password);
        let mut command = ground.botfarm(&serve);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut listens = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut listens).await.unwrap();
        drop(child.stdin.take());
        let output = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((said.contains(expected), said.contains("WARN")), (true, !expected.is_empty()), "{said}");
        assert!(!said.contains(password), "{said}");
    }
}

#[tokio::test]
async fn a_login_without_a_password_is_no_admin() {
    for vars in [&ADMIN[..1], &ADMIN[1..]] {
        let ground = Ground::in_memory().with(vars);
        let (code, said) = ground.refused(&["serve", "--listen", "127.0.0.1:0", "--auth", "required"]).await;
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("belong together") && !said.contains(PASSWORD), "{said}");
    }
}

#[tokio::test]
async fn a_service_that_others_reach_does_not_start_unsafe() {
    let ground = Ground::in_memory();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let (code, said) = ground.refused(&["serve", "--listen", address]).await;
        assert!(code == 2 && said.contains("--auth required") && said.contains("--auth none"), "{said}");
        let (code, said) = ground.refused(&["serve", "--listen", address, "--auth", "required"]).await;
        assert!(code == 2 && said.contains("there is no operator"), "{said}");
        assert!(said.contains("BOTFARM_ADMIN_LOGIN") && said.contains("botfarm operator add"), "{said}");
    }
    let ground = ground.with(&ADMIN);
    let command = ground.botfarm(&["serve", "--listen", "0.0.0.0:0", "--auth", "required"]);
    let mut service = Service::start(TempDir::new().unwrap(), command).await;
    service.url = service.url.replace("0.0.0.0", "127.0.0.1");
    session(&service, "ann").await;
}

/// A farm in a file, which has not been opened yet.
fn in_file() -> Ground {
    Ground { folder: TempDir::new().unwrap(), vars: vec![("RUST_LOG", "info".to_owned())], _database: None }
}

#[tokio::test]
async fn the_first_start_of_a_farm_in_a_file_makes_an_admin_and_says_where_the_password_is() {
    use std::os::unix::fs::PermissionsExt as _;

    let ground = in_file();
    let start = async || {
        let mut command = bare(&ground.folder);
        command.args(["serve", "--listen", "127.0.0.1:0", "--auth", "required"]);
        Service::start(TempDir::new().unwrap(), command).await
    };
    let service = start().await;
    let file = ground.folder.path().join("botfarm-data/farm.db.admin-password");
    let password = std::fs::read_to_string(&file).unwrap();
    let password = password.strip_suffix('\n').unwrap();
    is_secret(password);
    assert_eq!(password.len(), 32);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (status, answer) = log_in(&service, "admin", password).await;
    assert_eq!(status, 200, "{answer}");
    is_secret(answer["access_token"].as_str().unwrap());
    let said = service.end().await;
    assert!(said.contains("botfarm-data/farm.db.admin-password") && !said.contains(password), "{said}");

    // Whoever has read it takes it away; it is not made again, and the admin stays.
    std::fs::remove_file(&file).unwrap();
    let service = start().await;
    assert_eq!(log_in(&service, "admin", password).await.0, 200);
    let said = service.end().await;
    assert!(!file.exists() && !said.contains("made the first admin"), "{said}");
}

#[tokio::test]
async fn an_admin_that_the_environment_names_is_the_first_of_a_farm_in_a_file() {
    let ground = in_file().with(&ADMIN);
    let service = ground.serve(&[]).await;
    session(&service, "ann").await;
    assert_eq!(log_in(&service, "admin", "admin").await.0, 401);
    assert!(!ground.folder.path().join("botfarm-data/farm.db.admin-password").exists());
}

#[tokio::test]
async fn nobody_is_put_unasked_into_a_database_that_others_share() {
    let ground = Ground::on_database().await;
    let (code, said) = ground.refused(&["serve", "--listen", "127.0.0.1:0", "--auth", "required"]).await;
    assert!(code == 2 && said.contains("there is no operator") && said.contains("botfarm operator add"), "{said}");
}

#[tokio::test]
async fn a_key_that_nothing_is_sealed_with_is_warned_of() {
    let key = MasterKey::generate().expose_base64().to_string();
    let ground = Ground::in_memory().with(&[("BOTFARM_KEY", &key)]);
    let command = ground.botfarm(&["serve", "--listen", "127.0.0.1:0"]);
    let said = Service::start(TempDir::new().unwrap(), command).await.end().await;
    assert!(said.contains("BOTFARM_KEY is of no use"), "{said}");
    let in_file = in_file().with(&[("BOTFARM_KEY", &key)]);
    let command = in_file.botfarm(&["serve", "--listen", "127.0.0.1:0", "--auth", "required"]);
    let said = Service::start(TempDir::new().unwrap(), command).await.end().await;
    assert!(!said.contains("BOTFARM_KEY"), "{said}");
}

#[tokio::test]
async fn a_service_is_no_store() {
    let ground = Ground::in_memory();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--store", "http://127.0.0.1:8000"];
    let (code, said) = ground.refused(&arguments).await;
    assert!(code == 2 && said.contains("give --store sqlite:PATH"), "{said}");
}

#[tokio::test]
async fn a_farm_in_memory_has_no_operators_to_look_after_from_outside() {
    let ground = Ground::in_memory().with(&[("BOTFARM_URL", "memory:")]);
    for arguments in [["operator", "list"], ["token", "list"]] {
        let (code, said) = ground.refused(&arguments).await;
        assert!(code == 2 && said.contains("botfarm serve"), "{said}");
    }
    // Of a service that asks nobody, neither.
    let open = Service::with(&[]).await;
    let (code, stdout, said) = finish(open.botfarm(&["operator", "list"])).await;
    assert_eq!((code, stdout.as_str()), (1, ""), "{said}");
    assert!(said.contains("asks nobody who they are"), "{said}");
}

#[tokio::test]
async fn operators_are_looked_after_in_the_database() {
    let ground = Ground::on_database().await;
    assert_eq!(ground.add("Ann", "admin").await, (0, "added Ann, admin\n".to_owned()));
    let (code, said) = ground.add("ANN", "viewer").await;
    assert!(code == 2 && said.contains("login: is taken by another operator"), "{said}");
    let file = ground.folder.path().join("password");
    std::fs::write(&file, format!("{PASSWORD}\r\n")).unwrap();
    ground.output(&["operator", "add", "tom", "--role", "tester", "--password-file", file.to_str().unwrap()]).await;
    let by_variable = ground.with(&[("BOTFARM_OPERATOR_PASSWORD", PASSWORD)]);
    let vic = by_variable.output(&["operator", "add", "vic", "--role", "viewer", "--format", "json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&vic).unwrap()["role"], "viewer");
    let (code, said) = ground.refused(&["operator", "add", "eve", "--role", "viewer"]).await;
    assert!(code == 2 && said.contains("--password-file") && said.contains("BOTFARM_OPERATOR_PASSWORD"), "{said}");
    assert_eq!(ground.refused(&["operator", "add", "eve", "--role", "king"]).await.0, 2);
    assert_eq!(ground.refused(&["operator", "add", "eve", "--password", "x"]).await.0, 2);

    let table = ground.output(&["operator", "list"]).await;
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
    assert_eq!(rows, [["LOGIN", "ROLE"], ["Ann", "admin"], ["tom", "tester"], ["vic", "viewer"]]);
    let service = ground.serve(&[]).await;
    for login in ["ann", "tom", "vic"] {
        session(&service, login).await;
    }

    assert_eq!(ground.output(&["operator", "remove", "TOM"]).await, "removed tom\n");
    assert_eq!(log_in(&service, "tom", PASSWORD).await.0, 401);
    let (code, said) = ground.refused(&["operator", "remove", "tom"]).await;
    assert!(code == 1 && said.contains("there is no operator tom"), "{said}");
    let (code, said) = ground.refused(&["operator", "remove", "ann"]).await;
    assert!(code == 1 && said.contains("the last admin stays"), "{said}");
}

#[tokio::test]
async fn an_admin_that_was_removed_does_not_come_back_with_the_environment() {
    let ground = Ground::on_database().await;
    let with_admin = ground.with(&ADMIN);
    // Replicas that start at the same time.
    let (one, other) = tokio::join!(with_admin.serve(&[]), with_admin.serve(&[]));
    session(&one, "ann").await;
    session(&other, "ann").await;
    assert_eq!(ground.add("zoe", "admin").await.0, 0);
    ground.output(&["operator", "remove", "ann"]).await;
    drop((one, other));
    let service = with_admin.serve(&[]).await;
    assert_eq!(log_in(&service, "ann", PASSWORD).await.0, 401);
    session(&service, "zoe").await;
}

#[tokio::test]
async fn tokens_are_made_listed_and_revoked() {
    let ground = Ground::on_database().await;
    let secret =
        ground.output(&["token", "create", "ci", "--env", "stage", "--project", PROJECT, "--expires", "never"]).await;
    let secret = secret.trim();
    assert!(secret.starts_with("bf_") && secret.len() == 46, "{secret}");
    ground.output(&["token", "create", "nightly", "--role", "viewer"]).await;
    let listed: Value = serde_json::from_str(&ground.output(&["token", "list", "--format", "json"]).await).unwrap();
    assert_eq!(
        (&listed[0]["project_id"], &listed[0]["env"], &listed[0]["role"]),
        (&json!(PROJECT), &json!("stage"), &json!("tester"))
    );
    assert!(listed[0]["expires_at"].is_null(), "{listed}");
    let at = |field: &str| listed[1][field].as_str().unwrap().parse::<botfarm_core::Timestamp>().unwrap();
    assert!((at("expires_at") - at("created_at")).num_hours().abs_diff(90 * 24) <= 1, "{listed}");
    let table = ground.output(&["token", "list"]).await;
    let row: Vec<_> =
        table.lines().nth(1).unwrap().split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(row, ["ci", "tester", &format!("{PROJECT}, stage"), "never", "never"]);
    assert!(!table.contains("bf_") && !listed.to_string().contains("bf_"), "{table}");

    let service = ground.serve(&[]).await;
    let (code, _, said) = finish(with_token(&service, secret, &["users"])).await;
    assert_eq!(code, 0, "{said}");
    let table = ground.output(&["token", "list"]).await;
    assert!(table.lines().nth(1).unwrap().ends_with("s ago"), "{table}");
    assert_eq!(ground.output(&["token", "revoke", "ci"]).await, "revoked ci\n");
    let (code, _, said) = finish(with_token(&service, secret, &["users"])).await;
    assert_eq!(code, 1, "{said}");
    assert!(!said.contains(secret), "{said}");
    let (code, said) = ground.refused(&["token", "revoke", "ci"]).await;
    assert!(code == 1 && said.contains("there is no token ci"), "{said}");
    assert_eq!(ground.refused(&["token", "create", "x", "--expires", "999999999y"]).await.0, 2);
    let revoked = ground.output(&["token", "revoke", "nightly", "--end-leases"]).await;
    assert_eq!(revoked, "revoked nightly, and ended 0 of its leases\n");
}

#[tokio::test]
async fn an_admin_looks_after_all_of_it_through_the_service() {
    let ground = Ground::in_memory().with(&ADMIN);
    let service = ground.serve(&[]).await;
    let session = session(&service, "ann").await;
    let run = async |arguments: &[&str]| {
        let mut command = with_token(&service, &session, arguments);
        command.env("BOTFARM_OPERATOR_PASSWORD", PASSWORD);
        let (code, stdout, said) = finish(command).await;
        assert!(!said.contains(&session) && !said.contains(PASSWORD), "{said}");
        (code, stdout, said)
    };
    assert_eq!(run(&["operator", "add", "tom", "--role", "tester"]).await.1, "added tom, tester\n");
    let (code, _, said) = run(&["operator", "add", "Tom", "--role", "tester"]).await;
    assert!(code == 2 && said.contains("login: is taken by another operator"), "{said}");
    let (code, secret, said) = run(&["token", "create", "ci", "--role", "admin"]).await;
    assert!(code == 0 && secret.starts_with("bf_") && said.contains("shown this once"), "{said}");
    let (code, listed, said) = finish(with_token(&service, secret.trim(), &["operator", "list"])).await;
    assert!(code == 0 && listed.contains("tom"), "{said}");
    let tom = crate::admission::session(&service, "tom").await;
    let (code, _, said) = finish(with_token(&service, &tom, &["token", "list"])).await;
    assert!(code == 1 && said.contains("needs the role admin"), "{said}");
    assert_eq!(run(&["operator", "end-sessions", "Tom"]).await.1, "ended all sessions of tom\n");
    let (code, ..) = finish(with_token(&service, &tom, &["users"])).await;
    assert_eq!(code, 1);
    let tom = crate::admission::session(&service, "tom").await;
    assert_eq!(run(&["operator", "passwd", "tom"]).await.1, "tom has another password, and its sessions are over\n");
    let (code, ..) = finish(with_token(&service, &tom, &["users"])).await;
    assert_eq!(code, 1);
    let (code, _, said) = run(&["operator", "passwd", "tim"]).await;
    assert!(code == 1 && said.contains("there is no operator tim"), "{said}");
    assert_eq!(run(&["operator", "remove", "tom"]).await.1, "removed tom\n");
    assert_eq!(run(&["token", "revoke", "ci"]).await.1, "revoked ci\n");
    let (code, ..) = finish(with_token(&service, secret.trim(), &["users"])).await;
    assert_eq!(code, 1);
}

#[tokio::test]
async fn at_a_terminal_the_password_is_asked_for_and_not_shown() {
    is_secret(PASSWORD);
    let ground = Ground::on_database().await;
    let ask = |login: &'static str| {
        let mut command = at_terminal(&ground.folder, &["operator", "add", login, "--role", "admin"]);
        command.envs(ground.vars.iter().map(|(name, value)| (name, value)));
        Running::start(command)
    };
    // What is typed before it asks, the terminal shows.
    let typed = async |login: &'static str, first: &str, second: &str| {
        let mut typing = ask(login);
        for (prompt, password) in [("Password: ", first), ("The same again: ", second)] {
            typing.until_prompt(prompt).await;
            typing.write(&format!("{password}\n")).await;
        }
        typing.end().await
    };
    let (code, said, _) = typed("ann", PASSWORD, PASSWORD).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("added ann, admin"), "{said}");
    session(&ground.serve(&[]).await, "ann").await;

    let (code, said, _) = typed("eve", "one", "other").await;
    assert!(code == 2 && said.contains("two different passwords"), "{said}");
}

#[tokio::test]
#[should_panic(expected = "a secret is in the log of the service")]
async fn a_secret_in_the_log_of_a_service_is_found() {
    let service = Service::with(&[]).await;
    // The id of a request is logged, as it came.
    is_secret("planted-for-this-test");
    let address = service.url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request =
        "GET /livez HTTP/1.1\r\nHost: farm\r\nConnection: close\r\nX-Request-Id: planted-for-this-test\r\n\r\n";
    connection.write_all(request.as_bytes()).await.unwrap();
    timeout(PATIENCE, connection.read_to_string(&mut String::new())).await.expect("it answers").unwrap();
}

#[tokio::test]
#[should_panic(expected = "a secret is in what `botfarm users` prints")]
async fn a_secret_that_a_command_prints_is_found() {
    let service = Service::with(&[("planted-for-another-test", "")]).await;
    is_secret("planted-for-another-test");
    service.output(&["users"]).await;
}

//! What people get wrong in their first hour, and what they must be told: the real binary, a real service.
//!
//! Each row is what is typed or sent, and beside it what the answer must have in it.

#[path = "secrets/mod.rs"]
mod secrets;
#[path = "cli/service.rs"]
#[expect(dead_code, reason = "it is for other tests, too")]
mod service;

use std::{fs, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::Command,
    time::{Instant, timeout},
};

use self::service::{PATIENCE, Running, Service, bare, finish};

/// A line for a shell in which `BOTFARM_URL` names a service that has the admin qa-1 and the member qa-2; `{address}` is
/// that of the service, `{port}` its port.
const TYPED: [(&str, &str); 45] = [
    // Names of commands, flags and values.
    ("botfarm user", "similar subcommands exist: 'serve', 'users'"),
    ("botfarm users --labels role=admin", "'--label'"),
    ("botfarm users --formt json", "'--format'"),
    ("botfarm users --state fre", "must be one of: free, leased, cooling"),
    ("botfarm run echo hello", "the command to be run comes after --, as in: botfarm run -- echo hello"),
    ("botfarm run -- no-such-command", "no-such-command: there is no such command"),
    ("botfarm run --env stgae -- true", "stage"),
    ("botfarm run --label rloe=admin -- true", "did you mean the label role?"),
    ("botfarm run --label role=admni -- true", "did you mean role=admin?"),
    ("botfarm run --label role -- true", "must be KEY=VALUE"),
    ("botfarm run --login qa-11 -- true", "did you mean qa-1?"),
    ("botfarm release qa-11", "there is no user qa-11; did you mean qa-1?"),
    ("botfarm run --wait soon -- true", "a number of seconds, or such as 90s, 5m or 2h"),
    ("botfarm token create ci --expires 90", "a time with its unit, such as 12h or 90d"),
    ("botfarm operator add eve --role king", "viewer, tester, admin"),
    ("botfarm import nowhere.csv", "nowhere.csv: No such file"),
    // Where the farm is.
    ("botfarm users --farm {address}", "give memory:, sqlite:PATH, postgres://user@host/database or http://host:port"),
    ("botfarm users --farm https://{address}", "its URL begins with http://"),
    ("botfarm users --farm http://127.0.0.1:1", "nobody listens there; is it running?"),
    ("botfarm users --farm memory:", "start `botfarm serve`"),
    ("botfarm users --farm mysql://root@localhost/farm", "postgres://user@host/database"),
    ("botfarm users --config nowhere.toml", "--config names a file that exists"),
    // What a service is started with.
    ("botfarm serve --farm http://127.0.0.1:8000", "say where with --store"),
    ("botfarm serve --store http://127.0.0.1:8000", "and no other service: give --store sqlite:PATH"),
    ("botfarm serve --store farm.db", "give sqlite:PATH"),
    ("botfarm serve --listen 127.0.0.1:0", "is in use by process"),
    ("BOTFARM_URL=sqlite:farm.db botfarm serve", "name where this service keeps its farm with --store"),
    ("botfarm serve --listen 8000", "--listen HOST:PORT"),
    ("botfarm serve --listen {address}", "is it running already?"),
    ("botfarm serve --listen 0.0.0.0:0", "say --auth required"),
    ("botfarm serve --auth required --store memory: --listen 127.0.0.1:0", "there is no operator"),
    (
        "botfarm serve --store memory: --listen 127.0.0.1:0 --bots bots.xlsx",
        "its name must end in .csv, .json or .ndjson",
    ),
    ("botfarm serve --store memory: --listen 127.0.0.1:0 --bots nowhere.csv", "nowhere.csv cannot be read"),
    ("BOTFARM_KEY=secret botfarm serve --store sqlite:new.db --listen 127.0.0.1:0", "as `botfarm key new` prints them"),
    ("botfarm migrate", "give --farm postgres://user@host/database"),
    // Variables.
    ("BOTFARM_TOEKN=x botfarm users", "BOTFARM_TOEKN is no setting of botfarm; did you mean BOTFARM_TOKEN?"),
    ("BOTFARM_PORT=9000 botfarm users", "did you mean BOTFARM_LISTEN?"),
    ("BOTFARM_DATABASE_URL=x botfarm users", "did you mean BOTFARM_STORE?"),
    ("BOTFARM_WAIT=soon botfarm run -- true", "a number of seconds"),
    ("LOG_LEVEL=verbose botfarm users", "give error, warning, info, debug or trace"),
    ("RUST_LOG='=' botfarm users", "give a level, such as debug"),
    ("BOTFARM_TOKEN=a BOTFARM_TOKEN_FILE=b botfarm users", "are both set; keep one of them"),
    // Files of settings.
    ("botfarm users --config lisen.toml", "line 1: unknown field `lisen`; did you mean `listen`?"),
    ("botfarm users --config wait.toml", "line 1: must be a time: a number of seconds"),
    ("botfarm users --config auth.toml", "line 1: unknown variant `yes`, expected `none` or `required`"),
];

/// A request to the service: method, path, a header, body; and what the answer must have in it.
const SENT: [(&str, &str, &str, &str, &str); 21] = [
    ("POST", "/api/v1/leases", "", r#"{"users": [{}], "ttl": 60}"#, "is not a known field; did you mean ttl_seconds?"),
    ("POST", "/api/v1/leases", "", r#"{"users": [{}], "wait": 60}"#, "did you mean wait_seconds?"),
    ("POST", "/api/v1/leases", "", r#"{"user": [{}]}"#, "did you mean users?"),
    ("POST", "/api/v1/leases", "", r#"{"users": [{"label": {"role": "admin"}}]}"#, "did you mean labels?"),
    ("POST", "/api/v1/leases", "", r#"{"users": [{"project": "x"}]}"#, "did you mean project_id?"),
    ("POST", "/api/v1/leases", "", r#"{"users": [{"env": "stgae"}]}"#, "stage"),
    ("POST", "/api/v1/leases", "", r#"{"users": [{"labels": {"role": "admni"}}]}"#, "did you mean role=admin?"),
    ("POST", "/api/v1/leases", "", r#"{"users": [{"login": "qa-22"}]}"#, "did you mean qa-2?"),
    ("POST", "/api/v1/leases", "", r#"{"users": [{}], "ttl_seconds": "60"}"#, "must be a number of seconds"),
    ("POST", "/api/v1/leases", "", r#"{"users": [{}], "ttl_seconds": 1}"#, "must be from 5 to 86400 seconds"),
    ("POST", "/api/v1/leases", "X-Idempotency-Key: 1", r#"{"users": [{}]}"#, "did you mean Idempotency-Key?"),
    ("POST", "/api/v1/leases", "Content-Type: text/plain", r#"{"users": [{}]}"#, "Content-Type: application/json"),
    ("POST", "/api/v1/leases", "", "{'users': [{}]}", "the body is not JSON"),
    ("POST", "/api/v1/leases", "", "", "send a JSON object"),
    ("POST", "/api/v1/users", "", r#"{"login": "a", "passwd": "b"}"#, "did you mean password?"),
    ("GET", "/users", "", "", "did you mean /api/v1/users?"),
    ("GET", "/api/v1/lease", "", "", "did you mean /api/v1/leases?"),
    ("PUT", "/api/v1/leases", "", "", "Allow"),
    ("GET", "/api/v1/users/qa-1", "", "", "must be a UUID"),
    ("GET", "/api/v1/users?labels=role:admin", "", "", "did you mean label?"),
    ("GET", "/api/v1/users?label=role", "", "", "must be key:value or key=value"),
];

async fn two_users() -> Service {
    Service::with(&[("qa-1", "role=admin"), ("qa-2", "role=member")]).await
}

/// What a shell of the service's folder says to a line.
async fn typed(service: &Service, line: &str) -> (i32, String) {
    let address = service.url.strip_prefix("http://").unwrap();
    let line = line.replace("{address}", address);
    let pattern = service.botfarm(&[]);
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_botfarm")).parent().unwrap().to_str().unwrap();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    let mut command = Command::new("setsid");
    command.args(["sh", "-c", &line]).env_clear().current_dir(pattern.as_std().get_current_dir().unwrap());
    command.env("PATH", path).env("BOTFARM_URL", &service.url);
    let (code, stdout, stderr) = finish(command).await;
    (code, stdout + &stderr)
}

/// The head and the body of the answer to a request.
async fn sent(service: &Service, method: &str, path: &str, headers: &str, body: &str) -> String {
    let address = service.url.strip_prefix("http://").unwrap();
    let kind = if headers.contains("Content-Type") { "" } else { "Content-Type: application/json\r\n" };
    let headers = if headers.is_empty() { String::new() } else { format!("{headers}\r\n") };
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{kind}{headers}Content-Length: {length}\r\n\r\n"
    );
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, connection.read_to_string(&mut answer)).await.expect("it answers").unwrap();
    answer
}

#[tokio::test]
async fn what_is_mistyped_is_answered_with_what_may_have_been_meant() {
    let service = two_users().await;
    service.file("lisen.toml", "lisen = \"127.0.0.1:0\"\n");
    service.file("wait.toml", "wait = \"soon\"\n");
    service.file("auth.toml", "auth = \"yes\"\n");
    service.file("bots.xlsx", "PK");
    let mut wrong = Vec::new();
    for (line, expected) in TYPED {
        let (code, said) = typed(&service, line).await;
        // What is only warned of is done all the same.
        let is_warning = expected.contains("BOTFARM_") && expected.contains("did you mean");
        if !said.contains(expected) || (code == 0) != is_warning {
            wrong.push(format!("$ {line}\n  {code}: {said}  and not: {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), TYPED.len(), wrong.join("\n"));
}

#[tokio::test]
async fn what_is_sent_wrong_is_answered_with_what_may_have_been_meant() {
    let service = two_users().await;
    let mut wrong = Vec::new();
    for (method, path, header, body, expected) in SENT {
        let answer = sent(&service, method, path, header, body).await;
        if !answer.contains(expected) || answer.starts_with("HTTP/1.1 2") {
            wrong.push(format!("{method} {path} {header} {body}\n  {answer}  and not: {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), SENT.len(), wrong.join("\n"));
}

/// A server that lets nobody in, and says why as PostgreSQL does.
async fn refusing_database(code: &'static str, message: &'static str) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                loop {
                    let length = client.read_u32().await?;
                    let mut request = vec![0; usize::try_from(length).unwrap().clamp(4, 10_000) - 4];
                    client.read_exact(&mut request).await?;
                    // Whether it speaks TLS: no.
                    if request == 80_877_103_u32.to_be_bytes() {
                        client.write_all(b"N").await?;
                        continue;
                    }
                    let fields = format!("SFATAL\0VFATAL\0C{code}\0M{message}\0Fauth.c\0L334\0Rauth_failed\0\0");
                    let length = u32::try_from(fields.len() + 4).unwrap();
                    client.write_all(&[b"E", &length.to_be_bytes()[..], fields.as_bytes()].concat()).await?;
                    return client.shutdown().await;
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn what_a_database_refuses_is_said_in_people_s_words() {
    let folder = TempDir::new().unwrap();
    let (wrong_password, no_database) = (
        refusing_database("28P01", "password authentication failed for user \"me\"").await,
        refusing_database("3D000", "database \"fram\" does not exist").await,
    );
    let no_entry = refusing_database("28000", "no pg_hba.conf entry for host").await;
    let full = refusing_database("53300", "sorry, too many clients already").await;
    let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    for (url, key, expected) in [
        (format!("postgres://me:pw@127.0.0.1:{wrong_password}/farm"), key, "does not take the password of me"),
        (format!("postgres://me:p@ss@127.0.0.1:{wrong_password}/farm"), key, "are written %40 %3A %2F %3F %23 %25"),
        (format!("postgres://me:p#ss@127.0.0.1:{wrong_password}/farm"), key, "are written %40 %3A %2F %3F %23 %25"),
        (format!("postgres://me:p/ss@127.0.0.1:{wrong_password}/farm"), key, "are written %40 %3A %2F %3F %23 %25"),
        (format!("postgres://me@127.0.0.1:{no_database}/fram"), key, "there is no database fram at 127.0.0.1"),
        (format!("postgres://me@127.0.0.1:{no_entry}/farm"), key, "does not let me in: no pg_hba.conf entry"),
        (format!("postgres://me@127.0.0.1:{full}/farm"), key, "too many clients already"),
        ("postgres://me@127.0.0.1:1/farm".to_owned(), key, "nobody listens there; is it running?"),
        ("postgres://me@no-such-host.invalid/farm".to_owned(), key, "there is no host no-such-host.invalid"),
        ("postgres://me@127.0.0.1:1/farm".to_owned(), "", "`botfarm key new`"),
    ] {
        for arguments in [&["users"][..], &["serve", "--listen", "127.0.0.1:0"]] {
            let mut command = bare(&folder);
            let variable = if arguments[0] == "serve" { "BOTFARM_STORE" } else { "BOTFARM_URL" };
            command.args(arguments).env(variable, &url).env("BOTFARM_KEY", key);
            let (code, _, said) = finish(command).await;
            assert!(matches!(code, 1 | 2) && said.contains(expected), "{url}: {code}: {said}");
            assert!(!said.contains("at line") && !said.contains("ss@"), "{url}: {said}");
        }
    }
}

#[tokio::test]
async fn what_others_write_differently_works_too() {
    let service = two_users().await;
    service.file("times.toml", "wait = 1\nttl = 60\ndrain = 5\n");
    for line in [
        "botfarm run --wait 60 --ttl 60 -- true",
        "BOTFARM_WAIT=1 BOTFARM_TTL=60 botfarm run -- true",
        "botfarm run --config times.toml -- true",
        "botfarm run --label role:admin -- true",
        "botfarm run --label role=admin -- true",
        "botfarm users --label role:admin",
    ] {
        let (code, said) = typed(&service, line).await;
        assert_eq!(code, 0, "{line}: {said}");
    }
    let logins = async |query: &str| -> Vec<Value> {
        let answer = sent(&service, "GET", &format!("/api/v1/users?{query}"), "", "").await;
        let users: Vec<Value> = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        users.iter().map(|user| user["login"].clone()).collect()
    };
    assert_eq!(logins("label=role:admin").await, [json!("qa-1")]);
    assert_eq!(logins("label=role%3Dmember").await, [json!("qa-2")]);
    let page = sent(&service, "GET", "/", "Accept: text/html,application/xhtml+xml;q=0.9", "").await;
    assert!(page.starts_with("HTTP/1.1 303") && page.contains("location: docs/"), "{page}");
    let links = sent(&service, "GET", "/", "", "").await;
    assert!(links.starts_with("HTTP/1.1 200") && links.contains("\"api\":\"/api/v1\""), "{links}");
}

#[tokio::test]
async fn a_service_starts_within_a_second_whatever_the_commands_are_set_up_for() {
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let folder = TempDir::new().unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        let mut command = bare(&folder);
        command.args(["serve", "--drain", "5"]).env("BOTFARM_URL", &url);
        command.env("BOTFARM_LISTEN", format!("127.0.0.1:{port}"));
        let start = Instant::now();
        let service = Service::start(folder, command).await;
        fastest = fastest.min(start.elapsed());
        assert_eq!(service.url, url, "it does not call itself");
        if fastest < Duration::from_secs(1) {
            return;
        }
    }
    panic!("it takes {fastest:?}");
}

#[tokio::test]
async fn farm_of_the_first_command_outlives_a_kill() {
    let folder = TempDir::new().unwrap();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/bots.csv");
    fs::copy(example, folder.path().join("bots.csv")).unwrap();
    let serve = |arguments: &[&str]| {
        let mut command = bare(&folder);
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments);
        Service::start(TempDir::new().unwrap(), command)
    };
    let body = |answer: &str| -> Value { serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap() };
    let service = serve(&["--bots", "bots.csv"]).await;
    let ask = r#"{"users": [{"env": "stage", "labels": {"role": "admin"}}]}"#;
    let lease = body(&sent(&service, "POST", "/api/v1/leases", "", ask).await);
    let other = body(&sent(&service, "POST", "/api/v1/leases", "", r#"{"users": [{"env": "preprod"}]}"#).await);
    let path = |lease: &Value| format!("/api/v1/leases/{}", lease["id"].as_str().unwrap());
    let broken = sent(&service, "DELETE", &format!("{}?outcome=broken", path(&other)), "", "").await;
    assert!(broken.starts_with("HTTP/1.1 204"), "{broken}");
    // kill -9
    service.end().await;
    // What needs no service is done on the file itself.
    let mut token = bare(&folder);
    token.args(["token", "create", "ci", "--farm", "sqlite:botfarm-data/farm.db"]);
    let (code, secret, said) = finish(token).await;
    assert!(code == 0 && secret.starts_with("bf_"), "{said}");

    let service = serve(&[]).await;
    let renewed = sent(&service, "POST", &format!("{}/renew", path(&lease)), "", "").await;
    assert!(renewed.starts_with("HTTP/1.1 200"), "{renewed}");
    let users = body(&sent(&service, "GET", "/api/v1/users", "", "").await);
    let conditions: Vec<_> = users.as_array().unwrap().iter().map(|user| user["condition"].as_str().unwrap()).collect();
    assert_eq!(conditions, ["ready", "ready", "ready", "broken"]);
    service.end().await;
    let mut tokens = bare(&folder);
    tokens.args(["token", "list", "--farm", "sqlite:botfarm-data/farm.db"]);
    let (code, listed, said) = finish(tokens).await;
    assert!(code == 0 && listed.contains("ci"), "{listed}{said}");
}

#[tokio::test]
async fn the_list_of_users_fits_the_terminal_and_has_totals() {
    let service = Service::with(&[("qa-1", "role=admin"), ("qa-2", "role=member"), ("qa-3", "")]).await;
    service.output(&["run", "--login", "qa-3", "--", "true"]).await;
    let table = service.output(&["users"]).await;
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines[0], "LOGIN  ENV    DOMAIN  STATE  HOLDER  SINCE  LABELS");
    assert_eq!(lines[lines.len() - 1], "3 accounts: 3 free, 0 leased");
    let wide = service.output(&["users", "--wide"]).await;
    assert!(wide.lines().next().unwrap().ends_with("PROJECT                               ID"), "{wide}");
}

/// Runs a line of a shell at a terminal of 4 rows and 64 columns; gives what comes out of it.
const SMALL_TERMINAL: &str = r#"
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp("sh", ["sh", "-c", "stty rows 4 cols 64 -opost; exec " + sys.argv[1]])
out = b""
try:
    while data := os.read(terminal, 65536):
        out += data
except OSError:
    pass
sys.stdout.buffer.write(out)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

#[tokio::test]
async fn at_a_terminal_a_list_is_as_wide_as_that_in_colours_and_paged() {
    let service = Service::with(&[("qa-1", "role=admin;team=checkout and payments"), ("qa-2", "")]).await;
    let holding = Running::start(service.botfarm(&["run", "--login", "qa-2", "--", "cat"]));
    service.until_bot("qa-2", |bot| bot["locktime"].is_string()).await;
    let at_terminal = async |line: &str| {
        let pattern = service.botfarm(&[]);
        let mut command = Command::new("python3");
        command.args(["-c", SMALL_TERMINAL, line]).current_dir(pattern.as_std().get_current_dir().unwrap());
        let folder = std::path::Path::new(env!("CARGO_BIN_EXE_botfarm")).parent().unwrap().to_str().unwrap();
        command.env_clear().env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap()));
        command.env("BOTFARM_URL", &service.url).env("BOTFARM_TOKEN", "made-up").env("PAGER", "sed s/^/paged:/");
        let (code, printed, said) = finish(command).await;
        assert_eq!((code, said.as_str()), (0, ""), "{printed}");
        printed
    };
    let printed = at_terminal("botfarm users").await;
    let lines: Vec<_> = printed.lines().collect();
    assert!(lines[0].starts_with("paged:LOGIN") && lines.len() == 5, "{printed:?}");
    assert!(lines[1].contains("qa-1") && lines[1].ends_with('…'), "{printed:?}");
    assert!(lines[2].starts_with("paged:\u{1b}[33mqa-2") && lines[2].ends_with("\u{1b}[0m"), "{printed:?}");
    for line in &lines[..2] {
        assert!(line.chars().count() <= "paged:".len() + 64, "{line}");
    }
    assert!(lines[4].starts_with("paged:2 accounts: 1 free, 1 leased"), "{printed:?}");
    let plain = at_terminal("env NO_COLOR=1 PAGER=cat botfarm users").await;
    assert!(plain.starts_with("LOGIN") && !plain.contains('\u{1b}'), "{plain:?}");
    // Whatever a pager starts sees no secret.
    let environment = at_terminal("env PAGER=env botfarm users").await;
    assert!(environment.contains("LESS=KFRX") && !environment.contains("BOTFARM_TOKEN"), "{environment}");
    holding.end().await;
}

//! What neither a repository nor a command gets.

use std::fs;

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};

use crate::service::{Service, bare, finish};

const TOKEN: &str = "bf_made-up-token";

/// A service that has no users. What it gives is the head of the first request.
async fn listener() -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n[]";
        stream.write_all(answer).await.unwrap();
        String::from_utf8(head).unwrap()
    });
    (url, asked)
}

/// What the farm that `botfarm.toml` names is sent, and what `botfarm users` says.
async fn sent_to_the_farm_of_the_file(arguments: &[&str]) -> (String, String) {
    let (url, asked) = listener().await;
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("botfarm.toml"), format!("farm = \"{url}\"\n")).unwrap();
    let mut command = bare(&folder);
    command.env("BOTFARM_TOKEN", TOKEN).args(arguments).arg("users");
    let (code, _, stderr) = finish(command).await;
    assert_eq!(code, 0, "{stderr}");
    (asked.await.unwrap(), stderr)
}

#[tokio::test]
async fn a_file_that_stands_in_the_folder_gets_no_token() {
    let (head, said) = sent_to_the_farm_of_the_file(&[]).await;
    assert!(head.starts_with("GET /api/v1/users"), "{head}");
    assert!(!head.contains(TOKEN), "the token went to whoever wrote the file");
    assert!(said.contains("BOTFARM_TOKEN is not sent to the farm that botfarm.toml in this folder names"), "{said}");
    let (head, said) = sent_to_the_farm_of_the_file(&["--config", "botfarm.toml"]).await;
    assert!(head.contains(&format!("authorization: Bearer {TOKEN}\r\n")), "a file that was named is trusted");
    assert_eq!(said, "");
}

#[tokio::test]
async fn a_file_that_stands_in_the_folder_gets_no_password_of_a_database() {
    let folder = TempDir::new().unwrap();
    for key in ["farm", "store"] {
        fs::write(folder.path().join("botfarm.toml"), format!("{key} = \"postgres://me@127.0.0.1:1/db\"\n")).unwrap();
        let refused = async |arguments: &[&str], said: &str| {
            let mut command = bare(&folder);
            command.args(arguments);
            let (code, _, stderr) = finish(command).await;
            assert_eq!(code, 2, "{arguments:?}: {stderr}");
            assert!(stderr.contains(said), "{arguments:?}: {stderr}");
        };
        if key == "farm" {
            for arguments in [&["users"][..], &["migrate"], &["operator", "list"]] {
                refused(arguments, "would be sent your password").await;
            }
            refused(&["serve"], "names a store, but is what the other commands talk to").await;
        } else {
            refused(&["serve"], "names a database as the store").await;
        }
    }
}

#[tokio::test]
async fn a_file_that_stands_in_the_folder_gets_no_password_of_an_account_or_operator() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("bots.csv"), "login,password,project_id,env\nann,hunter2,shop,stage\n").unwrap();
    fs::write(folder.path().join("botfarm.toml"), "farm = \"http://127.0.0.1:1\"\n").unwrap();
    for arguments in [
        &["import", "bots.csv"][..],
        &["import", "--dry-run", "bots.csv"],
        &["operator", "add", "ann", "--role", "admin"],
    ] {
        let mut command = bare(&folder);
        command.env("BOTFARM_OPERATOR_PASSWORD", "correct horse battery").args(arguments);
        let (code, _, stderr) = finish(command).await;
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
        assert!(stderr.contains("names a farm, which would be sent passwords"), "{arguments:?}: {stderr}");
        let mut command = bare(&folder);
        command
            .env("BOTFARM_OPERATOR_PASSWORD", "correct horse battery")
            .args(["--config", "botfarm.toml"])
            .args(arguments);
        let (_, _, stderr) = finish(command).await;
        assert!(stderr.contains("127.0.0.1:1"), "a file that was named is trusted: {stderr}");
    }
}

#[tokio::test]
async fn a_file_that_stands_in_the_folder_opens_no_service_to_others() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("botfarm.toml"), "store = \"memory:\"\nlisten = \"0.0.0.0:0\"\nauth = \"none\"\n")
        .unwrap();
    let mut command = bare(&folder);
    command.arg("serve");
    let (code, _, stderr) = finish(command).await;
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("can be reached from other machines"), "{stderr}");
}

#[tokio::test]
async fn a_token_does_not_go_over_plain_http_to_another_machine() {
    let folder = TempDir::new().unwrap();
    let mut command = bare(&folder);
    command.env("BOTFARM_TOKEN", TOKEN).args(["--farm", "http://192.0.2.1:8000", "users"]);
    let (code, _, stderr) = finish(command).await;
    assert_ne!(code, 0);
    assert!(stderr.contains("would have the token go to 192.0.2.1 over plain HTTP"), "{stderr}");
}

#[tokio::test]
async fn a_password_in_an_argument_is_refused_where_a_command_could_read_it() {
    let folder = TempDir::new().unwrap();
    let mut command = bare(&folder);
    command.args(["run", "--farm", "postgres://me:made-up@127.0.0.1:1/db", "--", "true"]);
    let (code, _, stderr) = finish(command).await;
    assert_eq!(code, 125, "{stderr}");
    assert!(stderr.contains("the command could read the password in --farm"), "{stderr}");
}

/// Root may look at whatever it likes: here without the capabilities for that.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_command_reads_no_secret_from_botfarm_s_own_process() {
    let service = Service::with(&[("qa-1", "")]).await;
    // Not as one word: these are arguments, too.
    let look = "for file in environ cmdline; do grep -c made-up''-token /proc/$PPID/$file; done; cat /proc/$PPID/mem";
    let inner = service.botfarm(&[]);
    let botfarm = inner.as_std().get_args().last().unwrap().to_owned();
    let drop: &[&str] = if rustix::process::geteuid().is_root() {
        &["setpriv", "--bounding-set=-sys_ptrace,-perfmon,-sys_admin"]
    } else {
        &["env"]
    };
    let mut command = tokio::process::Command::new("setsid");
    command.args(drop).arg(botfarm).args(["run", "--", "sh", "-c", look]).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("BOTFARM_URL", &service.url).env("BOTFARM_TOKEN", TOKEN);
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let (_, stdout, stderr) = finish(command).await;
    assert_eq!(stdout.lines().filter(|found| *found != "0").count(), 0, "{stdout}{stderr}");
    assert!(stderr.contains("/mem: Permission denied"), "{stderr}");
}

/// What of this is in the environment that the process was started with, or in a file that it has open.
#[cfg(target_os = "linux")]
fn found(process: u32, secret: &str) -> Vec<String> {
    let process = std::path::PathBuf::from(format!("/proc/{process}"));
    let mut files = vec![process.join("environ")];
    // Nobody but root gets to see either.
    files.extend(std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten().map(|file| file.path()));
    let is_in_memory = |file: &std::path::PathBuf| {
        file.ends_with("environ")
            || std::fs::read_link(file).is_ok_and(|target| target.to_string_lossy().contains("memfd:"))
    };
    let holds = |file: &std::path::PathBuf| {
        let content = std::fs::read(file).unwrap_or_default();
        content.windows(secret.len()).any(|window| window == secret.as_bytes())
    };
    files.retain(|file| is_in_memory(file) && holds(file));
    files.iter().map(|file| file.display().to_string()).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_service_keeps_no_secret_in_the_environment_that_it_was_started_with() {
    const KEY: &str = "bWFkZSB1cCBmb3IgdGVzdHMsIDMyIGJ5dGVzIGxvbmc=";
    const PASSWORD: &str = crate::admission::PASSWORD;
    let folder = TempDir::new().unwrap();
    let mut command = bare(&folder);
    command.args(["serve", "--listen", "127.0.0.1:0", "--auth", "required", "--store", "sqlite:farm.db"]);
    command.env("BOTFARM_KEY", KEY).env("BOTFARM_OLD_KEYS", "");
    command.env("BOTFARM_ADMIN_LOGIN", "ann").env("BOTFARM_ADMIN_PASSWORD", PASSWORD);
    let service = Service::start(folder, command).await;
    for secret in [KEY, PASSWORD] {
        assert_eq!(found(service.process_id(), secret), Vec::<String>::new());
    }
    let environ = format!("/proc/{}/environ", service.process_id());
    if rustix::process::geteuid().is_root() {
        let environ = String::from_utf8(std::fs::read(environ).unwrap()).unwrap();
        assert!(environ.contains("BOTFARM_ADMIN_LOGIN=ann"), "what is no secret stays: {environ}");
    }
    // The password was read.
    crate::admission::session(&service, "ann").await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_command_finds_no_secret_in_what_botfarm_was_started_with() {
    let service = Service::with(&[("qa-1", "")]).await;
    let look = "cat /proc/$PPID/environ /proc/self/fd/[3-9] 2>/dev/null | grep -ac made-up''-token";
    let mut command = service.botfarm(&["run", "--", "sh", "-c", look]);
    command.env("BOTFARM_TOKEN", TOKEN);
    let (code, stdout, stderr) = finish(command).await;
    assert_eq!((code, stdout.trim()), (1, "0"), "{stderr}");
}

//! `botfarm serve`, as its users meet it: the real binary, on a free port.

mod secrets;

use std::{fs, net::Ipv4Addr, path::Path, process::Stdio, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use self::secrets::{has_none, is_secret};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_mins(1);

const PROJECT: &str = "5f0c7e0a-0000-4000-8000-000000000001";

/// The command in a folder of its own, with no environment but what the test gives it. All that it says is searched for
/// secrets.
fn botfarm(folder: &TempDir, arguments: &[&str]) -> Command {
    is_secret("made-up-");
    is_secret("s3cret");
    let mut command = Command::new(env!("CARGO_BIN_EXE_botfarm"));
    command.args(arguments).env_clear().current_dir(folder).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What the command gives that does not get as far as serving: exit code, and what it says on stderr.
async fn refused(mut command: Command) -> (Option<i32>, String) {
    let output = timeout(PATIENCE, command.output()).await.expect("it ends").unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "", "{said}");
    has_none("what the command says", &said);
    (output.status.code(), said)
}

async fn kill(child: &Child, signal: &str) {
    let pid = child.id().expect("it is running").to_string();
    let killed = Command::new("sh").args(["-c", "kill -s $0 $1", signal, &pid]).status().await.unwrap();
    assert!(killed.success());
}

/// A service that is running.
struct Service {
    child: Child,
    address: String,
    said: JoinHandle<String>,
}

impl Service {
    async fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let said = tokio::spawn(async move {
            let mut said = String::new();
            stderr.read_to_string(&mut said).await.unwrap();
            said
        });
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        timeout(PATIENCE, stdout.read_line(&mut line)).await.expect("it starts or ends").unwrap();
        match line.strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix('\n')) {
            Some(address) => Self { child, address: address.to_owned(), said },
            None => panic!("it did not start, but said: {}", said.await.unwrap()),
        }
    }

    /// Sends a request; gives the status and the body.
    async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let (head, body) = self.ask(method, &format!("/api/v1{path}"), "", body).await;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// Sends a request with more headers; gives the head and the body of the answer.
    async fn ask(&self, method: &str, path: &str, headers: &str, body: Option<&Value>) -> (String, String) {
        let body = body.map(Value::to_string).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{headers}\r\n",
            self.address,
            body.len()
        );
        let mut connection = TcpStream::connect(&self.address).await.unwrap();
        connection.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, connection.read_to_string(&mut answer)).await.expect("it answers").unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    async fn lease(&self, request: &Value) -> (u16, Value) {
        self.call("POST", "/leases", Some(request)).await
    }

    /// How many bots the farm has, by what it says of its pools.
    async fn bots(&self) -> u64 {
        let (status, counts) = self.call("GET", "/stats", None).await;
        assert_eq!(status, 200);
        counts["pools"].as_array().unwrap().iter().map(|pool| pool["total"].as_u64().unwrap()).sum()
    }

    async fn until_somebody_waits(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.call("GET", "/stats", None).await.1["waiting"] != 1 {
            assert!(Instant::now() < deadline, "nobody waits");
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn signal(&self, name: &str) {
        kill(&self.child, name).await;
    }

    /// Waits for its end; gives the exit code, and all it has said on stderr.
    async fn end(mut self) -> (Option<i32>, String) {
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap();
        let said = self.said.await.unwrap();
        has_none("what the service says", &said);
        (status.code(), said)
    }

    async fn stop(self) -> String {
        self.signal("TERM").await;
        let (code, said) = self.end().await;
        assert_eq!(code, Some(0), "{said}");
        said
    }
}

/// A file with this many bots, all of stage.
fn bots(folder: &Path, name: &str, count: usize) -> String {
    let rows = (0..count).map(|number| format!("user-{number}@shop.example,made-up-{number},{PROJECT},stage\n"));
    let file: String = ["login,password,project_id,env\n".to_owned()].into_iter().chain(rows).collect();
    fs::write(folder.join(name), file).unwrap();
    name.to_owned()
}

fn stage() -> Value {
    json!({"users": [{"env": "stage"}], "holder": "a test"})
}

/// Of no farm.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

const ANY_PORT: [&str; 3] = ["serve", "--listen", "127.0.0.1:0"];

#[tokio::test]
async fn farm_in_memory_is_empty_and_says_once_that_nothing_is_kept() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(botfarm(&folder, &[&ANY_PORT[..], &["--store", "memory:"]].concat())).await;
    assert_eq!(service.bots().await, 0);
    assert_eq!(service.lease(&stage()).await.1["code"], "no-match");
    let said = service.stop().await;
    assert_eq!(said.matches("nothing is kept across restarts").count(), 1, "{said}");
}

#[tokio::test]
async fn farm_outlives_a_kill_with_nothing_configured() {
    let folder = TempDir::new().unwrap();
    let file = bots(folder.path(), "bots.csv", 2);
    let mut service = Service::start(botfarm(&folder, &[&ANY_PORT[..], &["--bots", &file]].concat())).await;
    let (status, held) = service.lease(&stage()).await;
    assert_eq!(status, 201);
    let (_, broken) = service.lease(&stage()).await;
    let path = |lease: &Value| format!("/leases/{}", lease["id"].as_str().unwrap());
    assert_eq!(service.call("DELETE", &format!("{}?outcome=broken", path(&broken)), None).await.0, 204);
    service.child.kill().await.unwrap();

    let service = Service::start(botfarm(&folder, &ANY_PORT)).await;
    assert_eq!(service.bots().await, 2);
    let (status, renewed) = service.call("POST", &format!("{}/renew", path(&held)), None).await;
    assert_eq!((status, &renewed["users"][0]["login"]), (200, &held["users"][0]["login"]));
    let refusal = service.lease(&stage()).await.1;
    assert_eq!((&refusal["leased"], &refusal["out_of_service"]), (&json!(1), &json!(1)), "{refusal}");
    let said = service.stop().await;
    assert!(!said.contains("nothing is kept"), "{said}");
    let data = folder.path().join("botfarm-data");
    let mode =
        |path: &Path| std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777;
    assert_eq!((mode(&data), mode(&data.join("farm.db")), mode(&data.join("farm.db.key"))), (0o700, 0o600, 0o600));
}

#[tokio::test]
async fn store_belongs_to_one_service_at_a_time() {
    let folder = TempDir::new().unwrap();
    let first = Service::start(botfarm(&folder, &ANY_PORT)).await;
    let (code, said) = refused(botfarm(&folder, &ANY_PORT)).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("in use by process {}", first.child.id().unwrap())), "{said}");
    let copy = folder.path().join("copy.db");
    let mut command = botfarm(&folder, &["backup", copy.to_str().unwrap()]);
    let copied = timeout(PATIENCE, command.output()).await.expect("it ends").unwrap();
    assert!(copied.status.success() && copy.exists(), "{copied:?}");
    first.stop().await;
}

#[tokio::test]
async fn bots_from_a_file_are_leased_renewed_and_given_back() {
    let folder = TempDir::new().unwrap();
    let file = bots(folder.path(), "bots.csv", 1);
    let service = Service::start(botfarm(&folder, &[&ANY_PORT[..], &["--bots", &file]].concat())).await;

    let (status, lease) = service.lease(&stage()).await;
    assert_eq!((status, &lease["users"][0]["login"]), (201, &json!("user-0@shop.example")));
    assert_eq!(lease["users"][0]["password"], "made-up-0");
    let (status, refusal) = service.lease(&stage()).await;
    assert_eq!((status, &refusal["oldest"]["holder"]), (409, &json!("a test")));

    let path = format!("/leases/{}", lease["id"].as_str().unwrap());
    assert_eq!(service.call("POST", &format!("{path}/renew"), None).await.0, 200);
    assert_eq!(service.call("DELETE", &path, None).await.0, 204);
    assert_eq!(service.lease(&stage()).await.0, 201);

    let said = service.stop().await;
    assert!(!said.contains(&path), "{said}");
}

#[tokio::test]
async fn a_signal_sends_those_who_wait_away_and_ends_the_service_with_success() {
    for signal in ["TERM", "INT"] {
        let folder = TempDir::new().unwrap();
        let file = bots(folder.path(), "bots.csv", 1);
        let service = Service::start(botfarm(&folder, &[&ANY_PORT[..], &["--bots", &file]].concat())).await;
        assert_eq!(service.lease(&stage()).await.0, 201);

        let patient = json!({"users": [{"env": "stage"}], "wait_seconds": 300});
        let (waiter, ()) = tokio::join!(service.lease(&patient), async {
            service.until_somebody_waits().await;
            service.signal(signal).await;
        });
        assert_eq!((waiter.0, &waiter.1["code"]), (503, &json!("unavailable")), "{signal}");
        let (code, said) = service.end().await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(&format!("SIG{signal}")), "{said}");
    }
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_calls_in_progress() {
    let folder = TempDir::new().unwrap();
    let mut service = Service::start(botfarm(&folder, &ANY_PORT)).await;
    // A call that is never finished: the service would give it some seconds.
    let mut stuck = TcpStream::connect(&service.address).await.unwrap();
    let head = "POST /api/v1/leases HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\
                Expect: 100-continue\r\n\r\n";
    stuck.write_all(head.as_bytes()).await.unwrap();
    // The service has begun to read the body when it asks for it.
    let mut asked = [0; 12];
    timeout(PATIENCE, stuck.read_exact(&mut asked)).await.expect("it answers").unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100");

    service.signal("TERM").await;
    // No new connection is taken once it drains.
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(&service.address).await.is_ok() {
        assert!(Instant::now() < deadline, "it goes on listening");
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(service.child.try_wait().unwrap(), None, "it waits for the call in progress");
    service.signal("TERM").await;
    let (code, said) = service.end().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("stopped at once"), "{said}");
}

#[tokio::test]
async fn a_service_that_others_reach_gives_notice_before_it_stops() {
    let folder = TempDir::new().unwrap();
    let start = async |drain: &str| {
        let arguments = ["serve", "--listen", "0.0.0.0:0", "--auth", "none", "--drain", drain];
        Service::start(botfarm(&folder, &arguments)).await
    };
    let ready = async |service: &Service| service.ask("GET", "/readyz", "", None).await.0.contains(" 200 ");
    let until_draining = async |service: &Service| {
        let deadline = Instant::now() + PATIENCE;
        while ready(service).await {
            assert!(Instant::now() < deadline, "it stays ready");
        }
    };

    let service = start("2s").await;
    assert!(ready(&service).await);
    let told = Instant::now();
    service.signal("TERM").await;
    until_draining(&service).await;
    assert_eq!(service.bots().await, 0, "it still answers");
    let (code, said) = service.end().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(told.elapsed() >= Duration::from_secs(2), "{:?}", told.elapsed());

    // Longer than anybody has patience.
    let service = start("1h").await;
    service.signal("TERM").await;
    until_draining(&service).await;
    service.signal("TERM").await;
    assert_eq!(service.end().await.0, Some(1), "once more stops at once");
    let service = start("1h").await;
    service.signal("INT").await;
    assert_eq!(service.end().await.0, Some(0), "whoever presses Ctrl-C need not wait");
}

#[tokio::test]
async fn pages_of_sites_that_are_named_may_call() {
    let folder = TempDir::new().unwrap();
    let allowed = async |service: &Service, origin: &str| {
        let (head, _) = service.ask("GET", "/livez", &format!("Origin: {origin}\r\n"), None).await;
        head.contains(&format!("access-control-allow-origin: {origin}"))
    };
    fs::write(folder.path().join("botfarm.toml"), "cors-origins = [\"https://file.example\"]\n").unwrap();
    let service = Service::start(botfarm(&folder, &ANY_PORT)).await;
    assert!(allowed(&service, "https://file.example").await && !allowed(&service, "https://evil.example").await);
    service.stop().await;
    let mut command = botfarm(&folder, &ANY_PORT);
    command.env("BOTFARM_CORS_ORIGINS", "https://one.example,http://two.example:3000");
    let service = Service::start(command).await;
    assert!(allowed(&service, "https://one.example").await && allowed(&service, "http://two.example:3000").await);
    assert!(!allowed(&service, "https://file.example").await);
    let (code, said) = refused(botfarm(&folder, &[&ANY_PORT[..], &["--cors-origin", "*"]].concat())).await;
    assert!(code == Some(2) && said.contains("named one by one"), "{said}");
}

#[tokio::test]
async fn an_address_that_others_reach_is_refused_unless_it_is_asked_for_by_name() {
    let folder = TempDir::new().unwrap();
    for open in ["0.0.0.0:0", "[::]:0"] {
        let (code, said) = refused(botfarm(&folder, &["serve", "--listen", open])).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(open) && said.contains("--auth none"), "{said}");
    }
    let open = ["serve", "--listen", "0.0.0.0:0", "--auth", "none", "--drain", "0s"];
    let service = Service::start(botfarm(&folder, &open)).await;
    let said = service.stop().await;
    assert!(said.contains("0.0.0.0:0 is open"), "{said}");
}

#[tokio::test]
async fn a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default() {
    let folder = TempDir::new().unwrap();
    for count in [1, 2, 3] {
        bots(folder.path(), &format!("{count}.csv"), count);
    }
    assert_eq!(Service::start(botfarm(&folder, &ANY_PORT)).await.bots().await, 0);
    fs::write(folder.path().join("botfarm.toml"), "bots = \"1.csv\"\nlog-format = \"json\"\n").unwrap();
    assert_eq!(Service::start(botfarm(&folder, &ANY_PORT)).await.bots().await, 1);
    let with_variable = |arguments: &[&str]| {
        let mut command = botfarm(&folder, arguments);
        command.env("BOTFARM_BOTS", "2.csv");
        command
    };
    assert_eq!(Service::start(with_variable(&ANY_PORT)).await.bots().await, 2);
    let with_flag = [&ANY_PORT[..], &["--bots", "3.csv"]].concat();
    assert_eq!(Service::start(with_variable(&with_flag)).await.bots().await, 3);
}

#[tokio::test]
async fn the_files_own_paths_are_relative_to_the_file() {
    let folder = TempDir::new().unwrap();
    let elsewhere = TempDir::new().unwrap();
    bots(elsewhere.path(), "bots.csv", 2);
    let file = elsewhere.path().join("farm.toml");
    fs::write(&file, "bots = \"bots.csv\"\n").unwrap();
    let arguments = [&ANY_PORT[..], &["--config", file.to_str().unwrap()]].concat();
    assert_eq!(Service::start(botfarm(&folder, &arguments)).await.bots().await, 2);
}

#[tokio::test]
async fn a_fault_in_the_file_names_the_line_and_shows_nothing_of_it() {
    let folder = TempDir::new().unwrap();
    for (file, expected) in [
        (
            "listen = \"127.0.0.1:0\"\nlisen = \"s3cret\"\n",
            "botfarm.toml, line 2: unknown field `lisen`; did you mean `listen`?",
        ),
        ("\n\nfarm = \"postgres://u:s3cret@host\n", "botfarm.toml, line 3: "),
        ("auth = \"all\"\n", "botfarm.toml, line 1: unknown variant `all`, expected `none`"),
        ("farm = [\"s3cret\"]\n", "botfarm.toml, line 1: "),
    ] {
        fs::write(folder.path().join("botfarm.toml"), file).unwrap();
        let (code, said) = refused(botfarm(&folder, &ANY_PORT)).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[tokio::test]
async fn a_faulty_file_of_bots_is_refused_whole_with_every_row_that_is_wrong() {
    let folder = TempDir::new().unwrap();
    let file = format!(
        "login,password,project_id,env\nada,s3cret,{PROJECT},stage\nben,s3cret,{PROJECT},the moon\n,s3cret,the mars,stage\n"
    );
    fs::write(folder.path().join("bots.csv"), file).unwrap();
    let (code, said) = refused(botfarm(&folder, &[&ANY_PORT[..], &["--bots", "bots.csv"]].concat())).await;
    assert_eq!(code, Some(2), "{said}");
    for expected in ["bots.csv", "row 2 (line 3): env ", "row 3 (line 4): login ", "row 3 (line 4): project_id "] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[tokio::test]
async fn two_rows_for_one_account_are_found_by_the_farm_and_named_as_rows() {
    let folder = TempDir::new().unwrap();
    let file = format!("login,password,project_id,env\nada,1,{PROJECT},stage\nADA,2,{PROJECT},stage\n");
    fs::write(folder.path().join("bots.csv"), file).unwrap();
    let (code, said) = refused(botfarm(&folder, &[&ANY_PORT[..], &["--bots", "bots.csv"]].concat())).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("row 2 (line 3)"), "{said}");
}

#[tokio::test]
async fn what_cannot_be_a_file_of_bots_is_said_so() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("bots.yaml"), "").unwrap();
    for (file, expected) in [("bots.yaml", "must end in .csv, .json or .ndjson"), ("nowhere.csv", "cannot be read")] {
        let (code, said) = refused(botfarm(&folder, &[&ANY_PORT[..], &["--bots", file]].concat())).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(file) && said.contains(expected), "{said}");
    }
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_explained() {
    let folder = TempDir::new().unwrap();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let (code, said) = refused(botfarm(&folder, &["serve", "--listen", &taken])).await;
    assert_eq!((code, said.contains("is it running already?")), (Some(1), true), "{said}");

    for nonsense in ["8000", "127.0.0.1", "127.0.0.1:99999", "no.such.host.invalid:8000"] {
        let (code, said) = refused(botfarm(&folder, &["serve", "--listen", nonsense])).await;
        assert_eq!((code, said.contains("--listen HOST:PORT")), (Some(2), true), "{said}");
    }
}

#[tokio::test]
async fn logs_in_json_are_one_object_a_line() {
    let folder = TempDir::new().unwrap();
    let file = bots(folder.path(), "bots.csv", 1);
    let arguments = [&ANY_PORT[..], &["--log-format", "json", "--bots", &file]].concat();
    let service = Service::start(botfarm(&folder, &arguments)).await;
    let (head, _) = service.ask("GET", "/api/v1/users/nobody", "X-Request-Id: build-7\r\n", None).await;
    assert!(head.contains("x-request-id: build-7"), "{head}");
    let said = service.stop().await;
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let answered: Vec<_> = lines.iter().filter(|line| line["span"]["request_id"] == "build-7").collect();
    let [answered] = answered[..] else { panic!("a request is one line: {said}") };
    let span = &answered["span"];
    assert_eq!(
        (&answered["message"], &span["method"], &span["route"], &span["status"]),
        (&json!("answered"), &json!("GET"), &json!("/api/v1/users/{id}"), &json!(400))
    );
    assert!(span["latency_ms"].as_f64().is_some_and(|latency| latency > 0.0), "{answered}");
    assert_eq!(said.matches("build-7").count(), 1, "{said}");
    let loaded = lines.iter().find(|line| line["created"] == 1).expect(&said);
    assert_eq!((&loaded["level"], &loaded["message"]), (&json!("INFO"), &json!("loaded the bots of bots.csv")));
}

#[tokio::test]
async fn service_of_the_commands_is_not_the_store_of_a_service() {
    let folder = TempDir::new().unwrap();
    let file = bots(folder.path(), "bots.csv", 1);
    let mut command = botfarm(&folder, &[&ANY_PORT[..], &["--bots", &file]].concat());
    // Nobody is there.
    command.env("BOTFARM_URL", "http://127.0.0.1:9");
    let service = Service::start(command).await;
    assert_eq!(service.lease(&stage()).await.0, 201);
    service.stop().await;
}

#[tokio::test]
async fn a_farm_that_is_not_there_is_a_failure_at_the_start() {
    let folder = TempDir::new().unwrap();
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let url = format!("postgres://nobody@{free}/farm");
    let mut command = botfarm(&folder, &[&ANY_PORT[..], &["--store", &url]].concat());
    command.env("BOTFARM_KEY", KEY);
    let (code, said) = refused(command).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("database"), "{said}");
}

#[tokio::test]
async fn a_service_that_was_asked_to_ends_with_its_input() {
    let folder = TempDir::new().unwrap();
    let mut command = botfarm(&folder, &[&ANY_PORT[..], &["--until-eof"]].concat());
    let mut service = Service::start({
        command.stdin(Stdio::piped());
        command
    })
    .await;
    assert_eq!(service.bots().await, 0);
    drop(service.child.stdin.take());
    let (code, said) = service.end().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("end of input"), "{said}");
}

#[tokio::test]
async fn a_signal_ends_a_start_that_hangs() {
    let folder = TempDir::new().unwrap();
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("postgres://nobody@{}/farm", silent.local_addr().unwrap());
    let mut command = botfarm(&folder, &[&ANY_PORT[..], &["--store", &url]].concat());
    let mut child = command.env("BOTFARM_KEY", KEY).spawn().unwrap();
    // Once it calls the farm, it is in the midst of its start.
    let _called = timeout(PATIENCE, silent.accept()).await.expect("it calls the farm").unwrap();
    kill(&child, "TERM").await;
    let status = timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn neither_help_nor_errors_show_the_url_of_the_farm() {
    let folder = TempDir::new().unwrap();
    let mut command = botfarm(&folder, &["serve", "--help"]);
    command.env("BOTFARM_URL", "postgres://u:s3cret@host/farm");
    let output = timeout(PATIENCE, command.output()).await.expect("it ends").unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("BOTFARM_URL") && !help.contains("s3cret"), "{help}");

    let (code, said) = refused(botfarm(&folder, &[&ANY_PORT[..], &["--store", "u:s3cret@host"]].concat())).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("postgres://"), "{said}");
}

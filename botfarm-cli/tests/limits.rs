//! Two callers who do their worst, against a service that may have 256 MiB: it lives, says so at once, and gives back
//! what it took. A few seconds unless `BOTFARM_LIMITS_SECONDS` says otherwise.
#![cfg(target_os = "linux")]

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::TcpStream as StdTcpStream,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep, timeout},
};

/// What the process may have of memory that is its own, in KiB.
const MEMORY: usize = 256 << 10;

/// How long to attack, unless told otherwise.
const SECONDS: u64 = 6;

const PROJECT: &str = "5f0c7e0a-0000-4000-8000-000000000001";
const LOGIN: &str = "ann";
const PASSWORD: &str = "made-up-correct-zebra";

struct Service {
    child: Child,
    address: String,
    _folder: TempDir,
}

impl Service {
    /// A service of 5,000 bots, which asks who is calling.
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let row = |number| format!("bot-{number},made-up-{number},{PROJECT},stage\n");
        let bots: String = (0..5_000).map(row).collect();
        fs::write(folder.path().join("bots.csv"), format!("login,password,project_id,env\n{bots}")).unwrap();
        let serve = "serve --listen 127.0.0.1:0 --bots bots.csv --auth required --plain-http";
        let mut child = Command::new(env!("CARGO_BIN_EXE_botfarm"))
            .args(serve.split(' '))
            .env_clear()
            .envs([("BOTFARM_STORE", "memory:"), ("BOTFARM_ADMIN_LOGIN", LOGIN), ("BOTFARM_ADMIN_PASSWORD", PASSWORD)])
            .env("RUST_LOG", "off")
            .current_dir(&folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        let address = line.strip_prefix("listening on http://").expect("it starts").trim().to_owned();
        Self { child, address, _folder: folder }
    }

    /// What it has of memory now, in KiB, and the most that it has had: what a container counts, but for its files.
    fn memory(&self) -> (usize, usize) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id().expect("it lives"))).unwrap();
        let of = |name: &str| -> usize {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
        };
        (of("RssAnon"), of("VmHWM") - of("RssFile"))
    }

    async fn token(&self) -> String {
        let body = json!({"login": LOGIN, "password": PASSWORD}).to_string();
        let answer = ask(&self.address, &post("/login", "", "application/json", body.as_bytes())).await.unwrap();
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        body["access_token"].as_str().unwrap().to_owned()
    }
}

/// Asks again and again whether the service lives, each time over a connection of its own, until it is told to stop. On
/// a thread of its own, since the attackers keep the others busy. Gives how long each answer took.
#[expect(clippy::disallowed_methods, reason = "the thread is its own, and asks at intervals")]
fn probes(address: Arc<str>, stop: Arc<AtomicBool>) -> JoinHandle<Vec<Duration>> {
    thread::spawn(move || {
        let mut took = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let mut stream = StdTcpStream::connect(&*address).expect("a connection");
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            stream.write_all(b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            took.push(begun.elapsed());
            thread::sleep(Duration::from_millis(50));
        }
        took
    })
}

/// Sends a request, and reads what comes until the service hangs up.
async fn ask(address: &str, request: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn post(path: &str, token: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /api/v1{path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\ncontent-type: {kind}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let mut request =
        if token.is_empty() { head.replace("authorization: Bearer \r\n", "").into_bytes() } else { head.into_bytes() };
    request.extend(body);
    request
}

fn get(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n\r\n")
}

/// Sends a request again and again, whatever the answer.
async fn flood(address: Arc<str>, request: Vec<u8>) {
    loop {
        // It may hang up before it has read all.
        let _ = timeout(Duration::from_secs(20), ask(&address, &request)).await;
    }
}

/// Asks on many connections, and reads nothing.
async fn ask_without_reading(address: Arc<str>, request: Vec<u8>, connections: usize) {
    loop {
        let mut held = Vec::new();
        for _ in 0..connections {
            let Ok(mut stream) = TcpStream::connect(&*address).await else { break };
            let _ = timeout(Duration::from_secs(1), stream.write_all(&request)).await;
            held.push(stream);
        }
        sleep(Duration::from_secs(2)).await;
    }
}

/// Asks a hundred times on each of many HTTP/2 connections, and lets the service send one byte of each answer.
async fn ask_over_http_2(address: Arc<str>, path: &str, token: String, connections: usize) {
    let mut request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\x01".to_vec();
    let token = format!("Bearer {token}");
    for stream in (1_u32..200).step_by(2) {
        // :method GET, :scheme http, :path, authorization
        let mut head = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
        head.extend(path.bytes());
        head.extend([0x0f, 0x08, 0x7f]);
        let rest = token.len() - 127;
        head.extend([u8::try_from(rest % 128 + 128).unwrap(), u8::try_from(rest / 128).unwrap()]);
        head.extend(token.bytes());
        request.extend(&u32::try_from(head.len()).unwrap().to_be_bytes()[1..]);
        request.extend([1, 5]);
        request.extend(stream.to_be_bytes());
        request.extend(head);
    }
    ask_without_reading(address, request, connections).await;
}

/// All that one caller can do.
fn attack(attacks: &mut JoinSet<()>, address: &Arc<str>, token: &str, connections: usize) {
    let large = format!("{{\"users\":[{}{{}}]}}", "{},".repeat(43_000));
    let unknown: serde_json::Map<_, _> = (0..9_000).map(|number| (number.to_string(), Value::Null)).collect();
    let rows = "{}\n".repeat(5 << 20);
    let login = json!({"login": "ann", "password": "guess"}).to_string();
    let wait = r#"{"users":[{"id":"5f0c7e0a-0000-4000-8000-000000000002"}],"wait_seconds":60}"#;
    for (count, path, kind, body) in [
        (8, "/leases", "application/json", large.as_str()),
        (8, "/leases", "application/json", &Value::from(unknown).to_string()),
        (2, "/users/import", "application/x-ndjson", &rows),
        (2, "/users/import", "application/json", &format!("[{}{{}}]", "{},".repeat(5 << 20))),
        (8, "/login", "application/json", &login),
        (8, "/leases", "application/json", wait),
    ] {
        let token = if path == "/login" { "" } else { token };
        for _ in 0..count {
            attacks.spawn(flood(address.clone(), post(path, token, kind, body.as_bytes())));
        }
    }
    for path in ["/docs/swagger-ui-bundle.js", "/api/v1/users", "/api/v1/users?limit=1000", "/metrics", "/openapi.json"]
    {
        attacks.spawn(ask_without_reading(address.clone(), get(path, token).repeat(8).into(), connections));
        attacks.spawn(ask_over_http_2(address.clone(), path, token.to_owned(), connections / 3));
    }
    // Connections that say nothing, or begin to say something.
    attacks.spawn(ask_without_reading(address.clone(), Vec::new(), 4 * connections));
    attacks.spawn(ask_without_reading(address.clone(), b"GET /".to_vec(), 4 * connections));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_two_callers_take_a_service_down() {
    let seconds = env::var("BOTFARM_LIMITS_SECONDS").ok().map(|text| text.parse().expect("a number of seconds"));
    let mut service = Service::start().await;
    let (address, token): (Arc<str>, _) = (service.address.as_str().into(), service.token().await);
    let (before, _) = service.memory();
    let mut attacks = JoinSet::new();
    for _ in 0..2 {
        attack(&mut attacks, &address, &token, if seconds.is_some() { 60 } else { 9 });
    }
    let stop = Arc::new(AtomicBool::new(false));
    let probes = probes(address, stop.clone());
    let (begun, mut most) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(seconds.unwrap_or(SECONDS)) {
        most = service.memory().1;
        sleep(Duration::from_millis(50)).await;
        assert_eq!(service.child.try_wait().unwrap(), None, "it was killed: it wanted more than it may have");
    }
    stop.store(true, Ordering::Relaxed);
    let took = spawn_blocking(|| probes.join()).await.unwrap().unwrap();
    attacks.shutdown().await;
    let (looks, slowest) = (took.len(), took.into_iter().max().expect("it was asked"));
    let ended = Instant::now();
    let gives_back = before + (64 << 10);
    while seconds.is_some() && service.memory().0 > gives_back && ended.elapsed() < Duration::from_mins(1) {
        sleep(Duration::from_millis(200)).await;
    }
    let (after, _) = service.memory();
    println!(
        "{before} KiB before, {most} KiB at most, {after} KiB after; {looks} looks at /livez, the slowest {slowest:?}"
    );
    assert!(most <= MEMORY, "{most} KiB at most");
    // Unoptimised, and beside a compiler and other tests, that it lives and answers is what can be said.
    assert!(seconds.is_none() || after <= gives_back, "{after} KiB after, {before} KiB before");
    assert!(seconds.is_none() || slowest <= Duration::from_millis(100), "{slowest:?}");
}

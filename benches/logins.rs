//! What a flood of wrong logins does to those who lease.
//!
//! `cargo bench --bench logins --features http` on loopback, five minutes: a thousand wrong logins a second for ten
//! seconds, beside one caller who leases a bot and gives it back, again and again. Before each flood, ten seconds without.
//! Compared is how long a lease takes, which is expected to stay within twice the idle time at the 99th percentile, in
//! the median of five rounds; the process fails when it does not.
//!
//! - `one login`: somebody guesses the password of one operator.
//! - `many logins`: one machine tries a new login each time.
//! - `many machines`: each login comes from an address of its own, so that nothing but the number of passwords that are
//!   hashed at a time is in its way. The worst that there is.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use botfarm::{
    Env, Holder, Login, MemoryFarm, NewBot, ProjectId, Secret,
    operators::{NewToken, Operators, Role, Scope},
};
use botfarm_http::{
    Options,
    auth::{ApiToken, Auth, Required, SessionKey, hash_password},
    router, serve,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime::{Builder, Runtime},
    time::sleep_until,
};

const SPAN: Duration = Duration::from_secs(10);
const ROUNDS: usize = 5;
/// Of wrong logins, in one second.
const RATE: u64 = 1_000;
/// More than may wait for their password to be hashed, so that the others keep up the rate.
const CONNECTIONS: u64 = 128;

#[derive(Debug, Clone, Copy)]
enum Flood {
    OneLogin,
    ManyLogins,
    ManyMachines,
}

/// A service with an operator ann, and a token to lease with.
fn start(runtime: &Runtime) -> (SocketAddr, String) {
    let bot = NewBot::new(text("ada"), secret("correct horse"), ProjectId::new(), Env::STAGE);
    let farm = MemoryFarm::with_bots([bot]).expect("there is one bot");
    let token = ApiToken::generate().expect("the system has randomness");
    let name: Holder = text("ci");
    let new = NewToken { name, role: Role::Tester, scope: Scope::default(), expires_at: None, digest: token.digest() };
    let hash = hash_password(&text("ann"), &secret("correct horse battery staple")).expect("it is one to have");
    runtime.block_on(async {
        farm.add_token(new).await.expect("the name is free");
        farm.add_operator(text::<Login>("ann"), hash, Role::Admin).await.expect("the login is free");
        let required = Required::new(Arc::new(farm.clone()), SessionKey::random());
        let trusted_proxies = vec!["127.0.0.1".parse().expect("is an address")];
        let options = Options { auth: Auth::Required(required), trusted_proxies, ..Options::default() };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        tokio::spawn(serve(listener, router(Arc::new(farm), options), std::future::pending()));
        (address, token.secret().expose().to_owned())
    })
}

fn text<T: for<'t> TryFrom<&'t str>>(text: &str) -> T {
    T::try_from(text).unwrap_or_else(|_| unreachable!("is a valid text"))
}

fn secret(text: &str) -> Secret {
    Secret::try_from(text).expect("is a password")
}

/// Leases and gives back for as long as `SPAN`; how long each lease took.
fn lease(address: SocketAddr, token: &str) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).expect("the service listens");
    stream.set_nodelay(true).expect("it is a socket");
    let mut call = |method: &str, path: &str, body: &str| {
        let length = body.len();
        let request = format!(
            "{method} /api/v1/leases{path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).expect("the service reads");
        let (mut answer, mut buffer) = (Vec::new(), [0; 4_096]);
        while !is_whole(&answer) {
            let count = stream.read(&mut buffer).expect("the service answers");
            assert!(count > 0, "the service hung up");
            answer.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8(answer).expect("answers are text")
    };
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < SPAN {
        let asked = Instant::now();
        let answer = call("POST", "", r#"{"users": [{}]}"#);
        times.push(asked.elapsed());
        let id = answer.split("\"id\":\"").nth(1).and_then(|rest| rest.get(..36)).expect("it is granted");
        assert_eq!(status(&call("DELETE", &format!("/{id}"), "")), 204);
    }
    times.sort_unstable();
    times
}

/// Whether the head of an answer has arrived, and its body with it.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().expect("is a number"))
}

fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|status| status.parse().ok()).expect("it begins with a status")
}

/// Sends wrong logins for as long as `SPAN`; how many were answered with which status.
async fn flood(address: SocketAddr, flood: Flood) -> BTreeMap<u16, u64> {
    let (start, next) = (tokio::time::Instant::now(), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let next = next.clone();
            tokio::spawn(async move {
                let mut stream = tokio::net::TcpStream::connect(address).await.expect("the service listens");
                let mut statuses = Vec::new();
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    let at = Duration::from_micros(turn * 1_000_000 / RATE);
                    if at >= SPAN {
                        return statuses;
                    }
                    sleep_until(start + at).await;
                    let login = if matches!(flood, Flood::OneLogin) { "ann".to_owned() } else { format!("x{turn}") };
                    let [_, a, b, c] = u32::try_from(turn).unwrap_or(0).to_be_bytes();
                    let from = if matches!(flood, Flood::ManyMachines) { [10, a, b, c] } else { [192, 0, 2, 1] };
                    let from = std::net::Ipv4Addr::from(from);
                    let body = format!("{{\"login\": \"{login}\", \"password\": \"wrong\"}}");
                    let length = body.len();
                    let request = format!(
                        "POST /api/v1/login HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: {from}\r\n\
                         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
                    );
                    stream.write_all(request.as_bytes()).await.expect("the service reads");
                    let (mut answer, mut buffer) = (Vec::new(), [0; 2_048]);
                    while !is_whole(&answer) {
                        let count = stream.read(&mut buffer).await.expect("the service answers");
                        assert!(count > 0, "the service hung up");
                        answer.extend_from_slice(&buffer[..count]);
                    }
                    statuses.push(status(&String::from_utf8_lossy(&answer)));
                }
            })
        })
        .collect();
    let mut counts = BTreeMap::new();
    for caller in callers {
        for status in caller.await.expect("it has not panicked") {
            *counts.entry(status).or_default() += 1;
        }
    }
    counts
}

/// The time within which this share of all were.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// The 99th percentile under a flood over that without, of a service of its own: failures are counted.
fn compare(runtime: &Runtime, name: &str, kind: Flood) -> f64 {
    let (address, token) = start(runtime);
    let idle = lease(address, &token);
    let attack = thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("there is a runtime");
        runtime.block_on(flood(address, kind))
    });
    let flooded = lease(address, &token);
    let statuses = attack.join().expect("it has not panicked");
    let ratio = percentile(&flooded, 99).as_secs_f64() / percentile(&idle, 99).as_secs_f64();
    for (when, times) in [("idle", &idle), ("flood", &flooded)] {
        let [half, most] = [percentile(times, 50), percentile(times, 99)];
        println!("{name:>13}, {when:5}: {:6} leases, p50 {half:8.1?}, p99 {most:8.1?}", times.len());
    }
    println!("{name:>13}, p99 ratio {ratio:.2}; logins by status: {statuses:?}");
    ratio
}

fn main() -> ExitCode {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("there is a runtime");
    let floods =
        [("one login", Flood::OneLogin), ("many logins", Flood::ManyLogins), ("many machines", Flood::ManyMachines)];
    let mut ratios = [const { Vec::new() }; 3];
    // In turns, since what else the machine does changes with time.
    for _ in 0..ROUNDS {
        for ((name, kind), ratios) in floods.iter().zip(&mut ratios) {
            ratios.push(compare(&runtime, name, *kind));
        }
    }
    let mut within = true;
    for ((name, _), mut ratios) in floods.iter().zip(ratios) {
        ratios.sort_unstable_by(f64::total_cmp);
        let median = ratios[ROUNDS / 2];
        println!("{name:>13}: median of the p99 ratios {median:.2}, of {ratios:.2?}");
        within &= median <= 2.0;
    }
    if within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

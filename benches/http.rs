//! Acquire and release over HTTP, next to a bare axum handler that takes and gives JSON of the same size.
//!
//! `cargo bench --bench http` on loopback: 8 connections that are kept, each with one request under way. A pair is a
//! POST that takes and gives JSON, and a DELETE that is answered with 204; for the farm they lease one bot of a thousand
//! and give it back, for the bare handlers they do nothing. The last line compares the two, measured in turns. The farm
//! is expected to reach 0.6 of the bare handlers.

use std::{
    hint::black_box,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    http::StatusCode,
    routing::{delete, post},
};
use botfarm::{BotFarm, Ending, Env, LeaseId, LeaseRequest, MemoryFarm, NewBot, ProjectId, Selector};
use botfarm_http::{Options, router, serve, wire};
use criterion::{Criterion, Throughput, criterion_group};
use serde::Deserialize;
use tokio::{net::TcpListener, runtime::Runtime};

const CONNECTIONS: u64 = 8;
const BOTS: usize = 1_000;

/// What the bare handler takes: the same JSON as the service.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "reading it is the work")]
struct BareRequest {
    users: Vec<BareSelector>,
    id: LeaseId,
    ttl_seconds: u64,
    holder: String,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "reading it is the work")]
struct BareSelector {
    project_id: ProjectId,
    env: Env,
}

fn bots(project: ProjectId) -> impl Iterator<Item = NewBot> {
    (0..BOTS).map(move |number| {
        let login = format!("bot-{number}@shop.test").try_into().expect("is a login");
        NewBot::new(login, "correct horse".try_into().expect("is a password"), project.clone(), Env::STAGE)
    })
}

/// The service, and the bare handlers that answer with a lease of the same size.
fn routers(runtime: &Runtime, project: &ProjectId) -> (Router, Router) {
    let farm = Arc::new(MemoryFarm::with_bots(bots(project.clone())).expect("the logins differ"));
    let request = LeaseRequest::new(holder().parse().expect("is a holder"), Selector::any().project(project.clone()));
    let lease = runtime.block_on(farm.acquire(request)).expect("a bot is free");
    runtime.block_on(farm.release(lease.id, Ending::clean())).expect("the lease is in force");
    let lease = Arc::new(wire::Lease::from(lease));
    let acquire = async move |Json(request): Json<BareRequest>| {
        black_box(request);
        (StatusCode::CREATED, Json(wire::Lease::clone(&lease)))
    };
    let bare = Router::new()
        .route("/api/v1/leases", post(acquire))
        .route("/api/v1/leases/{id}", delete(async || StatusCode::NO_CONTENT));
    (router(farm, Options::default()), bare)
}

fn holder() -> &'static str {
    "checkout.spec.ts > pays by card"
}

/// One connection, and the requests that go over it.
struct Caller {
    stream: TcpStream,
    project: ProjectId,
    answer: Vec<u8>,
}

impl Caller {
    fn connect(address: SocketAddr, project: ProjectId) -> Self {
        let stream = TcpStream::connect(address).expect("the service listens");
        stream.set_nodelay(true).expect("is a socket");
        Self { stream, project, answer: vec![0; 8 << 10] }
    }

    /// Leases a bot and gives it back.
    fn pair(&mut self) {
        let id = LeaseId::new().as_uuid();
        let body = format!(
            r#"{{"users":[{{"project_id":"{}","env":"stage"}}],"id":"{id}","ttl_seconds":60,"holder":"{}"}}"#,
            self.project,
            holder()
        );
        let request = format!(
            "POST /api/v1/leases HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.ask(&request, "201");
        self.ask(&format!("DELETE /api/v1/leases/{id} HTTP/1.1\r\nhost: localhost\r\n\r\n"), "204");
    }

    /// Sends one request, and reads the answer to its end.
    fn ask(&mut self, request: &str, status: &str) {
        self.stream.write_all(request.as_bytes()).expect("the service reads");
        let mut read = 0;
        loop {
            let more = self.stream.read(&mut self.answer[read..]).expect("the service answers");
            assert!(more > 0, "the service hung up");
            read += more;
            let answer = &self.answer[..read];
            let Some(head) = answer.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
            let text = std::str::from_utf8(&answer[..head]).expect("a head is ASCII");
            assert_eq!(text.get(9..12), Some(status), "{text}");
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            if read >= head + 4 + length.map_or(0, |length| length.parse().expect("is a length")) {
                return;
            }
        }
    }
}

/// How long `pairs` pairs take over all the connections together.
fn run(callers: &mut [Caller], pairs: u64) -> Duration {
    let each = pairs.div_ceil(CONNECTIONS);
    let begun = Instant::now();
    thread::scope(|scope| {
        for caller in callers {
            scope.spawn(move || (0..each).for_each(|_| caller.pair()));
        }
    });
    // The shares are even: of what was run, only what was asked for counts.
    let count = |pairs: u64| u32::try_from(pairs).expect("no run is that long");
    begun.elapsed() * count(pairs) / count(each * CONNECTIONS)
}

fn bench(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("the system has threads");
    let project = ProjectId::new();
    let (service, bare) = routers(&runtime, &project);
    let listen = || {
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let project = project.clone();
        (listener, move || (0..CONNECTIONS).map(|_| Caller::connect(address, project.clone())).collect::<Vec<_>>())
    };
    let (listener, callers) = listen();
    runtime.spawn(serve(listener, service, std::future::pending()));
    let mut to_service = callers();
    let (listener, callers) = listen();
    runtime.spawn(async move { axum::serve(listener, bare).await });
    let mut to_bare = callers();

    let mut group = criterion.benchmark_group("http");
    // Each pair is two requests.
    group.throughput(Throughput::Elements(2));
    group.bench_function("farm/c8", |bencher| bencher.iter_custom(|pairs| run(&mut to_service, pairs)));
    group.bench_function("bare/c8", |bencher| bencher.iter_custom(|pairs| run(&mut to_bare, pairs)));
    group.finish();

    // In turns, so that whatever else the machine does falls on both.
    let mut ratios: Vec<_> = (0..21)
        .map(|_| {
            let (farm, bare) = (run(&mut to_service, 4_000), run(&mut to_bare, 4_000));
            bare.as_secs_f64() / farm.as_secs_f64()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!("http: the farm reaches {:.2} of the bare handlers ({:.2} to {:.2})", ratios[10], ratios[2], ratios[18]);
}

criterion_group!(benches, bench);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
}

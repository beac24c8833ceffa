//! What a caller may send, and how long it may take to: over TCP.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, http::Method};
use botfarm_core::{
    BotFarm as _,
    operators::{Role, Scope},
};
use botfarm_http::{Options, auth::Auth};
use botfarm_memory::MemoryFarm;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{self, Instant},
};
use tower::ServiceExt as _;

use crate::{
    principals::{Principals, call},
    service::{Raw, Rest, Served, bot, project, until},
};

#[tokio::test]
async fn who_does_not_finish_a_body_is_told_so() {
    let served = Served::start(Rest::empty().router).await;
    let mut raw = Raw::connect(&served).await;
    // The thread that takes connections in has a clock of its own.
    raw.send(Method::GET, "/readyz", &Value::Null).await;
    assert_eq!(raw.answer().await.0, 200);
    time::pause();
    let head = "POST /api/v1/leases HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    raw.0.write_all(head.as_bytes()).await.unwrap();
    let begun = Instant::now();
    let (status, problem) = raw.answer().await;
    assert_eq!((status, &problem["detail"]), (400, &json!("the body did not arrive in time")));
    assert!((30..=40).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let served = Served::start(Rest::empty().router).await;
    let long = format!("x-note: {}\r\n", "x".repeat(40 << 10));
    let many = "x-note: 1\r\n".repeat(101);
    for headers in [long, many] {
        let mut raw = Raw::connect(&served).await;
        // It may hang up before it has read all.
        let _ = raw.0.write_all(format!("GET /livez HTTP/1.1\r\n{headers}\r\n").as_bytes()).await;
        assert!(raw.head().await.starts_with("HTTP/1.1 431 "));
    }
    let mut raw = Raw::connect(&served).await;
    raw.send(Method::GET, &format!("/livez?{}", "x".repeat(8 << 10)), &Value::Null).await;
    assert_eq!(raw.answer().await.0, 200);
}

/// A service whose callers may have two requests waiting, and three leases.
fn small(principals: &Principals) -> Rest {
    let farm = Arc::new(MemoryFarm::with_bots((0..8).map(|number| bot(&format!("bot-{number}")))).unwrap());
    let auth = Auth::Required(principals.required.clone());
    Rest::with(farm, Options { auth, max_waiters: 2, max_leases: 3, ..Options::default() })
}

#[tokio::test]
async fn a_caller_has_so_many_leases_in_force_and_another_has_others() {
    let principals = Principals::new().await;
    let rest = small(&principals);
    let (_, ada) = principals.token("ada", Role::Tester, Scope::default(), None).await;
    let (_, bob) = principals.token("bob", Role::Tester, Scope::default(), None).await;
    let mut leases = Vec::new();
    for _ in 0..3 {
        let answer = call(&rest, &ada, Method::POST, "/leases", json!({"users": [{}]})).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        leases.push(answer.json()["id"].as_str().unwrap().to_owned());
    }
    let refused = call(&rest, &ada, Method::POST, "/leases", json!({"users": [{}]})).await;
    assert_eq!(refused.failure(), (429, "too-many-requests".to_owned()));
    assert_eq!(
        refused.json()["detail"],
        "ada has 3 leases in force, and 3 is the most that one caller may have; try again in 5 s"
    );
    assert_eq!(refused.header("retry-after"), Some("5"));
    let again = call(&rest, &ada, Method::POST, "/leases", json!({"users": [{}], "id": leases[0]})).await;
    assert_eq!((again.status.as_u16(), &again.json()["id"]), (201, &json!(leases[0])), "it has this one already");
    assert_eq!(call(&rest, &bob, Method::POST, "/leases", json!({"users": [{}]})).await.status, 201);
    assert_eq!(call(&rest, &ada, Method::DELETE, &format!("/leases/{}", leases[0]), Value::Null).await.status, 204);
    assert_eq!(call(&rest, &ada, Method::POST, "/leases", json!({"users": [{}]})).await.status, 201);
}

#[tokio::test]
async fn a_caller_has_so_many_requests_waiting_and_another_has_others() {
    let principals = Principals::new().await;
    let rest = small(&principals);
    let (_, ada) = principals.token("ada", Role::Tester, Scope::default(), None).await;
    let (_, bob) = principals.token("bob", Role::Tester, Scope::default(), None).await;
    let all = json!({"users": vec![json!({}); 8]});
    assert_eq!(call(&rest, &bob, Method::POST, "/leases", all).await.status, 201);
    let wanted = json!({"users": [{}], "wait_seconds": 60});
    let wait = |token: &str| {
        let (rest, token, wanted) = (rest.clone(), token.to_owned(), wanted.clone());
        tokio::spawn(async move { call(&rest, &token, Method::POST, "/leases", wanted).await })
    };
    let waiting = [wait(&ada), wait(&ada)];
    until(async || rest.farm.stats().await.unwrap().waiting == 2).await;
    let refused = call(&rest, &ada, Method::POST, "/leases", wanted.clone()).await;
    assert_eq!(refused.failure(), (429, "too-many-requests".to_owned()));
    assert_eq!(
        refused.json()["detail"],
        "ada has 2 requests waiting, which is the most that one caller may have; try again in 1 s"
    );
    let at_once = call(&rest, &ada, Method::POST, "/leases", json!({"users": [{}]})).await;
    assert_eq!(at_once.failure(), (409, "exhausted".to_owned()), "who does not wait takes no place");
    let other = wait(&bob);
    until(async || rest.farm.stats().await.unwrap().waiting == 3).await;
    for one in waiting.into_iter().chain([other]) {
        one.abort();
    }
    until(async || rest.farm.stats().await.unwrap().waiting == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_list_counts_against_its_caller_until_it_has_been_read() {
    let principals = Principals::new().await;
    let farm = Arc::new(MemoryFarm::with_bots((0..300).map(|number| bot(&format!("bot-{number}")))).unwrap());
    let rest = Rest::with(farm, Options { auth: Auth::Required(principals.required.clone()), ..Options::default() });
    let (_, ada) = principals.token("ada", Role::Viewer, Scope::default(), None).await;
    let (_, bob) = principals.token("bob", Role::Viewer, Scope::default(), None).await;
    let (router, ask) = (rest.router.clone(), async |router: axum::Router, token: &str, path: &str| {
        let request = axum::http::Request::get(path).header("authorization", format!("Bearer {token}"));
        router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    });
    let lists = ["/api/v1/users", "/api/v1/users?limit=300", "/api/v1/leases", "/api/v1/stats", "/metrics"];
    let mut unread = Vec::new();
    for path in lists.into_iter().cycle().take(8) {
        let answer = ask(router.clone(), &ada, path).await;
        assert_eq!(answer.status(), 200, "{path}");
        unread.push(answer);
    }
    for path in lists {
        assert_eq!(ask(router.clone(), &ada, path).await.status(), 429, "{path}");
        assert_eq!(ask(router.clone(), &bob, path).await.status(), 200, "{path}: another has others");
    }
    // Read to its end, or dropped before.
    let mut read = unread.remove(0).into_body();
    while let Some(frame) = read.frame().await {
        frame.unwrap();
    }
    let again = ask(router.clone(), &ada, lists[0]).await;
    assert_eq!(again.status(), 200);
    assert_eq!(ask(router.clone(), &ada, lists[1]).await.status(), 429);
    drop(unread);
    assert_eq!(ask(router, &ada, lists[1]).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_caller_has_so_many_requests_under_way_and_another_has_others() {
    let principals = Principals::new().await;
    let rest = small(&principals);
    let (_, ada) = principals.token("ada", Role::Viewer, Scope::default(), None).await;
    let (_, bob) = principals.token("bob", Role::Viewer, Scope::default(), None).await;
    let list = |token: &str| {
        let request = axum::http::Request::get("/api/v1/users").header("authorization", format!("Bearer {token}"));
        rest.router.clone().oneshot(request.body(Body::empty()).unwrap())
    };
    // What reads the document may wait for another test to: time would pass.
    assert_eq!(call(&rest, &bob, Method::GET, "/stats", Value::Null).await.status, 200);
    // As many lists as are read at once, and others that wait for their turn.
    let mut unread = Vec::new();
    for _ in 0..8 {
        unread.push(list(&ada).await.unwrap());
    }
    let waiting: Vec<_> = (0..258)
        .map(|_| {
            let list = list(&ada);
            tokio::spawn(async move { list.await.unwrap().status() })
        })
        .collect();
    // Until all of them wait.
    time::sleep(Duration::from_secs(1)).await;
    let refused = call(&rest, &ada, Method::GET, "/stats", Value::Null).await;
    assert_eq!(refused.failure(), (429, "too-many-requests".to_owned()));
    assert_eq!(
        refused.json()["detail"],
        "ada has 258 requests under way, which is the most that one caller may have; try again in 1 s"
    );
    assert_eq!(call(&rest, &bob, Method::GET, "/stats", Value::Null).await.status, 200);
    drop(unread);
    for one in waiting {
        assert_eq!(one.await.unwrap(), 200);
    }
    assert_eq!(call(&rest, &ada, Method::GET, "/stats", Value::Null).await.status, 200);
}

#[tokio::test]
async fn the_body_of_who_may_not_do_it_is_not_read() {
    let principals = Principals::new().await;
    let served = Served::start(principals.empty().router).await;
    let (_, token) = principals.token("tom", Role::Tester, Scope::default(), None).await;
    for (method, path) in [("POST", "/users"), ("POST", "/users/import"), ("PATCH", "/users/0"), ("POST", "/tokens")] {
        for key in ["", "idempotency-key: 1\r\n"] {
            let mut raw = Raw::connect(&served).await;
            let head = format!(
                "{method} /api/v1{path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n{key}\
                 content-type: application/json\r\ncontent-length: 90000\r\n\r\n"
            );
            raw.0.write_all(head.as_bytes()).await.unwrap();
            let (status, problem) = time::timeout(Duration::from_secs(5), raw.answer()).await.expect("at once");
            assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{method} {path} {key}");
        }
    }
}

#[tokio::test]
async fn thousands_of_selectors_are_one_fault() {
    let rest = Rest::empty();
    let body = json!({"users": vec![json!({"typo": 1}); 9_000]});
    let answer = rest.post("/api/v1/leases", body).await;
    assert_eq!(answer.failure(), (422, "invalid".to_owned()));
    let expected = json!([{"pointer": "/users", "detail": "must be 1 to 32 selectors, are 9000"}]);
    assert_eq!(answer.json()["errors"], expected);
}

#[tokio::test]
async fn however_wrong_a_request_is_its_faults_are_few() {
    let rest = Rest::empty();
    let body: serde_json::Map<_, _> = (0..9_000).map(|number| (number.to_string(), json!(1))).collect();
    let answer = rest.post("/api/v1/leases", body.into()).await;
    let errors = answer.json()["errors"].as_array().unwrap().clone();
    assert_eq!(errors.len(), 101);
    assert_eq!(errors[100], json!({"pointer": "", "detail": "and 8901 more faults"}));
    assert!(answer.body.len() < 10_000 + answer.json()["detail"].as_str().unwrap().len());
}

#[tokio::test]
async fn an_import_is_read_no_further_than_it_takes_to_refuse_it() {
    let options = Options { import_rows: 10, import_limit: 100_000, ..Options::default() };
    let rest = Rest::with(Arc::new(MemoryFarm::new()), options);
    let import =
        async |kind: &str, body: String| rest.with_body(Method::POST, "/api/v1/users/import", kind, body).await;
    let row = |number| json!({"login": format!("u{number}"), "password": "x", "project_id": project(), "env": "stage"});
    let rows = |count| (0..count).map(row).collect::<Vec<_>>();
    assert_eq!(import("application/json", json!(rows(10)).to_string()).await.json()["created"], 10);
    let many = import("application/json", json!(rows(11)).to_string()).await;
    assert_eq!(many.failure(), (422, "invalid".to_owned()));
    let expected = json!([{"pointer": "", "detail": "must have at most 10 rows; import it in parts"}]);
    assert_eq!(many.json()["errors"], expected);
    let large = import("application/x-ndjson", format!("{}\n", row(0)).repeat(2_000)).await;
    assert_eq!(large.failure(), (413, "too-large".to_owned()));
    // Of a length that is not said beforehand.
    let endless = futures_util::stream::repeat_with(|| Ok::<_, std::convert::Infallible>(vec![b'\n'; 1_000]));
    let body = Body::from_stream(endless);
    let endless = rest.with_body(Method::POST, "/api/v1/users/import", "application/x-ndjson", body).await;
    assert_eq!(endless.failure(), (413, "too-large".to_owned()));
}

/// An HTTP/2 connection written by hand: its peer says how much it may be sent.
struct Http2(TcpStream);

impl Http2 {
    /// Connects, and lets the service send `window` bytes of each answer.
    async fn connect(served: &Served, window: u32) -> Self {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut settings = vec![0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4];
        settings.extend(window.to_be_bytes());
        stream.write_all(&settings).await.unwrap();
        Self(stream)
    }

    /// `GET path` as the stream of this number, which is odd.
    async fn get(&mut self, stream: u32, path: &str) {
        // :method GET, :scheme http, :authority farm, :path …
        let mut head = vec![0x82, 0x86, 0x41, 4];
        head.extend(b"farm");
        head.extend([0x44, u8::try_from(path.len()).unwrap()]);
        head.extend(path.bytes());
        let mut frame = vec![0, 0, u8::try_from(head.len()).unwrap(), 1, 5];
        frame.extend(stream.to_be_bytes());
        frame.extend(head);
        self.0.write_all(&frame).await.unwrap();
    }

    /// The next frame: its type, its stream, and what it carries.
    async fn frame(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, _, stream @ ..] = head;
        let mut body = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut body).await.ok()?;
        Some((kind, u32::from_be_bytes(stream), body))
    }
}

#[tokio::test]
async fn an_http_2_peer_is_told_how_many_requests_it_may_have_under_way() {
    let served = Served::start(Rest::empty().router).await;
    let mut peer = Http2::connect(&served, 65_535).await;
    let (kind, _, settings) = peer.frame().await.unwrap();
    assert_eq!(kind, 4);
    let setting = |wanted: u16| {
        let mut settings = settings.chunks(6).filter(|setting| setting[..2] == wanted.to_be_bytes());
        settings.next().map(|setting| u32::from_be_bytes(setting[2..].try_into().unwrap()))
    };
    // Requests at once; bytes of a request's body; bytes of its head.
    assert_eq!((setting(3), setting(4), setting(6)), (Some(100), Some(65_536), Some(32 << 10)));
}

#[tokio::test]
async fn who_does_not_read_an_answer_is_hung_up_on() {
    let farm = MemoryFarm::with_bots((0..2_000).map(|number| bot(&format!("bot-{number}")))).unwrap();
    let served = Served::start(Rest::over(Arc::new(farm)).router).await;
    // Nothing of each answer, and the first byte of it.
    for window in [0, 1] {
        let mut peer = Http2::connect(&served, window).await;
        for number in 0..50 {
            peer.get(2 * number + 1, "/api/v1/users").await;
        }
        let mut headers = 0;
        while headers < 50 {
            headers += u32::from(peer.frame().await.expect("an answer begins").0 == 1);
        }
        time::pause();
        let begun = Instant::now();
        while peer.frame().await.is_some() {}
        assert!((29..=40).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        time::resume();
    }
}

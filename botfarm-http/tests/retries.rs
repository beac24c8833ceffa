//! What `HttpFarm` sends again, when, and how often.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{Method, Response},
};
use botfarm_core::{
    BotChanges, BotFarm, BotId, BotRelease, Env, Error, LeaseId, LeaseRequest, NewBot, ProjectId, Result, Revocation,
    Selector, operators::TokenId,
};
use botfarm_http::{HttpFarm, HttpFarmBuilder};
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch};

const STATS: &str = r#"{"pools": [], "waiting": 3}"#;

/// How a server answers one request.
#[derive(Debug, Clone, Copy)]
enum Reply {
    With(u16, &'static [(&'static str, &'static str)], &'static str),
    Never,
}

use Reply::{Never, With};

const GONE: Reply = With(502, &[], "<html>");
const OK: Reply = With(200, &[], STATS);

/// A request that a server got.
#[derive(Debug, Clone)]
struct Got {
    at: Instant,
    method: Method,
    key: Option<String>,
    body: Value,
}

/// A server that answers one request after another by its script, and the last line of it for ever.
#[derive(Debug)]
struct Server {
    url: String,
    got: watch::Receiver<Vec<Got>>,
}

impl Server {
    async fn start(script: impl IntoIterator<Item = Reply>) -> Self {
        Self::on(TcpListener::bind(("127.0.0.1", 0)).await.unwrap(), script)
    }

    fn on(listener: TcpListener, script: impl IntoIterator<Item = Reply>) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let script = Arc::new(Mutex::new(script.into_iter().collect::<VecDeque<_>>()));
        let (log, got) = watch::channel(Vec::new());
        let router = Router::new().fallback(async move |request: Request| {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let key = parts.headers.get("idempotency-key").map(|key| key.to_str().unwrap().to_owned());
            let body = serde_json::from_slice(&body).unwrap_or_default();
            log.send_modify(|got| got.push(Got { at: Instant::now(), method: parts.method, key, body }));
            let reply = {
                let mut script = script.lock().unwrap();
                if script.len() > 1 { script.pop_front().unwrap() } else { script[0] }
            };
            let With(status, headers, body) = reply else { return std::future::pending().await };
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            response.body(Body::from(body)).unwrap()
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, got }
    }

    fn builder(&self) -> HttpFarmBuilder {
        HttpFarm::builder(&self.url).pauses(Duration::from_millis(1), Duration::from_millis(10))
    }

    fn farm(&self) -> HttpFarm {
        self.builder().build().unwrap()
    }

    fn got(&self) -> Vec<Got> {
        self.got.borrow().clone()
    }
}

fn token() -> TokenId {
    TokenId(uuid::Uuid::from_u128(7))
}

fn request() -> LeaseRequest {
    LeaseRequest::new("me".parse().unwrap(), Selector::any())
}

#[tokio::test]
async fn what_may_pass_is_asked_again() {
    for status in [408, 429, 502, 503, 504] {
        let server = Server::start([With(status, &[], ""), With(status, &[], ""), OK]).await;
        assert_eq!(server.farm().stats().await.unwrap().waiting, 3);
        assert_eq!(server.got().len(), 3);
    }
    let cut = With(200, &[("content-length", "100")], r#"{"pools":"#);
    let server = Server::start([cut, OK]).await;
    assert_eq!(server.farm().stats().await.unwrap().waiting, 3, "half an answer is none");
    let unanswered = Server::start([Never, OK]).await;
    let farm = unanswered.builder().timeout(Duration::from_millis(100)).build().unwrap();
    assert_eq!(farm.stats().await.unwrap().waiting, 3);
}

#[tokio::test]
async fn what_lasts_is_asked_once() {
    let problem = r#"{"type": "about:blank", "title": "", "status": 404, "detail": "", "code": "no-such-lease"}"#;
    for (status, body) in [(404, problem), (401, ""), (403, ""), (404, ""), (500, ""), (200, "no JSON")] {
        let server = Server::start([With(status, &[], body)]).await;
        server.farm().lookup(LeaseId::new()).await.unwrap_err();
        assert_eq!(server.got().len(), 1, "{status} {body}");
    }
}

#[tokio::test]
async fn a_service_that_asks_for_time_is_given_it() {
    let server = Server::start([With(503, &[("retry-after", "1")], ""), OK]).await;
    server.farm().stats().await.unwrap();
    let got = server.got();
    assert!(got[1].at - got[0].at >= Duration::from_secs(1), "{got:?}");

    let server = Server::start([With(429, &[("retry-after", "3600")], "")]).await;
    match server.farm().stats().await.unwrap_err() {
        Error::Unavailable { retry_after, .. } => assert_eq!(retry_after, Duration::from_hours(1)),
        other => panic!("{other:?}"),
    }
    assert_eq!(server.got().len(), 1, "nobody waits for an hour");
}

#[tokio::test]
async fn pauses_grow_and_the_last_try_is_within_the_time_agreed() {
    let server = Server::start([GONE]).await;
    let (first, total) = (Duration::from_millis(20), Duration::from_millis(700));
    let farm = server.builder().pauses(first, Duration::from_millis(160)).retry_for(total).build().unwrap();
    assert_eq!(farm.stats().await.unwrap_err().code(), "unavailable");
    let got = server.got();
    // 20, 40, 80, 160, 160, … ms, each up to twice as long.
    assert!((4..=7).contains(&got.len()), "{got:?}");
    for (number, pair) in (0..4).zip(got.windows(2)) {
        assert!(pair[1].at - pair[0].at >= first * 2_u32.pow(number).min(8), "{got:?}");
    }
    let asked = Instant::now();
    server.builder().retry_for(Duration::from_mins(5)).build().unwrap().check().await.unwrap_err();
    assert!(asked.elapsed() < Duration::from_mins(1), "a check asks how things are now");
    let got = server.got();
    let once = server.builder().retry_for(Duration::ZERO).build().unwrap();
    once.stats().await.unwrap_err();
    assert_eq!(server.got().len(), got.len() + 1);
}

#[tokio::test]
async fn a_service_that_is_started_anew_is_found_again() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let farm =
        HttpFarm::builder(&format!("http://{address}")).pauses(Duration::from_millis(1), Duration::from_millis(9));
    let farm = farm.build().unwrap();
    let stats = tokio::spawn(async move { farm.stats().await });
    // It has been refused by then, or not: either must do.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let _server = Server::on(TcpListener::bind(address).await.unwrap(), [OK]);
    assert_eq!(stats.await.unwrap().unwrap().waiting, 3);
}

#[tokio::test]
async fn a_change_keeps_its_key_and_every_change_has_its_own() {
    async fn keys<T>(call: impl AsyncFnOnce(HttpFarm) -> Result<T>) -> Vec<Option<String>> {
        let server = Server::start([GONE, GONE, With(403, &[], "")]).await;
        let answer = call(server.farm()).await;
        assert_eq!(answer.err().map(|error| error.code()), Some("forbidden"));
        server.got().into_iter().map(|got| got.key).collect()
    }
    let (id, lease) = (BotId::new(), LeaseId::new());
    let bot = || NewBot::new("ada".parse().unwrap(), "x".try_into().unwrap(), ProjectId::new(), Env::STAGE);
    let revocation = || Revocation::new("why".parse().unwrap(), "me".parse().unwrap());
    let mut seen = Vec::new();
    for keys in [
        keys(async |farm| farm.create(bot()).await).await,
        keys(async |farm| farm.import(vec![bot()], false).await).await,
        keys(async |farm| farm.update(id, BotChanges::default()).await).await,
        keys(async |farm| farm.delete(id).await).await,
        keys(async |farm| farm.release_bot(id, BotRelease::default()).await).await,
        keys(async |farm| farm.revoke(id, revocation()).await).await,
    ] {
        assert_eq!(keys.len(), 3);
        assert!(keys[0].is_some() && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
        assert!(!seen.contains(&keys[0]), "{keys:?}");
        seen.push(keys[0].clone());
    }
    // What a lease id stands for needs none.
    for keys in
        [keys(async |farm| farm.renew(lease, None).await).await, keys(async |farm| farm.acquire(request()).await).await]
    {
        assert_eq!(keys, [None, None, None]);
    }
}

#[tokio::test]
async fn a_token_is_removed_again_only_if_nobody_saw_it_being_removed() {
    let server = Server::start([GONE, OK]).await;
    server.farm().remove_token(token()).await.unwrap_err();
    assert_eq!(server.got().len(), 1);
    let server = Server::start([With(429, &[], ""), With(204, &[], "")]).await;
    server.farm().remove_token(token()).await.unwrap();
    assert_eq!(server.got().len(), 2);
}

#[tokio::test]
async fn a_call_that_is_dropped_sends_nothing_more() {
    let server = Server::start([GONE]).await;
    let farm = server.builder().retry_for(Duration::from_mins(5)).build().unwrap();
    let mut got = server.got.clone();
    tokio::select! {
        answer = farm.renew(LeaseId::new(), None) => panic!("{answer:?}"),
        _ = got.wait_for(|got| got.len() >= 3) => {}
    }
    // Time enough for ten more.
    let other = server.builder().retry_for(Duration::from_millis(200)).build().unwrap();
    let before = server.got().len();
    other.stats().await.unwrap_err();
    let renewals = server.got().into_iter().skip(before + 1).filter(|got| got.method == Method::POST);
    assert_eq!(renewals.count(), 0);
}

#[tokio::test]
async fn a_wait_that_is_cut_off_goes_on_for_what_is_left_of_it() {
    let server = Server::start([GONE, Never, With(403, &[], "")]).await;
    let farm = server.builder().longest_turn(Duration::from_millis(300)).timeout(Duration::from_millis(100));
    let request = request().wait(Duration::from_millis(350));
    let asked = Instant::now();
    assert_eq!(farm.build().unwrap().acquire(request).await.unwrap_err().code(), "forbidden");
    assert!(asked.elapsed() >= Duration::from_millis(400), "a turn, and the time for an answer");
    let got = server.got();
    let waits: Vec<_> = got.iter().map(|got| got.body["wait_seconds"].as_f64().unwrap()).collect();
    assert!(waits[0] > 0.29 && waits[0] <= 0.3, "{waits:?}");
    assert!(waits[2] > 0.0 && waits[2] < 0.1, "who waits no more gives up its place: {waits:?}");
    assert!(got.iter().all(|each| each.body["id"] == got[0].body["id"]), "it is the same lease: {got:?}");
}

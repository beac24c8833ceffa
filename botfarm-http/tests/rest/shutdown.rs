//! What happens when the service is told to stop.

use std::time::Duration;

use axum::http::Method;
use botfarm_core::{BotFarm, Ending, Error, LeaseRequest, Selector};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{self, Instant},
};

use crate::service::{Raw, Rest, Served, bot, project, until};

/// The head of a request that waits for leave to send its body, so that the test knows when the service reads.
pub(crate) async fn begin(served: &Served, path: &str, file: &str) -> Raw {
    let mut raw = Raw::connect(served).await;
    let head = format!(
        "POST /api/v1{path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nexpect: 100-continue\r\n\
         content-length: {}\r\n\r\n",
        file.len()
    );
    raw.0.write_all(head.as_bytes()).await.unwrap();
    assert!(raw.head().await.starts_with("HTTP/1.1 100"));
    raw
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_end_at_once_requests_in_flight_finish_and_leases_stay() {
    let rest = Rest::empty();
    rest.farm.create(bot("ada")).await.unwrap();
    let mut served = Served::start(rest.router.clone()).await;
    let request = || LeaseRequest::new("me".parse().unwrap(), Selector::any());
    let lease = rest.farm.acquire(request()).await.unwrap();

    let mut raw = Raw::connect(&served).await;
    raw.send(Method::POST, "/api/v1/leases", &json!({"users": [{}], "wait_seconds": 300})).await;
    let farm = served.farm_that_asks_once();
    let client = tokio::spawn(async move { farm.acquire(request().wait(Duration::from_mins(5))).await });
    until(|| async { rest.farm.stats().await.unwrap().waiting == 2 }).await;
    let user = json!({"login": "bob", "password": "x", "project_id": project(), "env": "stage"});
    let file = json!([user]).to_string();
    let mut import = begin(&served, "/users/import", &file).await;
    let mut idle = Raw::connect(&served).await;
    idle.send(Method::GET, "/readyz", &Value::Null).await;
    assert_eq!(idle.answer().await, (200, json!({"status": "healthy"})));

    let told = Instant::now();
    served.stop.take().unwrap().send(()).unwrap();
    let (status, problem) = raw.answer().await;
    assert_eq!((status, &problem["code"]), (503, &json!("unavailable")));
    assert!(problem["detail"].as_str().unwrap().contains("about to stop"), "{problem}");
    let error = client.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert_eq!(idle.0.read(&mut [0]).await.unwrap(), 0, "a connection without a request is closed");
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
    until(|| async { TcpStream::connect(served.address).await.is_err() }).await;

    assert!(!served.ended.is_finished());
    import.0.write_all(file.as_bytes()).await.unwrap();
    assert_eq!(import.answer().await, (200, json!({"created": 1, "updated": 0, "unchanged": 0})));
    served.ended.await.unwrap().unwrap();
    assert_eq!(rest.farm.lookup(lease.id).await.unwrap().expires_at, lease.expires_at);
    assert_eq!(rest.farm.stats().await.unwrap().waiting, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_it_stops_it_says_so_and_answers_whoever_still_comes() {
    let rest = Rest::empty();
    rest.farm.create(bot("ada")).await.unwrap();
    let notice = Duration::from_secs(3);
    let mut served = Served::with_notice(rest.router.clone(), notice).await;
    let request = || LeaseRequest::new("me".parse().unwrap(), Selector::any());
    let lease = rest.farm.acquire(request()).await.unwrap();
    let farm = served.farm_that_asks_once();
    let waiter = tokio::spawn(async move { farm.acquire(request().wait(Duration::from_mins(5))).await });
    until(|| async { rest.farm.stats().await.unwrap().waiting == 1 }).await;

    let told = Instant::now();
    served.stop.take().unwrap().send(()).unwrap();
    let error = waiter.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let ask = async |method: Method, path: &str, body: Value| {
        let mut raw = Raw::connect(&served).await;
        raw.send(method, path, &body).await;
        raw.answer().await
    };
    assert_eq!(ask(Method::GET, "/readyz", Value::Null).await, (503, json!({"status": "draining"})));
    assert_eq!(ask(Method::GET, "/livez", Value::Null).await.0, 200);
    let wanted = json!({"users": [{}], "wait_seconds": 300});
    assert_eq!(ask(Method::POST, "/api/v1/leases", wanted.clone()).await.0, 503, "nobody waits any more");
    rest.farm.release(lease.id, Ending::clean()).await.unwrap();
    assert_eq!(ask(Method::POST, "/api/v1/leases", wanted).await.0, 201, "what is free is leased");
    assert!(told.elapsed() < notice, "{:?}", told.elapsed());

    served.ended.await.unwrap().unwrap();
    assert!(told.elapsed() >= notice, "{:?}", told.elapsed());
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn a_request_that_does_not_finish_is_cut() {
    let mut served = Served::start(Rest::empty().router).await;
    let mut stuck = begin(&served, "/users", "{}").await;
    let told = Instant::now();
    served.stop.take().unwrap().send(()).unwrap();
    time::timeout(Duration::from_secs(20), served.ended).await.unwrap().unwrap().unwrap();
    let took = told.elapsed();
    assert!((Duration::from_secs(8)..Duration::from_secs(9)).contains(&took), "{took:?}");
    assert_eq!(stuck.0.read(&mut [0]).await.unwrap_or(0), 0);
}

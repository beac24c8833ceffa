//! What a caller may send, and how long it may take to: over TCP.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{self, Instant},
};

use crate::service::{Raw, Rest, Served};

/// How long the service looks on while a connection has sent `beginning` and nothing more, in seconds.
async fn patience(beginning: &[u8]) -> u64 {
    let served = Served::start(Rest::empty().router).await;
    let mut raw = Raw::connect(&served).await;
    raw.0.write_all(beginning).await.unwrap();
    let begun = Instant::now();
    time::timeout(Duration::from_mins(10), raw.0.read_to_end(&mut Vec::new())).await.expect("it hangs up").unwrap();
    begun.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn who_does_not_finish_a_head_is_hung_up_on() {
    for beginning in [
        &b""[..],
        b"P",
        b"PRI * HTTP/2.0\r\n\r\nSM",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: farm\r\n",
    ] {
        let patience = patience(beginning).await;
        assert!((20..=91).contains(&patience), "{patience} s for {beginning:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_finish_a_body_is_told_so() {
    let served = Served::start(Rest::empty().router).await;
    let mut raw = Raw::connect(&served).await;
    let head =
        "POST /api/v1/leases HTTP/1.1\r\nhost: farm\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
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

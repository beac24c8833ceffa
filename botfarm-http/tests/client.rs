//! `HttpFarm` against what is no well-behaved service.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, Response, StatusCode, header},
};
use botfarm_core::{BotFarm, BotFilter, Error, LeaseId, LeaseRequest, PageRequest, Selector};
use botfarm_http::HttpFarm;
use tokio::net::TcpListener;

/// A server that answers everything in this way; its URL, and the latest request that it got.
async fn answering(
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
) -> (String, Arc<Mutex<HeaderMap>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let latest = Arc::new(Mutex::new(HeaderMap::new()));
    let seen = latest.clone();
    let router = Router::new().fallback(async move |request: Request| {
        let (parts, body_sent) = request.into_parts();
        axum::body::to_bytes(body_sent, usize::MAX).await.unwrap();
        let mut headers_sent = parts.headers;
        headers_sent.insert("path", parts.uri.path().parse().unwrap());
        *seen.lock().unwrap() = headers_sent;
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(Body::from(body)).unwrap()
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, latest)
}

/// A client that asks once.
fn farm(url: &str) -> HttpFarm {
    HttpFarm::builder(url).retry_for(Duration::ZERO).build().unwrap()
}

/// What a farm at a server that answers in this way says of it.
async fn error(status: u16, headers: &'static [(&'static str, &'static str)], body: &'static str) -> Error {
    let (url, _) = answering(status, headers, body).await;
    farm(&url).stats().await.unwrap_err()
}

#[tokio::test]
async fn what_a_proxy_says_is_no_fault_of_the_farm() {
    for status in [408, 429, 502, 503, 504] {
        match error(status, &[("retry-after", "7")], "<html>").await {
            Error::Unavailable { detail, retry_after, .. } => {
                assert_eq!(retry_after, Duration::from_secs(7));
                assert!(detail.contains(&status.to_string()), "{detail}");
            }
            other => panic!("{other:?}"),
        }
    }
    let untold = error(503, &[], "").await;
    assert!(matches!(untold, Error::Unavailable { retry_after, .. } if retry_after == Duration::from_secs(1)));
    assert!(matches!(error(401, &[], "").await, Error::Unauthenticated { .. }));
    assert!(matches!(error(403, &[], "").await, Error::Forbidden { .. }));
}

#[tokio::test]
async fn what_is_no_service_is_said_to_be_none() {
    for status in [404, 405, 500] {
        assert_eq!(error(status, &[], "{}").await.code(), "internal");
    }
    // A redirected POST would come without its body, and a token would go elsewhere.
    let redirect = error(307, &[("location", "http://127.0.0.1:1/")], "").await;
    assert!(matches!(&redirect, Error::Backend { source } if source.to_string().contains("307")), "{redirect:?}");
}

#[tokio::test]
async fn an_answer_that_is_none_is_not_repeated() {
    let (url, _) = answering(200, &[], r#"{"id": "hunter2", "users": "hunter2"}"#).await;
    let farm = farm(&url);
    let id = LeaseId::new();
    for error in [
        farm.lookup(id).await.unwrap_err(),
        farm.acquire(LeaseRequest::new("me".parse().unwrap(), Selector::any())).await.unwrap_err(),
        farm.list(&BotFilter::default(), &PageRequest::default()).await.unwrap_err(),
    ] {
        assert_eq!(error.code(), "internal");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn a_farm_that_cannot_be_reached_says_so_without_the_lease_s_id() {
    // Nothing listens on port 1.
    let farm = farm("http://127.0.0.1:1");
    let id = LeaseId::new();
    let error = farm.renew(id, None).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { source: Some(_), .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains(&id.as_uuid().to_string()), "{error:?}");
    assert!(error.to_string().contains("http://127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_waited_for_no_longer_than_agreed() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let farm = HttpFarm::builder(&url).timeout(Duration::from_millis(50)).retry_for(Duration::ZERO).build().unwrap();
    assert!(matches!(farm.stats().await.unwrap_err(), Error::Unavailable { .. }));
}

#[tokio::test]
async fn a_token_goes_with_every_request_below_the_url_s_path() {
    let (url, latest) = answering(200, &[], r#"{"pools": [], "waiting": 3}"#).await;
    let farm = HttpFarm::builder(&format!("{url}/farm/api/v1/")).token("bf_token").build().unwrap();
    assert_eq!(farm.stats().await.unwrap().waiting, 3);
    let seen = latest.lock().unwrap().clone();
    assert_eq!(seen[header::AUTHORIZATION], "Bearer bf_token");
    assert_eq!(seen["path"], "/farm/api/v1/stats");
}

#[tokio::test]
async fn a_next_page_is_found_among_other_links() {
    let links: &[_] = &[("link", "</x?cursor=no>; rel=\"prev\", </api/v1/users?limit=1&cursor=a%2Fb>; rel=\"next\"")];
    let (url, _) = answering(StatusCode::OK.as_u16(), links, "[]").await;
    let page = farm(&url).list(&BotFilter::default(), &PageRequest::default()).await.unwrap();
    assert_eq!(page.next.unwrap().as_str(), "a/b");
}

//! Whom a service answers that asks nobody who they are.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{Method, Request},
};
use botfarm_http::{Hosts, Options};
use botfarm_memory::MemoryFarm;
use serde_json::Value;

use crate::{
    principals::Principals,
    service::{Raw, Rest, Served, bot},
};

async fn status(rest: &Rest, method: Method, path: &str, headers: &[(&str, &str)]) -> u16 {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = rest.request(request.body(Body::empty()).unwrap()).await;
    if answer.status == 403 {
        assert_eq!(answer.failure().1, "forbidden");
    }
    answer.status.as_u16()
}

#[tokio::test]
async fn a_service_that_asks_nobody_answers_to_the_names_of_this_machine_alone() {
    let rest = Rest::empty();
    for (host, expected) in [
        ("localhost", 200),
        ("localhost:8000", 200),
        ("farm.localhost:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("evil.example", 403),
        ("localhost.evil.example:8000", 403),
        ("10.0.0.1:8000", 403),
        ("", 403),
        ("a b", 403),
    ] {
        assert_eq!(status(&rest, Method::GET, "/api/v1/users", &[("host", host)]).await, expected, "{host}");
        assert_eq!(status(&rest, Method::GET, "/livez", &[("host", host)]).await, 200, "{host}");
    }
    let hosts = Hosts::default().name("farm.internal").any_address();
    let named = Rest::with(Arc::new(MemoryFarm::new()), Options { hosts, ..Options::default() });
    for (host, expected) in [("farm.internal:8000", 200), ("10.0.0.1:8000", 200), ("evil.example", 403)] {
        assert_eq!(status(&named, Method::GET, "/api/v1/users", &[("host", host)]).await, expected, "{host}");
    }
    let asks = Principals::new().await.empty();
    assert_eq!(status(&asks, Method::GET, "/api/v1/users", &[("host", "farm.example")]).await, 401);
}

#[tokio::test]
async fn a_service_that_asks_nobody_answers_no_page_of_another_site() {
    let farm = Arc::new(MemoryFarm::with_bots([bot("ada")]).unwrap());
    let cors_origins = vec!["https://dash.example".parse().unwrap()];
    let rest = Rest::with(farm, Options { cors_origins, ..Options::default() });
    let host = ("host", "localhost:8000");
    for (header, value, reads, writes) in [
        ("origin", "http://localhost:8000", 200, 404),
        ("origin", "https://dash.example", 200, 404),
        ("origin", "http://localhost:3000", 403, 403),
        ("origin", "https://evil.example", 403, 403),
        ("origin", "null", 403, 403),
        ("sec-fetch-site", "same-origin", 200, 404),
        ("sec-fetch-site", "none", 200, 404),
        ("sec-fetch-site", "same-site", 403, 403),
        ("sec-fetch-site", "cross-site", 403, 403),
        ("accept", "*/*", 200, 404),
    ] {
        let headers = [host, (header, value)];
        assert_eq!(status(&rest, Method::GET, "/api/v1/users", &headers).await, reads, "{header}: {value}");
        // There is no such user.
        let path = "/api/v1/users/5f0c7e0a-0000-4000-8000-000000000001/acquire";
        assert_eq!(status(&rest, Method::POST, path, &headers).await, writes, "{header}: {value}");
    }
    let followed = [host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    assert_eq!(status(&rest, Method::GET, "/docs/", &followed).await, if cfg!(feature = "docs") { 200 } else { 404 });
}

#[tokio::test]
async fn a_service_that_asks_nobody_answers_nothing_that_comes_through_a_proxy_that_is_not_named() {
    for (trusted, expected) in [(vec![], 403), (vec!["127.0.0.1".parse().unwrap()], 200)] {
        let options = Options { trusted_proxies: trusted, ..Options::default() };
        let served = Served::start(Rest::with(Arc::new(MemoryFarm::new()), options).router).await;
        for header in ["x-forwarded-for: 10.0.0.1", "forwarded: for=10.0.0.1", "x-real-ip: 10.0.0.1", "via: 1.1 proxy"]
        {
            let mut raw = Raw::connect(&served).await;
            let path = "/api/v1/users";
            raw.send_with(Method::GET, path, &format!("{header}\r\n"), &Value::Null).await;
            let (status, body) = raw.answer().await;
            assert_eq!(status, expected, "{header}");
            let name = header.split(':').next().unwrap();
            assert!(status == 200 || body["detail"].as_str().unwrap().contains(name), "{body}");
        }
    }
}

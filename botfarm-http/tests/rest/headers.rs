//! Headers that go with every answer, compression, and what browsers are told of other sites.

use std::io::Read as _;

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use botfarm_core::BotFarm;
use botfarm_http::{Options, Origin};
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::service::{Answer, Rest, bot};

fn request(method: Method, path: &str, headers: &[(&str, &str)], body: &Value) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if body.is_null() {
        return request.body(Body::empty()).unwrap();
    }
    request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())).unwrap()
}

fn unpacked(answer: &Answer) -> Vec<u8> {
    let mut body = Vec::new();
    GzDecoder::new(&*answer.body).read_to_end(&mut body).unwrap();
    body
}

#[tokio::test]
async fn every_answer_tells_browsers_to_keep_out_of_it() {
    let rest = Rest::empty();
    let wanted = json!({"users": [{}]});
    for answer in [
        rest.get("/api/v1/users").await,
        rest.get("/health").await,
        rest.get("/metrics").await,
        rest.get("/nowhere").await,
        rest.post("/api/v1/leases", wanted).await,
        rest.send(Method::PUT, "/api/v1/users").await,
    ] {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn every_answer_tells_the_version_and_clients_of_another_what_to_update() {
    let rest = Rest::empty();
    let ours = env!("CARGO_PKG_VERSION");
    for (agent, told) in [
        (format!("botfarm/{ours}"), None),
        ("curl/8.0.0".to_owned(), None),
        ("pytest-botfarm/99.0.0".to_owned(), Some(": update the service")),
        ("botfarm-junit/0.0.1".to_owned(), Some(": update botfarm-junit")),
    ] {
        for path in ["/api/v1/users", "/nowhere"] {
            let answer = rest.request(request(Method::GET, path, &[("user-agent", &agent)], &Value::Null)).await;
            assert_eq!(answer.header("botfarm-version"), Some(ours));
            let notice = answer.header("botfarm-notice");
            assert_eq!(notice.is_some(), told.is_some(), "{agent}: {notice:?}");
            assert!(told.is_none_or(|told| notice.unwrap().ends_with(told)), "{agent}: {notice:?}");
        }
    }
}

#[tokio::test]
async fn a_wait_may_be_preferred_by_header_and_the_body_wins() {
    let rest = Rest::empty();
    let id = rest.farm.create(bot("ada")).await.unwrap().id;
    let lock = format!("/api/v1/users/{id}/acquire");
    let wait = [("prefer", "respond-async, wait=1")];
    let leased = rest.request(request(Method::POST, "/api/v1/leases", &wait, &json!({"users": [{}]}))).await;
    assert_eq!((leased.status.as_u16(), leased.header("preference-applied")), (201, Some("wait=1")));

    // Taken: whoever prefers to wait does.
    for (path, headers, body, applied) in [
        ("/api/v1/leases", &wait[..], json!({"users": [{}]}), Some("wait=1")),
        (&lock, &wait[..], Value::Null, Some("wait=1")),
        (&lock, &wait[..], json!({"wait_seconds": 0.01}), None),
        (&lock, &[("prefer", "wait=soon")][..], Value::Null, None),
        (&lock, &[], Value::Null, None),
    ] {
        let begun = std::time::Instant::now();
        let answer = rest.request(request(Method::POST, path, headers, &body)).await;
        let waited = begun.elapsed().as_secs_f64() >= 1.0;
        assert_eq!((answer.status.as_u16(), answer.header("preference-applied")), (409, applied), "{path} {body}");
        assert_eq!(waited, applied.is_some(), "{path} {body}");
    }
    let faulty = rest.request(request(Method::POST, "/api/v1/leases", &wait, &json!({"users": []}))).await;
    assert_eq!((faulty.status.as_u16(), faulty.header("preference-applied")), (422, None));
    let capped = Rest::with(rest.farm.clone(), Options { max_wait: std::time::Duration::ZERO, ..Options::default() });
    let answer = capped.request(request(Method::POST, &lock, &wait, &Value::Null)).await;
    assert_eq!((answer.status.as_u16(), answer.header("preference-applied")), (409, Some("wait=0")));
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_take_it_and_secrets_never() {
    let rest = Rest::empty();
    for number in 0..1_500 {
        rest.farm.create(bot(&format!("user-{number}"))).await.unwrap();
    }
    let gzip = [("accept-encoding", "gzip, br")];
    let get = async |path: &str, headers: &[(&str, &str)]| {
        rest.request(request(Method::GET, path, headers, &Value::Null)).await
    };
    // The whole list is a stream of two pages, the other a single page.
    for path in ["/api/v1/users", "/api/v1/users?limit=100"] {
        let (plain, packed) = (get(path, &[]).await, get(path, &gzip).await);
        assert_eq!((plain.header("content-encoding"), packed.header("content-encoding")), (None, Some("gzip")));
        assert_eq!(packed.header("vary"), Some("accept-encoding"));
        assert_eq!(unpacked(&packed), plain.body);
        assert!(packed.body.len() * 5 < plain.body.len(), "{} of {}", packed.body.len(), plain.body.len());
    }
    assert_eq!(get("/api/v1/users?limit=1", &gzip).await.header("content-encoding"), None, "small");
    let selectors: Vec<_> = (0..8).map(|_| json!({})).collect();
    let lease = request(Method::POST, "/api/v1/leases", &gzip, &json!({"users": selectors}));
    let lease = rest.request(lease).await;
    assert_eq!((lease.header("cache-control"), lease.header("content-encoding")), (Some("no-store"), None));
    assert!(lease.body.len() > 2_000 && lease.json()["users"][0]["password"] == "pass-user-0", "{lease:?}");
}

#[tokio::test]
async fn other_sites_are_kept_out_unless_they_are_named() {
    let farm = Rest::empty().farm;
    let (dashboard, other) = ("https://dash.example", "https://evil.example");
    let ask = [("access-control-request-method", "PATCH"), ("access-control-request-headers", "authorization")];
    let preflight = |origin| {
        let headers = [&[("origin", origin)][..], &ask].concat();
        request(Method::OPTIONS, "/api/v1/users", &headers, &Value::Null)
    };
    let get = |origin| request(Method::GET, "/api/v1/users", &[("origin", origin)], &Value::Null);

    let off = Rest::over(farm.clone());
    for answer in [off.request(preflight(dashboard)).await, off.request(get(dashboard)).await] {
        let told = answer.headers.keys().filter(|name| name.as_str().starts_with("access-control-")).count();
        assert_eq!(told, 0, "{answer:?}");
    }
    assert_eq!(off.request(preflight(dashboard)).await.failure(), (405, "method-not-allowed".to_owned()));

    let origins: Vec<Origin> = vec![dashboard.parse().unwrap(), "http://localhost:3000".parse().unwrap()];
    let on = Rest::with(farm, Options { cors_origins: origins, ..Options::default() });
    let allowed = on.request(preflight(dashboard)).await;
    assert_eq!((allowed.status.as_u16(), allowed.header("access-control-allow-origin")), (200, Some(dashboard)));
    assert!(allowed.header("access-control-allow-methods").unwrap().contains("PATCH"), "{allowed:?}");
    assert!(allowed.header("access-control-allow-headers").unwrap().contains("authorization"), "{allowed:?}");
    assert_eq!(allowed.header("access-control-allow-credentials"), None, "cookies stay on their own site");
    let answer = on.request(get(dashboard)).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, Some(dashboard)));
    assert!(answer.header("access-control-expose-headers").unwrap().contains("link"), "{answer:?}");
    for answer in [on.request(preflight(other)).await, on.request(get(other)).await] {
        assert_eq!(answer.header("access-control-allow-origin"), None, "{answer:?}");
    }
}

#[tokio::test]
async fn nothing_of_the_api_is_kept_on_the_way() {
    let rest = Rest::empty();
    for path in ["/api/v1/users", "/api/v1/leases", "/api/v1/users/x", "/api/v1/nothing"] {
        assert_eq!(rest.get(path).await.header("cache-control"), Some("no-store"), "{path}");
    }
}

#[tokio::test]
async fn a_request_for_two_hosts_is_refused() {
    let rest = Rest::empty();
    let request =
        axum::http::Request::get("/api/v1/users").header("host", "farm.example").header("host", "evil.example");
    let answer = rest.request(request.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(answer.failure(), (400, "malformed".to_owned()));
}

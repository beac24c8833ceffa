//! What `/metrics` counts, and for whom.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use botfarm_core::{
    BotFarm, Env, LeasePolicy,
    operators::{Role, Scope},
};
use botfarm_http::HttpFarm;
use botfarm_memory::MemoryFarm;
use serde_json::{Value, json};

use crate::{
    principals::Principals,
    service::{Rest, bot, project},
};

/// The value of one series; `None` when there is none.
fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

async fn scrape(rest: &Rest) -> String {
    let answer = rest.get("/metrics").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header(header::CONTENT_TYPE), Some("text/plain; version=0.0.4; charset=utf-8"));
    String::from_utf8(answer.body).unwrap()
}

async fn lease(rest: &Rest, login: &str) -> Value {
    rest.post("/api/v1/leases", json!({"users": [{"login": login}], "ttl_seconds": 60})).await.json()
}

async fn give_back(rest: &Rest, lease: &Value) {
    assert_eq!(rest.delete(&format!("/api/v1/leases/{}", lease["id"].as_str().unwrap())).await.status, 204);
}

#[tokio::test]
async fn bots_are_counted_by_project_env_and_state() {
    let rest = Rest::empty();
    for login in ["ada", "bob", "cid", "dan", "eve"] {
        rest.farm.create(bot(login)).await.unwrap();
    }
    lease(&rest, "ada").await;
    for (login, outcome) in [("bob", "dirty"), ("cid", "broken")] {
        let id = lease(&rest, login).await["id"].take();
        rest.delete(&format!("/api/v1/leases/{}?outcome={outcome}", id.as_str().unwrap())).await;
    }
    let text = scrape(&rest).await;
    for (state, count) in [("free", 2.0), ("leased", 1.0), ("dirty", 1.0), ("broken", 1.0), ("cooling", 0.0)] {
        let series = format!(r#"botfarm_bots{{env="stage",project_id="{}",state="{state}"}}"#, project());
        assert_eq!(value(&text, &series), Some(count), "{text}");
    }
    assert_eq!(value(&text, "botfarm_waiters"), Some(0.0));
    let build = format!(r#"botfarm_build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION"));
    assert_eq!(value(&text, &build), Some(1.0));
}

#[tokio::test]
async fn each_lease_is_counted_once_when_it_is_granted_and_once_when_it_ends() {
    let rest = Rest::empty();
    for login in ["ada", "bob"] {
        rest.farm.create(bot(login)).await.unwrap();
    }
    let first = lease(&rest, "ada").await;
    let again = json!({"users": [{"login": "ada"}], "ttl_seconds": 60, "id": first["id"]});
    assert_eq!(rest.post("/api/v1/leases", again).await.status, 201);
    assert_eq!(rest.post("/api/v1/leases", json!({"users": [{"login": "ada"}]})).await.status, 409);
    assert_eq!(rest.post("/api/v1/leases", json!({"users": [{}, {}]})).await.status, 409);
    give_back(&rest, &first).await;
    give_back(&rest, &first).await;
    let second = lease(&rest, "bob").await;
    let bob = second["users"][0]["id"].as_str().unwrap().to_owned();
    rest.post(&format!("/api/v1/users/{bob}/revoke"), json!({"reason": "stuck"})).await;
    // By the lock's own call, which knows nothing of the lease.
    let ada = first["users"][0]["id"].as_str().unwrap();
    assert_eq!(rest.send(Method::POST, &format!("/api/v1/users/{ada}/acquire")).await.status, 200);
    assert_eq!(rest.send(Method::POST, &format!("/api/v1/users/{ada}/release")).await.status, 200);

    for _ in 0..2 {
        let text = scrape(&rest).await;
        for (series, expected) in [
            ("botfarm_leases_granted_total", 3.0),
            ("botfarm_leases_exhausted_total", 2.0),
            (r#"botfarm_leases_ended_total{reason="released"}"#, 2.0),
            (r#"botfarm_leases_ended_total{reason="revoked"}"#, 1.0),
            (r#"botfarm_leases_ended_total{reason="expired"}"#, 0.0),
            ("botfarm_lease_wait_seconds_count", 3.0),
            ("botfarm_lease_hold_seconds_count", 3.0),
            ("botfarm_store_errors_total", 0.0),
        ] {
            assert_eq!(value(&text, series), Some(expected), "{series}: {text}");
        }
    }
}

#[tokio::test]
async fn ends_that_another_process_saw_and_expiries_are_counted_by_the_one_that_granted() {
    let policy = LeasePolicy { min_ttl: Duration::from_millis(1), ..LeasePolicy::default() };
    let farm: Arc<dyn BotFarm> = Arc::new(MemoryFarm::with_policy(policy));
    let (one, other) = (Rest::over(farm.clone()), Rest::over(farm.clone()));
    for login in ["ada", "bob", "cid"] {
        farm.create(bot(login)).await.unwrap();
    }
    let ask = |login: &str| json!({"users": [{"login": login}], "ttl_seconds": 0.3});
    let mut leases = Vec::new();
    for login in ["ada", "bob", "cid"] {
        leases.push(one.post("/api/v1/leases", ask(login)).await.json());
    }
    give_back(&other, &leases[0]).await;
    let renewed = format!("/api/v1/leases/{}/renew", leases[1]["id"].as_str().unwrap());
    assert_eq!(other.post(&renewed, json!({"ttl_seconds": 60})).await.status, 200);
    let cid = format!("/api/v1/leases/{}", leases[2]["id"].as_str().unwrap());
    crate::service::until(|| async { other.get(&cid).await.status == 410 }).await;

    let ended = |text: &str, reason: &str| value(text, &format!(r#"botfarm_leases_ended_total{{reason="{reason}"}}"#));
    let text = scrape(&one).await;
    assert_eq!((ended(&text, "released"), ended(&text, "expired")), (Some(1.0), Some(1.0)), "{text}");
    let held = value(&text, "botfarm_lease_hold_seconds_sum").unwrap();
    assert!((0.3..0.6).contains(&held), "one was held for 0.3 s, the other for a moment: {held}");
    let text = scrape(&other).await;
    assert_eq!((ended(&text, "released"), ended(&text, "expired")), (Some(0.0), Some(0.0)), "{text}");
    assert_eq!(value(&text, "botfarm_leases_granted_total"), Some(0.0));
}

#[tokio::test]
async fn requests_are_counted_by_route_and_no_path_makes_a_series_of_its_own() {
    let rest = Rest::empty();
    let id = rest.farm.create(bot("ada")).await.unwrap().id;
    for path in [format!("/api/v1/users/{id}"), format!("/api/v1/users/{id}/"), "/api/v1/users/x".to_owned()] {
        rest.get(&path).await;
    }
    for path in ["/nowhere", "/elsewhere/a", "/elsewhere/b"] {
        rest.get(path).await;
    }
    let text = scrape(&rest).await;
    for (series, expected) in [
        (r#"botfarm_http_requests_total{method="GET",route="/api/v1/users/{id}",status="200"}"#, 2.0),
        (r#"botfarm_http_requests_total{method="GET",route="/api/v1/users/{id}",status="400"}"#, 1.0),
        (r#"botfarm_http_requests_total{method="GET",route="none",status="404"}"#, 3.0),
        (r#"botfarm_http_request_duration_seconds_count{method="GET",route="/api/v1/users/{id}"}"#, 3.0),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series}: {text}");
    }
    assert!(!text.contains("elsewhere") && !text.contains(&id.to_string()), "{text}");
}

#[tokio::test]
async fn a_store_that_is_gone_is_counted_and_the_rest_is_shown_all_the_same() {
    // Nothing listens on port 1.
    let rest = Rest::over(Arc::new(HttpFarm::builder("http://127.0.0.1:1").retry_for(Duration::ZERO).build().unwrap()));
    assert_eq!(rest.get("/api/v1/users").await.status, 503);
    let text = scrape(&rest).await;
    assert_eq!(value(&text, "botfarm_store_errors_total"), Some(2.0), "the look at the metrics is one: {text}");
    assert!(text.contains("botfarm_build_info") && !text.contains("botfarm_bots"), "{text}");
}

#[tokio::test]
async fn every_name_has_its_help_its_type_and_its_unit() {
    let rest = Rest::empty();
    rest.farm.create(bot("ada")).await.unwrap();
    rest.get("/health").await;
    let text = scrape(&rest).await;
    let of = |kind: &str| -> Vec<_> {
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(kind)).collect()
    };
    assert_eq!(of(" gauge"), ["botfarm_build_info", "botfarm_bots", "botfarm_waiters"]);
    assert!(of(" counter").iter().all(|name| name.ends_with("_total")), "{text}");
    assert!(of(" histogram").iter().all(|name| name.ends_with("_seconds")), "{text}");
    let kinds = [" gauge", " counter", " histogram"].map(|kind| of(kind).len());
    assert_eq!(kinds, [3, 5, 3], "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("# HELP botfarm_")).count(), 11);
}

#[tokio::test]
async fn where_callers_are_asked_who_they_are_so_is_who_reads_the_metrics() {
    let principals = Principals::new().await;
    let rest = principals.empty();
    let scrape = async |token: Option<&str>| {
        let mut request = Request::get("/metrics");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        rest.request(request.body(Body::empty()).unwrap()).await
    };
    assert_eq!(scrape(None).await.failure(), (401, "unauthenticated".to_owned()));
    let (_, viewer) = principals.token("prometheus", Role::Viewer, Scope::default(), None).await;
    assert_eq!(scrape(Some(&viewer)).await.status, 200);
    let scope = Scope { env: Some(Env::STAGE), project: None };
    let (_, confined) = principals.token("confined", Role::Admin, scope, None).await;
    assert_eq!(scrape(Some(&confined)).await.failure(), (403, "forbidden".to_owned()));
}

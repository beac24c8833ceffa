//! What the service logs, and what it never does.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{Method, Request, header},
};
use botfarm_core::{BotFarm, LeaseId};
use serde_json::json;

use crate::{
    searched::Log,
    service::{Rest, Served, bot},
};

#[tokio::test]
async fn a_line_names_the_route_the_status_and_the_request_and_no_secret() {
    let log = Log::start();
    let rest = Rest::empty();
    let id = rest.farm.create(bot("ada")).await.unwrap().id;
    let lease_id = LeaseId::new().as_uuid();
    let request = Request::post("/api/v1/leases")
        .header(header::CONTENT_TYPE, "application/json")
        .header("x-request-id", "build-7");
    let body = json!({"users": [{}], "id": lease_id, "note": "remark"}).to_string();
    rest.request(request.body(Body::from(body)).unwrap()).await;
    rest.get(&format!("/api/v1/leases/{lease_id}")).await;
    rest.patch(&format!("/api/v1/users/{id}"), json!({"password": "hunter2"})).await;
    rest.delete(&format!("/api/v1/leases/{lease_id}?note=remark")).await;
    rest.send(Method::POST, &format!("/api/v1/users/{id}/release?lease_id={lease_id}")).await;
    rest.get(&format!("/nowhere/{lease_id}")).await;
    let text = log.text();
    for expected in
        ["route=\"/api/v1/leases/{id}\"", "request_id=\"build-7\"", "method=POST", "status=201", "latency_ms="]
    {
        assert!(text.contains(expected), "{expected} is not in: {text}");
    }
    for secret in [lease_id.to_string().as_str(), "pass-ada", "hunter2", "remark"] {
        assert!(!text.contains(secret), "{secret} is in: {text}");
    }
}

#[tokio::test]
async fn the_cause_of_a_failure_is_logged_with_the_request_s_id() {
    let other = Served::start(Router::new()).await;
    let rest = Rest::over(Arc::new(other.farm()));
    let log = Log::start();
    let answer = rest.get("/api/v1/users").await;
    let text = log.text();
    let line = text.lines().find(|line| line.contains("ERROR")).unwrap();
    assert!(line.contains("answered 404") && line.contains(answer.header("x-request-id").unwrap()), "{line}");
}

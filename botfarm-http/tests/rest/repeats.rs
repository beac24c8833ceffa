//! Changes that are sent twice under one `Idempotency-Key`.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use std::sync::Arc;

use async_trait::async_trait;
use botfarm_core::{
    BotFarm, BotFilter, Ending, LeaseRequest, PageRequest, Result, Selector,
    idempotency::{ChangeEnd, Idempotency, KeyedChange, Known, MemoryIdempotency},
};
use botfarm_http::Options;
use botfarm_memory::MemoryFarm;
use serde_json::{Value, json};

use crate::service::{Answer, Raw, Rest, Served, bot, project, until};

async fn keyed(rest: &Rest, key: &str, method: Method, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = Request::builder().method(method).uri(path).header("idempotency-key", key);
    rest.request(request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body)).unwrap()).await
}

fn new(login: &str) -> Value {
    json!({"login": login, "password": "x", "project_id": project(), "env": "stage"})
}

async fn count(rest: &Rest) -> usize {
    rest.farm.list(&BotFilter::default(), &PageRequest::default()).await.unwrap().items.len()
}

#[tokio::test]
async fn a_creation_that_comes_twice_is_done_once_and_answered_alike() {
    let rest = Rest::empty();
    let create = async |key, body: &Value| keyed(&rest, key, Method::POST, "/api/v1/users", body).await;
    let (first, again) = (create("k", &new("ada")).await, create("k", &new("ada")).await);
    assert_eq!((first.status, again.status), (StatusCode::CREATED, StatusCode::CREATED));
    assert_eq!(first.json(), again.json());
    assert_eq!(first.header("location"), again.header("location"));
    assert_eq!(count(&rest).await, 1);
    assert_eq!(create("other key", &new("ada")).await.failure(), (400, "login-taken".to_owned()));
    assert_eq!(create("k", &new("ben")).await.failure(), (422, "key-reused".to_owned()));
    assert_eq!(count(&rest).await, 1);
}

#[tokio::test]
async fn what_was_refused_is_tried_again() {
    let rest = Rest::empty();
    let ada = rest.farm.create(bot("ada")).await.unwrap();
    let create = async || keyed(&rest, "k", Method::POST, "/api/v1/users", &new("ada")).await;
    assert_eq!(create().await.failure(), (400, "login-taken".to_owned()));
    rest.farm.delete(ada.id).await.unwrap();
    assert_eq!(create().await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn an_import_an_update_and_a_deletion_that_come_twice_are_answered_alike() {
    let rest = Rest::empty();
    let twice = async |key, method: Method, path: &str, body: Value| {
        let first = keyed(&rest, key, method.clone(), path, &body).await;
        let again = keyed(&rest, key, method, path, &body).await;
        assert_eq!((first.status, first.body.clone()), (again.status, again.body), "{path}");
        first
    };
    let report = twice("import", Method::POST, "/api/v1/users/import", json!([new("ada"), new("ben")])).await;
    assert_eq!(report.json(), json!({"created": 2, "updated": 0, "unchanged": 0}));
    let id = rest.farm.list(&BotFilter::default(), &PageRequest::default()).await.unwrap().items[0].id;
    let path = format!("/api/v1/users/{id}");
    assert_eq!(twice("update", Method::PATCH, &path, json!({"condition": "dirty"})).await.status, StatusCode::OK);
    assert_eq!(twice("delete", Method::DELETE, &path, Value::Null).await.status, StatusCode::NO_CONTENT);
    assert_eq!(keyed(&rest, "later", Method::DELETE, &path, &Value::Null).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_release_or_revocation_that_comes_late_spares_the_next_holder() {
    let rest = Rest::empty();
    let ada = rest.farm.create(bot("ada")).await.unwrap();
    let take = async || {
        let request = LeaseRequest::new("me".parse().unwrap(), Selector::any());
        rest.farm.acquire(request.wait(std::time::Duration::from_mins(1))).await.unwrap()
    };
    let release = async || {
        let path = format!("/api/v1/users/{}/release", ada.id);
        let body = json!({"holder": "me"});
        assert_eq!(keyed(&rest, "release", Method::POST, &path, &body).await.status, StatusCode::OK);
    };
    let first = take().await;
    release().await;
    rest.farm.lookup(first.id).await.expect_err("it is released");
    let next = take().await;
    release().await;
    rest.farm.lookup(next.id).await.expect("it is another lease than was released");
    rest.farm.release(next.id, Ending::clean()).await.unwrap();
}

/// A service that is cut off before it can keep an answer.
#[derive(Debug, Default)]
struct CutOff(MemoryIdempotency);

#[async_trait]
impl Idempotency for CutOff {
    async fn begin(&self, change: &KeyedChange) -> Result<Known> {
        self.0.begin(change).await
    }

    async fn end(&self, change: &KeyedChange, _: ChangeEnd) -> Result<()> {
        self.0.end(change, ChangeEnd::Unknown).await
    }
}

#[tokio::test]
async fn a_change_of_which_nobody_knows_is_not_made_again() {
    let farm = MemoryFarm::new();
    let options = Options { idempotency: Arc::new(CutOff::default()), ..Options::default() };
    let rest = Rest::with(Arc::new(farm.clone()), options);
    let ada = farm.create(bot("ada")).await.unwrap();
    let take = async || farm.acquire(LeaseRequest::new("me".parse().unwrap(), Selector::any())).await.unwrap();
    let (path, mine) = (format!("/api/v1/users/{}/release", ada.id), json!({"holder": "me"}));
    let release = async || keyed(&rest, "k", Method::POST, &path, &mine).await;
    take().await;
    assert_eq!(release().await.status, StatusCode::OK);
    let next = take().await;
    assert_eq!(release().await.failure(), (409, "outcome-unknown".to_owned()));
    farm.lookup(next.id).await.expect("it is another lease than was released");
}

#[tokio::test]
async fn a_release_asked_again_at_another_replica_spares_the_next_holder() {
    let (farm, kept) = (MemoryFarm::new(), MemoryIdempotency::default());
    let replica = || {
        let options = Options { idempotency: Arc::new(kept.clone()), ..Options::default() };
        Rest::with(Arc::new(farm.clone()), options)
    };
    let [one, other] = [replica(), replica()];
    let ada = farm.create(bot("ada")).await.unwrap();
    let take = async || farm.acquire(LeaseRequest::new("me".parse().unwrap(), Selector::any())).await.unwrap();
    let (path, mine) = (format!("/api/v1/users/{}/release", ada.id), json!({"holder": "me"}));
    let first = take().await;
    assert_eq!(keyed(&one, "k", Method::POST, &path, &mine).await.status, StatusCode::OK);
    farm.lookup(first.id).await.expect_err("it is released");
    let next = take().await;
    assert_eq!(keyed(&other, "k", Method::POST, &path, &mine).await.status, StatusCode::OK);
    farm.lookup(next.id).await.expect("it is another lease than was released");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_and_asks_again_is_told_what_became_of_it() {
    let rest = Rest::empty();
    let served = Served::start(rest.router.clone()).await;
    for round in 0..50 {
        let (login, key) = (format!("bot {round}"), format!("key {round}"));
        let mut gone = Raw::connect(&served).await;
        gone.send_with(Method::POST, "/api/v1/users", &format!("idempotency-key: {key}\r\n"), &new(&login)).await;
        if round % 2 == 0 {
            until(|| async { count(&rest).await > round }).await;
        }
        drop(gone);
        let answer = keyed(&rest, &key, Method::POST, "/api/v1/users", &new(&login)).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        assert_eq!(answer.json()["login"], login);
    }
    assert_eq!(count(&rest).await, 50);
}

#[tokio::test]
async fn a_key_that_makes_no_sense_is_refused() {
    let rest = Rest::empty();
    let long = "k".repeat(256);
    for key in ["", &long] {
        let answer = keyed(&rest, key, Method::POST, "/api/v1/users", &new("ada")).await;
        assert_eq!(answer.failure(), (422, "invalid".to_owned()));
    }
    assert_eq!(count(&rest).await, 0);
}

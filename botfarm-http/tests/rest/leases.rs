//! `/leases`.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use botfarm_core::{BotFarm, LeaseId};
use botfarm_http::Options;
use serde_json::{Value, json};

use crate::service::{Answer, Rest, bot, labelled, until};

async fn with_key(rest: &Rest, key: &str, body: Value) -> Answer {
    let request =
        Request::post("/api/v1/leases").header(header::CONTENT_TYPE, "application/json").header("idempotency-key", key);
    rest.request(request.body(Body::from(body.to_string())).unwrap()).await
}

#[tokio::test]
async fn a_lease_of_several_users_has_one_for_each_selector() {
    let rest = Rest::empty();
    rest.farm.create(labelled("ada", [("role", "admin")])).await.unwrap();
    rest.farm.create(bot("bob")).await.unwrap();
    let id = LeaseId::new().as_uuid();
    let body = json!({
        "users": [{"as": "member", "login": "bob"}, {"as": "admin", "labels": {"role": "admin"}, "env": "stage"}],
        "id": id, "ttl_seconds": 600, "wait_seconds": 1, "holder": "checkout test", "run": "nightly 7",
        "note": "n", "url": "https://ci.test/7", "sticky": "worker-1", "avoid": [LeaseId::new().as_uuid()],
    });
    let answer = rest.post("/api/v1/leases", body).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header(header::CACHE_CONTROL), Some("no-store"));
    let location = answer.header(header::LOCATION).unwrap();
    assert_eq!(location, format!("/api/v1/leases/{id}"));
    let lease = answer.json();
    let mut users = Vec::new();
    for (index, (role, login)) in [("member", "bob"), ("admin", "ada")].into_iter().enumerate() {
        let id = lease["users"][index]["id"].as_str().unwrap();
        let mut user = rest.get(&format!("/api/v1/users/{id}")).await.json();
        assert_eq!(user["login"], login);
        user["as"] = json!(role);
        user["password"] = json!(format!("pass-{login}"));
        user["fence"] = json!(lease["users"][index]["fence"].as_i64().unwrap());
        users.push(user);
    }
    let left = lease["expires_in_seconds"].as_f64().unwrap();
    assert!(590.0 < left && left <= 600.0, "{left}");
    let mut expected = json!({
        "id": id, "holder": "checkout test", "run": "nightly 7", "note": "n", "url": "https://ci.test/7",
        "acquired_at": users[0]["lease"]["since"], "expires_at": users[0]["lease"]["expires_at"],
        "expires_in_seconds": lease["expires_in_seconds"], "ttl_seconds": 600, "renew_after_seconds": 200, "users": users,
    });
    assert_eq!(lease, expected);
    let looked_at = rest.get(location).await;
    assert_eq!(looked_at.header(header::CACHE_CONTROL), Some("no-store"));
    expected["expires_in_seconds"] = looked_at.json()["expires_in_seconds"].clone();
    assert_eq!((looked_at.status.as_u16(), looked_at.json()), (200, expected));
}

#[tokio::test]
async fn a_renewal_moves_the_end_of_the_lease() {
    let rest = Rest::empty();
    rest.farm.create(bot("ada")).await.unwrap();
    let lease = rest.post("/api/v1/leases", json!({"users": [{}], "ttl_seconds": 60})).await.json();
    let path = format!("/api/v1/leases/{}/renew", lease["id"].as_str().unwrap());
    let same = rest.send(axum::http::Method::POST, &path).await;
    assert_eq!((same.status.as_u16(), &same.json()["ttl_seconds"]), (200, &json!(60)));
    assert_eq!(same.header(header::CACHE_CONTROL), Some("no-store"));
    assert!(same.json()["expires_at"].as_str() >= lease["expires_at"].as_str());
    let longer = rest.post(&path, json!({"ttl_seconds": 3_600})).await.json();
    let kept = rest.farm.lookup(lease["id"].as_str().unwrap().parse().unwrap()).await.unwrap();
    assert_eq!(longer["expires_at"], crate::service::time(kept.expires_at));
    assert_eq!((&longer["ttl_seconds"], &longer["renew_after_seconds"]), (&json!(3_600), &json!(1_200)));
    let too_long = rest.post(&path, json!({"ttl_seconds": 86_400.000_000_000_01})).await;
    assert_eq!(too_long.failure(), (422, "invalid".to_owned()));
    assert_eq!(longer["users"][0]["password"], "pass-ada");
}

#[tokio::test]
async fn a_release_succeeds_again_and_says_nothing() {
    let rest = Rest::empty();
    let id = rest.farm.create(bot("ada")).await.unwrap().id;
    let lease = rest.post("/api/v1/leases", json!({"users": [{}]})).await.json();
    let path = format!("/api/v1/leases/{}?outcome=dirty&note=left+a+cart", lease["id"].as_str().unwrap());
    for _ in 0..2 {
        let answer = rest.delete(&path).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    }
    assert_eq!(rest.farm.get(id).await.unwrap().condition.as_str(), "dirty");
    let rows = rest.get(&format!("/api/v1/users/{id}/history")).await.json();
    assert_eq!((&rows[0]["outcome"], &rows[0]["end_note"]), (&json!("dirty"), &json!("left a cart")));
}

#[tokio::test]
async fn how_a_lease_ended_may_be_said_in_the_body_too() {
    let rest = Rest::empty();
    let id = rest.farm.create(bot("ada")).await.unwrap().id;
    let lease = rest.post("/api/v1/leases", json!({"users": [{}]})).await.json();
    let path = format!("/api/v1/leases/{}", lease["id"].as_str().unwrap());
    let delete = |path: String, body: Value| {
        let rest = &rest;
        async move { rest.with_body(Method::DELETE, &path, "application/json", body.to_string()).await }
    };
    let misspelt = delete(path.clone(), json!({"outcom": "dirty"})).await;
    assert_eq!(misspelt.failure(), (422, "invalid".to_owned()));
    let twice = delete(format!("{path}?outcome=clean"), json!({"outcome": "dirty"})).await;
    assert_eq!(twice.failure(), (422, "invalid".to_owned()));
    assert_eq!(delete(path, json!({"outcome": "dirty"})).await.status.as_u16(), 204);
    assert_eq!(rest.farm.get(id).await.unwrap().condition.as_str(), "dirty");
}

#[tokio::test]
async fn a_release_with_a_blank_body_succeeds() {
    let rest = Rest::empty();
    rest.farm.create(bot("ada")).await.unwrap();
    let lease = rest.post("/api/v1/leases", json!({"users": [{}]})).await.json();
    let path = format!("/api/v1/leases/{}", lease["id"].as_str().unwrap());
    // As `curl --json @- <<< ""` has it.
    for blank in ["\n", ""] {
        assert_eq!(rest.with_body(Method::DELETE, &path, "application/json", blank).await.status.as_u16(), 204);
    }
}

#[tokio::test]
async fn the_same_id_replays_the_lease() {
    let rest = Rest::empty();
    rest.farm.create(bot("ada")).await.unwrap();
    rest.farm.create(bot("bob")).await.unwrap();
    let body = json!({"users": [{}], "id": LeaseId::new().as_uuid()});
    let first = rest.post("/api/v1/leases", body.clone()).await;
    let again = rest.post("/api/v1/leases", body).await;
    assert_eq!((first.status.as_u16(), again.status.as_u16()), (201, 201));
    assert_eq!(again.header(header::LOCATION), first.header(header::LOCATION));
    let (mut first, mut again) = (first.json(), again.json());
    first["expires_in_seconds"].take();
    again["expires_in_seconds"].take();
    assert_eq!(first, again);
}

#[tokio::test]
async fn the_same_key_replays_the_lease_however_long_it_is_to_wait() {
    let rest = Rest::empty();
    rest.farm.create(bot("ada")).await.unwrap();
    rest.farm.create(bot("bob")).await.unwrap();
    let key = "Bauauftrag №7 – ".repeat(15);
    assert!(key.chars().count() <= 255);
    let first = with_key(&rest, &key, json!({"users": [{}]})).await;
    let again = with_key(&rest, &key, json!({"users": [{}], "wait_seconds": 5})).await;
    assert_eq!((first.status.as_u16(), again.status.as_u16()), (201, 201));
    let (first, again) = (first.json(), again.json());
    assert_eq!(first["id"], again["id"]);
    assert_eq!(first["users"], again["users"]);
    let other = with_key(&rest, "another", json!({"users": [{}]})).await.json();
    assert_ne!(first["users"][0]["id"], other["users"][0]["id"]);
    let reused = with_key(&rest, &key, json!({"users": [{"env": "stage"}]})).await;
    assert_eq!(reused.failure(), (422, "key-reused".to_owned()));
    rest.delete(&format!("/api/v1/leases/{}", first["id"].as_str().unwrap())).await;
    let ended = with_key(&rest, &key, json!({"users": [{}]})).await;
    assert_eq!(ended.failure(), (410, "lease-lost".to_owned()));
}

#[tokio::test]
async fn replicas_with_one_secret_make_one_lease_of_one_key() {
    let one = Rest::empty();
    one.farm.create(bot("ada")).await.unwrap();
    one.farm.create(bot("bob")).await.unwrap();
    let farm = one.farm.clone();
    let replica =
        |secret: [u8; 32]| Rest::with(farm.clone(), Options { replay_secret: secret.into(), ..Options::default() });
    let first = with_key(&replica([7; 32]), "build 7", json!({"users": [{}]})).await.json();
    let second = with_key(&replica([7; 32]), "build 7", json!({"users": [{}]})).await.json();
    let stranger = with_key(&replica([8; 32]), "build 7", json!({"users": [{}]})).await.json();
    assert_eq!(first["id"], second["id"]);
    assert_ne!(first["id"], stranger["id"]);
}

#[tokio::test]
async fn a_wait_beyond_the_service_s_is_cut_to_it() {
    let full = Rest::empty();
    full.farm.create(bot("ada")).await.unwrap();
    let rest = Rest::with(full.farm, Options { max_wait: Duration::from_millis(50), ..Options::default() });
    rest.post("/api/v1/leases", json!({"users": [{}]})).await;
    let answer = rest.post("/api/v1/leases", json!({"users": [{}], "wait_seconds": 86_400})).await;
    assert_eq!(answer.failure(), (409, "exhausted".to_owned()));
}

#[tokio::test]
async fn waiters_are_served_in_the_order_of_their_coming() {
    let rest = Rest::empty();
    rest.farm.create(bot("ada")).await.unwrap();
    let held = rest.post("/api/v1/leases", json!({"users": [{}]})).await.json();
    let mut waiting = Vec::new();
    for ticket in 0..5_u64 {
        let waiter = rest.clone();
        let body = json!({"users": [{}], "wait_seconds": 60, "holder": format!("ticket {ticket}")});
        waiting.push(tokio::spawn(async move { waiter.post("/api/v1/leases", body).await.json() }));
        until(|| async { rest.farm.stats().await.unwrap().waiting == ticket + 1 }).await;
    }
    let mut id = held["id"].as_str().unwrap().to_owned();
    for (ticket, waiter) in waiting.into_iter().enumerate() {
        rest.delete(&format!("/api/v1/leases/{id}")).await;
        let lease = waiter.await.unwrap();
        assert_eq!(lease["holder"], format!("ticket {ticket}"));
        id = lease["id"].as_str().unwrap().to_owned();
    }
}

#[tokio::test]
async fn a_lease_id_that_anybody_could_guess_is_refused() {
    let rest = Rest::empty();
    for id in ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"] {
        let answer = rest.post("/api/v1/leases", json!({"users": [{}], "id": id})).await;
        assert_eq!(answer.failure(), (422, "invalid".to_owned()), "{id}");
        assert_eq!(answer.json()["errors"][0]["pointer"], "/id", "{id}");
    }
}

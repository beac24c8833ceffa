//! `/history` and `/waiters`.

use std::sync::Arc;

use axum::http::{Method, header};
use botfarm_core::{
    BotFarm, Env, NewBot,
    operators::{Role, Scope},
};
use botfarm_memory::MemoryFarm;
use serde_json::{Value, json};

use crate::{
    principals::{Principals, call},
    service::{Rest, bot, until},
};

async fn leased(rest: &Rest, login: &str, body: Value) -> Value {
    let mut body = body;
    body["users"] = json!([{"login": login}]);
    rest.post("/api/v1/leases", body).await.json()
}

async fn released(rest: &Rest, lease: &Value, query: &str) {
    let path = format!("/api/v1/leases/{}?{query}", lease["id"].as_str().unwrap());
    assert_eq!(rest.send(Method::DELETE, &path).await.status, 204);
}

#[tokio::test]
async fn the_history_goes_across_users_and_is_filtered() {
    let rest = Rest::empty();
    for login in ["ada", "bob"] {
        rest.farm.create(bot(login)).await.unwrap();
    }
    rest.farm.create(NewBot { env: Env::PREPROD, ..bot("bob") }).await.unwrap();
    let one = leased(&rest, "ada", json!({"holder": "first", "run": "a run/1", "url": "https://ci.test/1"})).await;
    released(&rest, &one, "outcome=dirty&note=changed").await;
    let id = leased(&rest, "stage bob", json!({})).await;
    assert_eq!(id["code"], "no-match");
    let users = json!([{"login": "bob", "env": "stage"}]);
    let two = rest.post("/api/v1/leases", json!({"users": users, "holder": "second"})).await.json();
    let id = two["users"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/users/{id}/release");
    rest.post(&path, json!({"force": true})).await;

    let all = rest.get("/api/v1/history").await.json();
    let found = |rows: &Value| -> Vec<String> {
        rows.as_array().unwrap().iter().map(|row| row["holder"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(found(&all), ["second", "first"], "{all}");
    let row = &all[1];
    let told =
        [&row["login"], &row["env"], &row["run"], &row["url"], &row["reason"], &row["outcome"], &row["end_note"]];
    let wanted =
        ["ada", "stage", "a run/1", "https://ci.test/1", "released", "dirty", "changed"].map(|text| json!(text));
    assert_eq!(told, wanted.each_ref());
    assert_eq!((&row["released_by"], &row["user_id"]), (&json!("first"), &one["users"][0]["id"]));
    for (query, wanted) in [
        ("holder=first", &["first"][..]),
        ("run=a%20run/1", &["first"]),
        ("user=ada", &["first"]),
        ("user=stage/bob", &["second"]),
        (&format!("user={id}"), &["second"]),
        ("outcome=dirty", &["first"]),
        ("env=stage&outcome=clean", &["second"]),
        ("env=preprod", &[]),
        ("since=2020-01-01T00:00:00Z", &["second", "first"]),
        ("until=2020-01-01T00:00:00Z", &[]),
        ("holder=first&user=stage/bob", &[]),
    ] {
        assert_eq!(found(&rest.get(&format!("/api/v1/history?{query}")).await.json()), wanted, "{query}");
    }
    let page = rest.get("/api/v1/history?limit=1").await;
    assert_eq!(found(&page.json()), ["second"]);
    let next = page.header(header::LINK).unwrap().split(['<', '>']).nth(1).unwrap().to_owned();
    let page = rest.get(&next).await;
    assert_eq!((found(&page.json()), page.header(header::LINK)), (vec!["first".to_owned()], None));
    for (query, at) in [
        ("user=nobody", "/user"),
        ("user=bob", "/user"),
        ("outcome=odd", "/outcome"),
        ("since=soon", "/since"),
        ("hodler=first", "/hodler"),
    ] {
        let refused = rest.get(&format!("/api/v1/history?{query}")).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["errors"][0]["pointer"]), (422, &json!(at)), "{query}");
    }
    assert_eq!(rest.get("/api/v1/history?cursor=x").await.status, 400);
}

#[tokio::test]
async fn waiters_are_listed_with_what_keeps_them() {
    let rest = Rest::empty();
    rest.farm.create(bot("ada")).await.unwrap();
    assert_eq!(rest.get("/api/v1/waiters").await.json(), json!([]));
    leased(&rest, "ada", json!({"holder": "nightly", "run": "seven"})).await;
    for (holder, body) in [
        ("one", json!({"users": [{"env": "stage"}], "holder": "one", "run": "seven", "wait_seconds": 60})),
        ("two", json!({"users": [{"as": "admin", "login": "ada"}], "holder": "two", "wait_seconds": 60})),
    ] {
        let (asking, count) = (rest.clone(), if holder == "one" { 1 } else { 2 });
        tokio::spawn(async move { asking.post("/api/v1/leases", body).await });
        until(async || rest.farm.stats().await.unwrap().waiting == count).await;
    }
    let waiters = rest.get("/api/v1/waiters").await.json();
    let told = |at: usize| {
        let waiter = &waiters[at];
        [&waiter["place"], &waiter["holder"], &waiter["run"], &waiter["holds"], &waiter["alive"], &waiter["selectors"]]
            .map(Clone::clone)
    };
    let wanted = json!([1, "one", "seven", 1, true, [{"env": "stage"}]]);
    assert_eq!(json!(told(0)), wanted, "{waiters}");
    assert_eq!(json!(told(1)), json!([2, "two", null, 0, true, [{"as": "admin", "login": "ada"}]]), "{waiters}");
    let reason = waiters[1]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with(
            "1 match, 1 leased, 0 cooling, 0 out of service, place 2 of 2; the longest is held by nightly since "
        ),
        "{reason}"
    );
    let page = rest.get("/api/v1/waiters?limit=1").await;
    assert_eq!(page.json().as_array().unwrap().len(), 1);
    let next = page.header(header::LINK).unwrap().split(['<', '>']).nth(1).unwrap().to_owned();
    assert_eq!(rest.get(&next).await.json()[0]["holder"], "two");

    let refused = rest.post("/api/v1/leases", json!({"users": [{}], "wait_seconds": 0.05})).await.json();
    assert_eq!((&refused["place"], &refused["waiting"]), (&json!(3), &json!(2)), "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("place 3 of 3"), "{refused}");
}

#[tokio::test]
async fn a_confined_token_sees_the_waiters_and_the_history_of_its_scope_alone() {
    let principals = Principals::new().await;
    let farm = Arc::new(MemoryFarm::new());
    farm.create(bot("seen")).await.unwrap();
    farm.create(NewBot { env: Env::PREPROD, ..bot("far") }).await.unwrap();
    let rest = principals.serve(farm);
    let scope = Scope { env: Some(Env::STAGE), ..Scope::default() };
    let (_, confined) = principals.token("confined", Role::Tester, scope, None).await;
    let (_, other) = principals.token("other", Role::Tester, Scope::default(), None).await;
    for (token, env) in [(&confined, "stage"), (&other, "preprod")] {
        let body = json!({"users": [{"env": env}], "holder": env});
        let lease = call(&rest, token, Method::POST, "/leases", body.clone()).await.json();
        let path = format!("/leases/{}", lease["id"].as_str().unwrap());
        assert_eq!(call(&rest, token, Method::DELETE, &path, Value::Null).await.status, 204);
        assert_eq!(call(&rest, token, Method::POST, "/leases", body).await.status, 201);
    }
    for (count, (token, env)) in [(&other, "preprod"), (&confined, "stage")].into_iter().enumerate() {
        let (rest, token) = (rest.clone(), token.clone());
        let body = json!({"users": [{"env": env}], "holder": format!("waits for {env}"), "wait_seconds": 60});
        tokio::spawn({
            let rest = rest.clone();
            async move { call(&rest, &token, Method::POST, "/leases", body).await }
        });
        until(async || rest.farm.stats().await.unwrap().waiting == count as u64 + 1).await;
    }
    let get = async |token: &str, path: &str| call(&rest, token, Method::GET, path, Value::Null).await.json();
    let seen = get(&confined, "/waiters").await;
    assert_eq!(seen.as_array().unwrap().len(), 1, "{seen}");
    assert_eq!((&seen[0]["holder"], &seen[0]["place"]), (&json!("waits for stage"), &json!(1)), "{seen}");
    assert_eq!(get(&other, "/waiters").await.as_array().unwrap().len(), 2);
    let seen = get(&confined, "/history").await;
    assert_eq!(seen.as_array().unwrap().len(), 1, "{seen}");
    assert_eq!((&seen[0]["holder"], &seen[0]["login"]), (&json!("stage"), &json!("seen")), "{seen}");
    assert_eq!(get(&confined, "/history?env=preprod").await, json!([]));
    assert_eq!(get(&other, "/history").await.as_array().unwrap().len(), 2);
}

//! `/runs`.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use botfarm_core::{
    BotFarm,
    operators::{Role, Scope},
};
use botfarm_memory::MemoryFarm;
use serde_json::{Value, json};

use crate::{
    principals::{Principals, call},
    service::{Rest, bot, until},
};

/// A run as CI names it, and as a path does.
const RUN: &str = "GitHub acme/shop 4711/1";
const PATH: &str = "/api/v1/runs/GitHub%20acme%2Fshop%204711%2F1";

fn of_run(wait: u32) -> Value {
    json!({"users": [{}], "run": RUN, "wait_seconds": wait})
}

#[tokio::test]
async fn a_run_is_listed_and_ends_with_its_leases_and_its_waiters() {
    let rest = Rest::empty();
    for login in ["ada", "bob"] {
        rest.farm.create(bot(login)).await.unwrap();
    }
    let lease = rest.post("/api/v1/leases", of_run(0)).await.json();
    let other = rest.post("/api/v1/leases", json!({"users": [{}], "run": "another"})).await.json();
    let listed = rest.get(PATH).await.json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!((&listed[0]["run"], &listed[0]["users"][0]["id"]), (&json!(RUN), &lease["users"][0]["id"]));
    assert!(listed[0].get("id").is_none() && listed[0]["users"][0].get("password").is_none(), "{listed}");
    assert_eq!(rest.get(&format!("{PATH}?limit=1")).await.json(), listed);

    let waiter = rest.clone();
    let waiter = tokio::spawn(async move { waiter.post("/api/v1/leases", of_run(60)).await });
    until(async || rest.farm.stats().await.unwrap().waiting == 1).await;
    let body = json!({"outcome": "dirty", "note": "it was cancelled", "by": "the pipeline"});
    let ended = rest.post(&format!("{PATH}/end"), body).await;
    assert_eq!((ended.status.as_u16(), ended.json()), (200, json!({"ended": 1, "waiters": 1})));

    let sent_away = waiter.await.unwrap();
    let path = format!("/api/v1/leases/{}", lease["id"].as_str().unwrap());
    for lost in [sent_away, rest.get(&path).await, rest.send(Method::DELETE, &path).await] {
        let (status, told) = (lost.status.as_u16(), lost.json());
        let told = (status, &told["code"], &told["reason"], &told["by"], &told["note"]);
        assert_eq!(
            told,
            (410, &json!("lease-lost"), &json!("taken"), &json!("the pipeline"), &json!("it was cancelled"))
        );
    }
    let user = rest.get(&format!("/api/v1/users/{}", lease["users"][0]["id"].as_str().unwrap())).await.json();
    assert_eq!((&user["condition"], &user["lease"]), (&json!("dirty"), &Value::Null));
    assert_eq!(rest.get(PATH).await.json(), json!([]));
    let other = rest.get(&format!("/api/v1/leases/{}", other["id"].as_str().unwrap())).await;
    assert_eq!(other.status, 200, "leases of other runs stay in force");
}

#[tokio::test]
async fn the_end_of_a_run_may_be_asked_for_again_under_its_key() {
    let rest = Rest::empty();
    rest.farm.create(bot("ada")).await.unwrap();
    let end = async || {
        let request = Request::post(format!("{PATH}/end")).header("idempotency-key", "once");
        rest.request(request.body(Body::empty()).unwrap()).await.json()
    };
    rest.post("/api/v1/leases", of_run(0)).await;
    assert_eq!(end().await, json!({"ended": 1, "waiters": 0}));
    let next = rest.post("/api/v1/leases", of_run(0)).await;
    assert_eq!((next.status.as_u16(), end().await), (201, json!({"ended": 1, "waiters": 0})), "as it was answered");
    let path = next.header(header::LOCATION).unwrap().to_owned();
    assert_eq!(rest.get(&path).await.status, 200, "what began since is left alone");
}

#[tokio::test]
async fn a_run_without_a_sane_name_is_refused() {
    let rest = Rest::empty();
    for path in
        ["/api/v1/runs/%20", "/api/v1/runs/a%0Ab", &format!("/api/v1/runs/{}", "x".repeat(201)), "/api/v1/runs/%ff"]
    {
        for answer in [rest.get(path).await, rest.post(&format!("{path}/end"), json!({})).await] {
            assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &json!("malformed")), "{path}");
        }
    }
    let unknown = rest.post(&format!("{PATH}/end"), json!({"outcom": "dirty"})).await;
    assert_eq!(unknown.status, 422);
    let unknown = rest.post(&format!("{PATH}/end"), json!({})).await.json();
    assert_eq!(unknown, json!({"ended": 0, "waiters": 0}), "a run that nobody knows ends nothing");
}

#[tokio::test]
async fn a_tester_ends_what_is_its_own_of_a_run_and_an_admin_all_of_it() {
    let principals = Principals::new().await;
    let farm = Arc::new(MemoryFarm::new());
    for login in ["ada", "bob", "eve"] {
        farm.create(bot(login)).await.unwrap();
    }
    let rest = principals.serve(farm);
    let (_, one) = principals.token("jenkins 1", Role::Tester, Scope::default(), None).await;
    let (_, other) = principals.token("jenkins 2", Role::Tester, Scope::default(), None).await;
    let (_, viewer) = principals.token("viewer", Role::Viewer, Scope::default(), None).await;
    let scope = Scope { env: Some(botfarm_core::Env::STAGE), ..Scope::default() };
    let (_, confined) = principals.token("confined admin", Role::Admin, scope, None).await;
    let (_, admin) = principals.token("admin", Role::Admin, Scope::default(), None).await;
    let path = PATH.strip_prefix("/api/v1").unwrap();
    let end = async |token: &str| call(&rest, token, Method::POST, &format!("{path}/end"), json!({"by": "me"})).await;
    let mut leases = Vec::new();
    for token in [&one, &other, &other] {
        leases.push(call(&rest, token, Method::POST, "/leases", of_run(0)).await.json());
    }
    assert_eq!(end(&viewer).await.status, 403);
    assert_eq!(end(&confined).await.json(), json!({"ended": 0, "waiters": 0}), "confined, it ends its own alone");
    assert_eq!(end(&one).await.json(), json!({"ended": 1, "waiters": 0}), "another server's run of this name goes on");
    assert_eq!(call(&rest, &viewer, Method::GET, path, Value::Null).await.json().as_array().unwrap().len(), 2);
    assert_eq!(end(&admin).await.json(), json!({"ended": 2, "waiters": 0}));
    let told: Vec<_> = rest
        .farm
        .history(leases[1]["users"][0]["id"].as_str().unwrap().parse().unwrap(), &botfarm_core::PageRequest::default())
        .await
        .unwrap()
        .items;
    let end = told[0].end.clone().unwrap();
    assert_eq!(end.by.as_deref(), Some("admin"), "whoever is known does not choose a name");
}

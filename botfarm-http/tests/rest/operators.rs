//! `/operators` and `/tokens`.

use std::sync::Arc;

use axum::http::{Method, header};
use botfarm_core::{
    BotFarm as _, Env, PageRequest, Timestamp,
    operators::{Role, Scope},
};
use botfarm_memory::MemoryFarm;
use serde_json::{Value, json};

use crate::{
    principals::{Principals, call, log_in},
    service::{bot, project, time},
};

#[tokio::test]
async fn an_operator_is_added_logs_in_and_is_removed() {
    let principals = Principals::new().await;
    let rest = principals.empty();
    let ann = principals.log_in("ann").await;
    let new = json!({"login": "Zoe", "password": "made up as one goes", "role": "tester"});
    let answer = call(&rest, &ann, Method::POST, "/operators", new.clone()).await;
    assert_eq!(answer.status, 201);
    let zoe = answer.json();
    let kept = principals.store.operator(&"zoe".parse().unwrap()).await.unwrap().unwrap().0;
    let expected = json!({"id": kept.id, "login": "Zoe", "role": "tester", "created_at": time(kept.created_at)});
    assert_eq!(zoe, expected);
    let listed = call(&rest, &ann, Method::GET, "/operators", Value::Null).await.json();
    let logins: Vec<_> =
        listed.as_array().unwrap().iter().map(|operator| operator["login"].as_str().unwrap()).collect();
    assert_eq!((logins, &listed[3]), (vec!["ann", "tom", "vic", "Zoe"], &zoe));

    let again = call(&rest, &ann, Method::POST, "/operators", new).await;
    assert_eq!(
        (again.failure(), &again.json()["errors"][0]["pointer"]),
        ((422, "invalid".to_owned()), &json!("/login"))
    );

    let answer = log_in(&rest, "zoe", "made up as one goes").await;
    let session = answer.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(call(&rest, &session, Method::GET, "/users", Value::Null).await.status, 200);
    let path = format!("/operators/{}", kept.id);
    assert_eq!(call(&rest, &ann, Method::DELETE, &path, Value::Null).await.status, 204);
    assert_eq!(call(&rest, &session, Method::GET, "/users", Value::Null).await.status, 401);
    assert_eq!(log_in(&rest, "zoe", "made up as one goes").await.status, 401);
    let gone = call(&rest, &ann, Method::DELETE, &path, Value::Null).await;
    assert_eq!(gone.failure(), (404, "no-such-operator".to_owned()));
}

#[tokio::test]
async fn the_last_admin_stays() {
    let principals = Principals::new().await;
    let rest = principals.empty();
    let ann = principals.log_in("ann").await;
    let id = principals.store.operator(&"ann".parse().unwrap()).await.unwrap().unwrap().0.id;
    let answer = call(&rest, &ann, Method::DELETE, &format!("/operators/{id}"), Value::Null).await;
    assert_eq!(answer.failure(), (403, "forbidden".to_owned()));
}

#[tokio::test]
async fn a_token_is_shown_once_and_works_until_it_is_revoked() {
    let principals = Principals::new().await;
    let rest = principals.empty();
    let ann = principals.log_in("ann").await;
    let new = json!({
        "name": "nightly", "role": "viewer", "project_id": project(), "env": "stage",
        "expires_at": "2100-01-02T03:04:05Z",
    });
    let answer = call(&rest, &ann, Method::POST, "/tokens", new.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.header(header::CACHE_CONTROL)), (201, Some("no-store")));
    let mut issued = answer.json();
    let secret = issued.as_object_mut().unwrap().remove("token").unwrap();
    let secret = secret.as_str().unwrap();
    assert!(secret.starts_with("bf_") && secret.len() == 46, "{secret}");
    let kept = principals.store.tokens().await.unwrap().remove(0);
    let expected = json!({
        "id": kept.id, "name": "nightly", "role": "viewer", "project_id": project(), "env": "stage",
        "created_at": time(kept.created_at), "expires_at": "2100-01-02T03:04:05.000000Z", "last_used_at": null,
    });
    assert_eq!(issued, expected);

    assert_eq!(call(&rest, secret, Method::GET, "/users", Value::Null).await.status, 200);
    let listed = call(&rest, &ann, Method::GET, "/tokens", Value::Null).await.json();
    let used = principals.store.tokens().await.unwrap().remove(0).last_used_at.unwrap();
    issued["last_used_at"] = json!(time(used));
    assert_eq!(listed, json!([issued]));

    let again = call(&rest, &ann, Method::POST, "/tokens", new).await;
    assert_eq!(
        (again.failure(), &again.json()["errors"][0]["pointer"]),
        ((422, "invalid".to_owned()), &json!("/name"))
    );
    let path = format!("/tokens/{}", kept.id);
    assert_eq!(call(&rest, &ann, Method::DELETE, &path, Value::Null).await.status, 204);
    assert_eq!(call(&rest, secret, Method::GET, "/users", Value::Null).await.status, 401);
    let gone = call(&rest, &ann, Method::DELETE, &path, Value::Null).await;
    assert_eq!(gone.failure(), (404, "no-such-token".to_owned()));
}

#[tokio::test]
async fn a_token_that_is_revoked_takes_its_leases_along_when_it_is_told_to() {
    let principals = Principals::new().await;
    let farm = Arc::new(MemoryFarm::with_bots(["ada", "bob", "cy", "dee"].map(bot)).unwrap());
    let rest = principals.serve(farm.clone());
    let ann = principals.log_in("ann").await;
    let (gone, secret) = principals.token("ci", Role::Tester, Scope::default(), None).await;
    let (_, other) = principals.token("nightly", Role::Tester, Scope::default(), None).await;
    let lease = async |credential: &str, logins: &[&str]| {
        let users: Vec<_> = logins.iter().map(|login| json!({"login": login})).collect();
        let answer = call(&rest, credential, Method::POST, "/leases", json!({"users": users})).await;
        answer.json()["id"].as_str().unwrap().to_owned()
    };
    let theirs = [lease(&secret, &["ada", "bob"]).await, lease(&secret, &["cy"]).await];
    let others = lease(&other, &["dee"]).await;

    let path = format!("/tokens/{}", gone.id);
    let wrong = call(&rest, &ann, Method::DELETE, &format!("{path}?end_leases=yes"), Value::Null).await;
    assert_eq!(wrong.json()["errors"][0]["pointer"], "/end_leases");
    assert_eq!(call(&rest, &secret, Method::GET, "/users", Value::Null).await.status, 200, "nothing was done");

    let path = format!("{path}?end_leases=true");
    let answer = call(&rest, &ann, Method::DELETE, &path, Value::Null).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({"ended": 2})));
    for id in theirs {
        let lost = call(&rest, &ann, Method::GET, &format!("/leases/{id}"), Value::Null).await;
        assert_eq!(lost.failure(), (410, "lease-lost".to_owned()));
        let told = lost.json();
        assert_eq!((&told["reason"], &told["by"]), (&json!("revoked"), &json!("ann")), "{told}");
    }
    assert_eq!(call(&rest, &ann, Method::GET, &format!("/leases/{others}"), Value::Null).await.status, 200);
    let again = call(&rest, &ann, Method::DELETE, &path, Value::Null).await;
    assert_eq!(again.failure(), (404, "no-such-token".to_owned()));
}

#[tokio::test]
async fn the_leases_of_a_token_that_has_gone_can_still_be_ended() {
    let principals = Principals::new().await;
    let farm = Arc::new(MemoryFarm::with_bots([bot("ada")]).unwrap());
    let rest = principals.serve(farm.clone());
    let ann = principals.log_in("ann").await;
    let (gone, secret) = principals.token("ci", Role::Tester, Scope::default(), None).await;
    assert_eq!(call(&rest, &secret, Method::POST, "/leases", json!({"users": [{}]})).await.status, 201);
    let path = format!("/tokens/{}", gone.id);
    assert_eq!(call(&rest, &ann, Method::DELETE, &path, Value::Null).await.status, 204);
    assert_eq!(farm.leases(&PageRequest::first(9)).await.unwrap().items.len(), 1, "it stays leased");
    let answer = call(&rest, &ann, Method::DELETE, &format!("{path}?end_leases=true"), Value::Null).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({"ended": 1})));
    assert_eq!(farm.leases(&PageRequest::first(9)).await.unwrap().items, []);
}

#[tokio::test]
async fn a_token_is_a_testers_for_everything_and_for_ninety_days_unless_it_is_said_otherwise() {
    let principals = Principals::new().await;
    let ann = principals.log_in("ann").await;
    let issued = call(&principals.empty(), &ann, Method::POST, "/tokens", json!({"name": "ci"})).await.json();
    let given = ["role", "project_id", "env"].map(|field| issued[field].clone());
    assert_eq!(given, [json!("tester"), Value::Null, Value::Null]);
    let at = |field: &str| issued[field].as_str().unwrap().parse::<Timestamp>().unwrap();
    let hours = (at("expires_at") - at("created_at")).num_hours();
    assert!(hours.abs_diff(90 * 24) <= 1, "{hours}");
    let new = json!({"name": "for ever", "expires_at": "never"});
    let issued = call(&principals.empty(), &ann, Method::POST, "/tokens", new).await.json();
    assert_eq!(issued["expires_at"], Value::Null);
}

#[tokio::test]
async fn what_is_wrong_with_an_operator_or_a_token_is_named() {
    let principals = Principals::new().await;
    let rest = principals.empty();
    let ann = principals.log_in("ann").await;
    for (path, body, expected) in [
        ("/operators", json!({}), vec!["/login", "/password", "/role"]),
        ("/operators", json!({"login": "", "password": "", "role": "king"}), vec!["/login", "/password", "/role"]),
        ("/operators", json!({"login": "a", "password": "x", "role": "viewer", "env": "stage"}), vec!["/env"]),
        ("/operators", json!({"login": "a", "password": "x", "role": "viewer"}), vec!["/password"]),
        ("/tokens", json!({}), vec!["/name"]),
        (
            "/tokens",
            json!({"name": "\n", "role": 1, "project_id": "*", "env": "a/b", "expires_at": "soon", "scope": []}),
            vec!["/name", "/role", "/project_id", "/env", "/expires_at", "/scope"],
        ),
        ("/tokens", json!({"name": "ci", "expires_at": "2020-01-01T00:00:00Z"}), vec!["/expires_at"]),
    ] {
        let answer = call(&rest, &ann, Method::POST, path, body).await;
        assert_eq!(answer.failure(), (422, "invalid".to_owned()));
        let errors = answer.json()["errors"].as_array().unwrap().clone();
        let pointers: Vec<_> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        assert_eq!(pointers, expected, "{path}");
    }
    assert_eq!(
        (principals.store.operators().await.unwrap().len(), principals.store.tokens().await.unwrap()),
        (3, vec![])
    );
}

#[tokio::test]
async fn a_confined_admin_looks_after_no_tokens() {
    let principals = Principals::new().await;
    let rest = principals.empty();
    let stage = Scope { env: Some(Env::STAGE), project: None };
    let (own, secret) = principals.token("stage admin", Role::Admin, stage, None).await;
    for (method, path, body) in [
        (Method::GET, "/operators".to_owned(), Value::Null),
        (
            Method::POST,
            "/operators".to_owned(),
            json!({"login": "eve", "password": "made up as one goes", "role": "admin"}),
        ),
        (Method::GET, "/tokens".to_owned(), Value::Null),
        (Method::POST, "/tokens".to_owned(), json!({"name": "wide", "role": "admin"})),
        (Method::DELETE, format!("/tokens/{}", own.id), Value::Null),
    ] {
        let answer = call(&rest, &secret, method, &path, body).await;
        assert_eq!(answer.failure(), (403, "forbidden".to_owned()), "{path}");
    }
}

//! `/operators` and `/tokens`.

use std::{sync::Arc, time::Duration};

use axum::http::{Method, header};
use botfarm_core::{
    BotFarm as _, Ending, Env, LeaseRequest, Selector, Timestamp,
    operators::{Operators as _, Role, Scope},
};
use botfarm_memory::MemoryFarm;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    service::{bot, project, time, until},
    staff::{Staff, call, log_in},
};

#[tokio::test]
async fn an_operator_is_added_logs_in_and_is_removed() {
    let staff = Staff::new().await;
    let rest = staff.empty();
    let ann = staff.log_in("ann").await;
    let new = json!({"login": "Zoe", "password": "made up as one goes", "role": "tester"});
    let answer = call(&rest, &ann, Method::POST, "/operators", new.clone()).await;
    assert_eq!(answer.status, 201);
    let zoe = answer.json();
    let kept = staff.store.operator(&"zoe".parse().unwrap()).await.unwrap().unwrap().0;
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

#[tokio::test(start_paused = true)]
async fn who_waits_with_a_token_or_a_login_that_goes_is_refused_and_gets_nothing() {
    let staff = Staff::new().await;
    let farm = Arc::new(MemoryFarm::with_bots([bot("ada")]).unwrap());
    let rest = staff.serve(farm.clone());
    let ann = staff.log_in("ann").await;
    for (way, is_at_once) in [("DELETE", true), ("logout", true), ("another replica", false), ("DELETE operator", true)]
    {
        let (token, secret) = staff.token("ci", Role::Tester, Scope::default(), None).await;
        let tom = staff.log_in("tom").await;
        let credential = if matches!(way, "DELETE" | "another replica") { secret } else { tom.clone() };
        let held = farm.acquire(LeaseRequest::new("holder".parse().unwrap(), Selector::any())).await.unwrap();
        let waits = {
            let rest = rest.clone();
            let wanted = json!({"users": [{}], "wait_seconds": 60});
            tokio::spawn(async move { call(&rest, &credential, Method::POST, "/leases", wanted).await })
        };
        until(async || farm.stats().await.unwrap().waiting == 1).await;
        let begun = Instant::now();
        match way {
            "DELETE" => {
                let path = format!("/tokens/{}", token.id);
                assert_eq!(call(&rest, &ann, Method::DELETE, &path, Value::Null).await.status, 204);
            }
            "logout" => assert_eq!(call(&rest, &tom, Method::POST, "/logout", Value::Null).await.status, 204),
            "DELETE operator" => {
                let id = staff.store.operator(&"tom".parse().unwrap()).await.unwrap().unwrap().0.id;
                let path = format!("/operators/{id}");
                assert_eq!(call(&rest, &ann, Method::DELETE, &path, Value::Null).await.status, 204);
            }
            _ => assert!(staff.store.remove_token(token.id).await.unwrap()),
        }
        let refused = waits.await.unwrap();
        assert_eq!(refused.failure(), (401, "unauthenticated".to_owned()), "{way}");
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(if is_at_once { 1 } else { 6 }), "{way}: {took:?}");
        assert_eq!(farm.stats().await.unwrap().waiting, 0, "{way}: nobody waits any more");
        farm.release(held.id, Ending::clean()).await.unwrap();
        let _ = staff.store.remove_token(token.id).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_granted_to_who_is_no_longer_one_is_taken_back() {
    let staff = Staff::new().await;
    let farm = Arc::new(MemoryFarm::with_bots([bot("ada")]).unwrap());
    let rest = staff.serve(farm.clone());
    let (token, secret) = staff.token("ci", Role::Tester, Scope::default(), None).await;
    let held = farm.acquire(LeaseRequest::new("holder".parse().unwrap(), Selector::any())).await.unwrap();
    let wanted = json!({"users": [{}], "wait_seconds": 60});
    let asked = rest.clone();
    let waits = tokio::spawn(async move { call(&asked, &secret, Method::POST, "/leases", wanted).await });
    until(async || farm.stats().await.unwrap().waiting == 1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Elsewhere, and so that this process has not asked after it yet.
    assert!(staff.store.remove_token(token.id).await.unwrap());
    farm.release(held.id, Ending::clean()).await.unwrap();
    assert_eq!(waits.await.unwrap().failure(), (401, "unauthenticated".to_owned()));
    let next = farm.acquire(LeaseRequest::new("next".parse().unwrap(), Selector::any())).await.unwrap();
    assert_eq!(next.bot().bot.login.as_str(), "ada");
}

#[tokio::test]
async fn the_last_admin_stays() {
    let staff = Staff::new().await;
    let rest = staff.empty();
    let ann = staff.log_in("ann").await;
    let id = staff.store.operator(&"ann".parse().unwrap()).await.unwrap().unwrap().0.id;
    let answer = call(&rest, &ann, Method::DELETE, &format!("/operators/{id}"), Value::Null).await;
    assert_eq!(answer.failure(), (403, "forbidden".to_owned()));
}

#[tokio::test]
async fn a_token_is_shown_once_and_works_until_it_is_revoked() {
    let staff = Staff::new().await;
    let rest = staff.empty();
    let ann = staff.log_in("ann").await;
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
    let kept = staff.store.tokens().await.unwrap().remove(0);
    let expected = json!({
        "id": kept.id, "name": "nightly", "role": "viewer", "project_id": project(), "env": "stage",
        "created_at": time(kept.created_at), "expires_at": "2100-01-02T03:04:05.000000Z", "last_used_at": null,
    });
    assert_eq!(issued, expected);

    assert_eq!(call(&rest, secret, Method::GET, "/users", Value::Null).await.status, 200);
    let listed = call(&rest, &ann, Method::GET, "/tokens", Value::Null).await.json();
    let used = staff.store.tokens().await.unwrap().remove(0).last_used_at.unwrap();
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
async fn a_token_is_a_testers_for_everything_and_for_ninety_days_unless_it_is_said_otherwise() {
    let staff = Staff::new().await;
    let ann = staff.log_in("ann").await;
    let issued = call(&staff.empty(), &ann, Method::POST, "/tokens", json!({"name": "ci"})).await.json();
    let given = ["role", "project_id", "env"].map(|field| issued[field].clone());
    assert_eq!(given, [json!("tester"), Value::Null, Value::Null]);
    let at = |field: &str| issued[field].as_str().unwrap().parse::<Timestamp>().unwrap();
    let hours = (at("expires_at") - at("created_at")).num_hours();
    assert!(hours.abs_diff(90 * 24) <= 1, "{hours}");
    let new = json!({"name": "for ever", "expires_at": "never"});
    let issued = call(&staff.empty(), &ann, Method::POST, "/tokens", new).await.json();
    assert_eq!(issued["expires_at"], Value::Null);
}

#[tokio::test]
async fn what_is_wrong_with_an_operator_or_a_token_is_named() {
    let staff = Staff::new().await;
    let rest = staff.empty();
    let ann = staff.log_in("ann").await;
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
    assert_eq!((staff.store.operators().await.unwrap().len(), staff.store.tokens().await.unwrap()), (3, vec![]));
}

#[tokio::test]
async fn a_confined_admin_looks_after_no_tokens() {
    let staff = Staff::new().await;
    let rest = staff.empty();
    let stage = Scope { env: Some(Env::STAGE), project: None };
    let (own, secret) = staff.token("stage admin", Role::Admin, stage, None).await;
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

//! Lock by id, in its three spellings each.

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use botfarm_core::{BotFarm, Condition};
use serde_json::{Value, json};

use crate::service::{Rest, bot};

/// What a lock answers, made from what the farm has.
async fn locked(rest: &Rest, id: &str, answer: &Value, holder: &str, ttl: u32) -> Value {
    let mut user = rest.get(&format!("/api/v1/users/{id}")).await.json();
    user["as"] = Value::Null;
    user["password"] = json!("pass-ada");
    user["fence"] = answer["users"][0]["fence"].clone();
    let left = answer["expires_in_seconds"].as_f64().unwrap();
    assert!(0.0 < left && left <= f64::from(ttl), "{left}");
    json!({
        "message": format!("User {id} is yours; renew or release the lease by its id."),
        "id": answer["id"], "holder": holder, "note": null, "url": null,
        "acquired_at": user["lease"]["since"], "expires_at": user["lease"]["expires_at"],
        "expires_in_seconds": answer["expires_in_seconds"], "ttl_seconds": ttl, "renew_after_seconds": ttl / 3,
        "users": [user],
    })
}

#[tokio::test]
async fn every_spelling_of_acquire_and_of_release_works_with_every_other() {
    let rest = Rest::empty();
    let id = rest.farm.create(bot("ada")).await.unwrap().id.to_string();
    let mut fences = Vec::new();
    for acquire in ["acquire", "acquire_lock", "lock"] {
        for (method, release) in [(Method::POST, "release"), (Method::POST, "release_lock"), (Method::DELETE, "lock")] {
            let answer = rest.send(Method::POST, &format!("/api/v1/users/{id}/{acquire}")).await;
            assert_eq!(answer.status, 200, "{acquire}");
            assert_eq!(answer.header(header::CACHE_CONTROL), Some("no-store"));
            let lease = answer.json();
            assert_eq!(lease, locked(&rest, &id, &lease, "anonymous", 900).await);
            fences.push(lease["users"][0]["fence"].as_i64().unwrap());
            for _ in ["the first time", "when it is free already"] {
                let answer = rest.send(method.clone(), &format!("/api/v1/users/{id}/{release}")).await;
                assert_eq!(answer.status, 200, "{release}");
                assert_eq!(answer.json(), json!({"message": format!("User {id} is released.")}));
            }
            assert_eq!(rest.get(&format!("/api/v1/users/{id}")).await.json()["locktime"], Value::Null);
        }
    }
    assert!(fences.is_sorted_by(|one, next| one < next), "{fences:?}");
}

#[tokio::test]
async fn a_body_says_who_for_how_long_and_why() {
    let rest = Rest::empty();
    let id = rest.farm.create(bot("ada")).await.unwrap().id;
    let body = json!({
        "ttl_seconds": 60.5, "wait_seconds": 0.5, "holder": "me", "note": "why", "url": "http://ci.test/1",
    });
    let lease = rest.post(&format!("/api/v1/users/{id}/acquire"), body).await.json();
    assert_eq!(lease["ttl_seconds"], 60.5);
    assert_eq!(
        (&lease["holder"], &lease["note"], &lease["url"]),
        (&json!("me"), &json!("why"), &json!("http://ci.test/1"))
    );
}

#[tokio::test]
async fn an_empty_body_is_fine_whatever_its_content_type() {
    let rest = Rest::empty();
    let id = rest.farm.create(bot("ada")).await.unwrap().id;
    for kind in [None, Some("application/json"), Some("text/plain"), Some("application/x-www-form-urlencoded")] {
        for path in ["acquire", "release"] {
            let mut request = Request::post(format!("/api/v1/users/{id}/{path}"));
            if let Some(kind) = kind {
                request = request.header(header::CONTENT_TYPE, kind);
            }
            let answer = rest.request(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, 200, "{kind:?} {path}");
        }
    }
}

#[tokio::test]
async fn a_release_takes_its_fields_from_the_query_or_from_the_body() {
    let rest = Rest::empty();
    let id = rest.farm.create(bot("ada")).await.unwrap().id;
    let path = format!("/api/v1/users/{id}");
    for (outcome, condition) in
        [("dirty", Condition::Dirty), ("broken", Condition::Broken), ("clean", Condition::Ready)]
    {
        for in_body in [true, false] {
            rest.patch(&path, json!({"condition": "ready"})).await;
            let lease = rest.send(Method::POST, &format!("{path}/lock")).await.json();
            let lease_id = lease["id"].as_str().unwrap();
            let answer = if in_body {
                rest.post(&format!("{path}/release"), json!({"outcome": outcome, "lease_id": lease_id, "note": "n"}))
                    .await
            } else {
                rest.delete(&format!("{path}/lock?outcome={outcome}&lease_id={lease_id}&note=n")).await
            };
            assert_eq!(answer.status, 200, "{outcome}");
            assert_eq!(rest.farm.get(id).await.unwrap().condition, condition, "{outcome}");
        }
    }
    let rows = rest.get(&format!("{path}/history")).await.json();
    assert!(rows.as_array().unwrap().iter().all(|row| row["end_note"] == "n"), "{rows}");
}

#[tokio::test]
async fn a_release_that_names_an_older_lease_changes_nothing() {
    let rest = Rest::empty();
    let id = rest.farm.create(bot("ada")).await.unwrap().id;
    let path = format!("/api/v1/users/{id}");
    let old = rest.send(Method::POST, &format!("{path}/acquire")).await.json();
    rest.send(Method::POST, &format!("{path}/release")).await;
    rest.post(&format!("{path}/acquire"), json!({"holder": "new"})).await;
    let answer = rest.post(&format!("{path}/release"), json!({"lease_id": old["id"]})).await;
    assert_eq!(answer.failure(), (410, "lease-lost".to_owned()));
    assert_eq!(rest.get(&path).await.json()["lease"]["holder"], "new");
}

#[tokio::test]
async fn a_revoked_lease_tells_its_holder_who_took_it_and_why() {
    let rest = Rest::empty();
    let id = rest.farm.create(bot("ada")).await.unwrap().id;
    let lease = rest.send(Method::POST, &format!("/api/v1/users/{id}/acquire")).await.json();
    let answer = rest.post(&format!("/api/v1/users/{id}/revoke"), json!({"reason": "stuck", "by": "admin"})).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), json!({"message": format!("Whatever lease held user {id} is revoked.")}));
    let lost = rest.get(&format!("/api/v1/leases/{}", lease["id"].as_str().unwrap())).await.json();
    assert_eq!((&lost["reason"], &lost["by"], &lost["note"]), (&json!("revoked"), &json!("admin"), &json!("stuck")));
}

#[tokio::test]
async fn a_user_that_is_held_is_waited_for() {
    let rest = Rest::empty();
    let id = rest.farm.create(bot("ada")).await.unwrap().id;
    let path = format!("/api/v1/users/{id}");
    rest.send(Method::POST, &format!("{path}/acquire")).await;
    let (waiter, acquire) = (rest.clone(), format!("{path}/acquire"));
    let waiting =
        tokio::spawn(async move { waiter.post(&acquire, json!({"wait_seconds": 60, "holder": "next"})).await });
    crate::service::until(|| async { rest.farm.stats().await.unwrap().waiting == 1 }).await;
    rest.send(Method::POST, &format!("{path}/release")).await;
    let answer = waiting.await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.json()["holder"]), (200, &json!("next")));
}

//! Lock by id, in its three spellings each.

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use botfarm_core::{BotFarm, Condition};
use serde_json::{Value, json};

use crate::service::{Raw, Rest, Served, bot};

/// What a lock answers, made from what the farm has.
async fn locked(rest: &Rest, id: &str, answer: &Value, holder: &str, ttl: u32) -> Value {
    let mut user = rest.get(&format!("/api/v1/users/{id}")).await.json();
    user["as"] = Value::Null;
    user["password"] = json!("pass-ada");
    user["fence"] = answer["users"][0]["fence"].clone();
    let left = answer["expires_in_seconds"].as_f64().unwrap();
    assert!(0.0 < left && left <= f64::from(ttl), "{left}");
    json!({
        "message": format!("User {id} is yours; renew or release the lease by its lease_id."),
        "id": id, "user_id": id, "lease_id": answer["lease_id"], "locktime": user["lease"]["since"],
        "holder": holder, "run": null, "note": null, "url": null,
        "acquired_at": user["lease"]["since"], "expires_at": user["lease"]["expires_at"],
        "expires_in_seconds": answer["expires_in_seconds"], "ttl_seconds": ttl, "renew_after_seconds": ttl / 3,
        "users": [user],
    })
}

fn unlocked(id: &str) -> Value {
    json!({"message": format!("User {id} is released."), "id": id, "user_id": id, "locktime": null})
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
                assert_eq!(answer.json(), unlocked(&id));
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
        "ttl_seconds": 60.5, "wait_seconds": 0.5, "holder": "me", "run": "r", "note": "why", "url": "http://ci.test/1",
    });
    let lease = rest.post(&format!("/api/v1/users/{id}/acquire"), body).await.json();
    assert_eq!(lease["ttl_seconds"], 60.5);
    assert_eq!(
        [&lease["holder"], &lease["run"], &lease["note"], &lease["url"]],
        [&json!("me"), &json!("r"), &json!("why"), &json!("http://ci.test/1")]
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
            let lease_id = lease["lease_id"].as_str().unwrap();
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
    let answer = rest.post(&format!("{path}/release"), json!({"lease_id": old["lease_id"]})).await;
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
    let lost = rest.get(&format!("/api/v1/leases/{}", lease["lease_id"].as_str().unwrap())).await.json();
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

#[tokio::test]
async fn a_late_release_never_ends_the_lock_of_somebody_else() {
    let rest = Rest::empty();
    let id = rest.farm.create(bot("ada")).await.unwrap().id;
    let path = format!("/api/v1/users/{id}");
    rest.post(&format!("{path}/acquire"), json!({"holder": "early"})).await;
    rest.post(&format!("{path}/release"), json!({"holder": "early"})).await;
    let next = rest.post(&format!("{path}/acquire"), json!({"holder": "next"})).await.json();
    for late in [
        rest.post(&format!("{path}/release"), json!({"holder": "early"})).await,
        rest.delete(&format!("{path}/lock?holder=early")).await,
        rest.send(Method::POST, &format!("{path}/release_lock")).await,
        rest.post(&format!("{path}/release"), json!({"holder": "early", "lease_id": next["lease_id"]})).await,
    ] {
        assert_eq!(late.failure(), (409, "busy".to_owned()));
        assert_eq!(late.json()["holder"], "next");
    }
    let unsure = rest.post(&format!("{path}/release"), json!({"force": "perhaps"})).await;
    assert_eq!(unsure.json()["errors"], json!([{"pointer": "/force", "detail": "must be true or false"}]));
    assert_eq!(rest.get(&path).await.json()["lease"]["holder"], "next", "it has kept the user all along");
    assert_eq!(rest.delete(&format!("{path}/lock?holder=next")).await.status, 200);
    for (method, force) in [(Method::POST, "release?force=true"), (Method::DELETE, "lock?force=true")] {
        rest.post(&format!("{path}/acquire"), json!({"holder": "gone home"})).await;
        assert_eq!(rest.send(method, &format!("{path}/{force}")).await.json(), unlocked(&id.to_string()));
    }
}

/// Elsewhere a machine has but one address of its own, unless somebody gives it another.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_names_no_holder_is_known_by_the_address() {
    let rest = Rest::empty();
    let id = rest.farm.create(bot("ada")).await.unwrap().id;
    let served = Served::start(rest.router.clone()).await;
    let from = async |address: &str| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
        Raw(socket.connect(served.address).await.unwrap())
    };
    let (mut one, mut other) = (from("127.0.0.1").await, from("127.0.0.2").await);
    let [acquire, release] = ["acquire", "release"].map(|call| format!("/api/v1/users/{id}/{call}"));
    one.send(Method::POST, &acquire, &Value::Null).await;
    let (status, lease) = one.answer().await;
    assert_eq!((status, &lease["holder"]), (200, &json!("anonymous at 127.0.0.1")));
    other.send(Method::POST, &release, &Value::Null).await;
    let (status, refused) = other.answer().await;
    assert_eq!((status, &refused["holder"]), (409, &json!("anonymous at 127.0.0.1")));
    one.send(Method::POST, &release, &Value::Null).await;
    assert_eq!(one.answer().await.0, 200);
}

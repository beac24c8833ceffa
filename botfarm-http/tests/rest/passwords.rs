//! Changed and reset passwords, and the end of all sessions.

use std::sync::Arc;

use axum::http::{Method, header};
use botfarm_core::{
    BotFarm as _, LeaseRequest, Selector,
    operators::{OperatorId, Role, Scope},
};
use botfarm_memory::MemoryFarm;
use serde_json::{Value, json};

use crate::{
    principals::{PASSWORD, Principals, call, log_in},
    service::{Rest, bot, until},
};

const OTHER: &str = "another one made up as one goes";

async fn id(principals: &Principals, login: &str) -> OperatorId {
    principals.store.operator(&login.parse().unwrap()).await.unwrap().unwrap().0.id
}

async fn status(rest: &Rest, credential: &str) -> u16 {
    call(rest, credential, Method::GET, "/users", Value::Null).await.status.as_u16()
}

#[tokio::test]
async fn a_change_of_ones_password_ends_all_other_sessions_on_every_replica() {
    let principals = Principals::new().await;
    let [rest, replica] = [principals.empty(), principals.empty()];
    let [here, elsewhere, vic] =
        [principals.log_in("tom").await, principals.log_in("tom").await, principals.log_in("vic").await];
    let change = json!({"old": PASSWORD, "new": OTHER});
    let answer = call(&rest, &here, Method::POST, "/operators/me/password", change.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.header(header::CACHE_CONTROL)), (200, Some("no-store")), "{answer:?}");
    assert!(answer.header(header::SET_COOKIE).unwrap().starts_with("__Host-botfarm="));
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    for rest in [&rest, &replica] {
        let seen = [status(rest, &here).await, status(rest, &elsewhere).await, status(rest, &token).await];
        assert_eq!(seen, [401, 401, 200]);
        assert_eq!(status(rest, &vic).await, 200, "others' sessions go on");
    }
    assert_eq!(log_in(&rest, "tom", PASSWORD).await.status, 401);
    assert_eq!(log_in(&rest, "tom", OTHER).await.status, 200);
    let again = call(&rest, &token, Method::POST, "/operators/me/password", change).await;
    assert_eq!((again.failure(), &again.json()["errors"][0]["pointer"]), ((422, "invalid".to_owned()), &json!("/old")));
    assert_eq!(status(&rest, &token).await, 200, "a refused call has changed nothing");
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_the_old_one_to_one_that_may_be_had() {
    let principals = Principals::new().await;
    let rest = principals.empty();
    let tom = principals.log_in("tom").await;
    for (body, expected) in [
        (json!({}), vec!["/old", "/new"]),
        (json!({"old": PASSWORD, "new": OTHER, "login": "ann"}), vec!["/login"]),
        (json!({"old": PASSWORD, "new": "x"}), vec!["/new"]),
        (json!({"old": PASSWORD, "new": PASSWORD}), vec!["/new"]),
        (json!({"old": "correct zebra battery", "new": OTHER}), vec!["/old"]),
    ] {
        let answer = call(&rest, &tom, Method::POST, "/operators/me/password", body).await;
        assert_eq!(answer.failure(), (422, "invalid".to_owned()));
        let errors = answer.json()["errors"].as_array().unwrap().clone();
        let pointers: Vec<_> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        assert_eq!(pointers, expected);
    }
    assert_eq!(status(&rest, &tom).await, 200);
    let (_, secret) = principals.token("ci", Role::Admin, Scope::default(), None).await;
    let change = json!({"old": PASSWORD, "new": OTHER});
    let answer = call(&rest, &secret, Method::POST, "/operators/me/password", change).await;
    assert_eq!(answer.failure(), (403, "forbidden".to_owned()), "a token has no password");
    assert_eq!(log_in(&rest, "tom", PASSWORD).await.status, 200);
}

/// Whoever has found a browser open guesses no faster than at the login.
#[tokio::test]
async fn guesses_at_the_old_password_are_counted() {
    let principals = Principals::new().await;
    let rest = principals.empty();
    let tom = principals.log_in("tom").await;
    let guess = json!({"old": "wrong, and made up as one goes", "new": OTHER});
    for _ in 0..10 {
        let answer = call(&rest, &tom, Method::POST, "/operators/me/password", guess.clone()).await;
        assert_eq!(answer.status, 422);
    }
    let right = json!({"old": PASSWORD, "new": OTHER});
    let answer = call(&rest, &tom, Method::POST, "/operators/me/password", right).await;
    assert_eq!(answer.failure(), (429, "too-many-requests".to_owned()));
    assert!(answer.header(header::RETRY_AFTER).is_some());
}

#[tokio::test]
async fn an_admin_resets_a_password_and_so_ends_all_sessions() {
    let principals = Principals::new().await;
    let rest = principals.empty();
    let [ann, tom] = [principals.log_in("ann").await, principals.log_in("tom").await];
    let path = format!("/operators/{}/password", id(&principals, "tom").await);
    let wrong = call(&rest, &ann, Method::PUT, &path, json!({"password": "tom"})).await;
    assert_eq!(wrong.json()["errors"][0]["pointer"], "/password");
    assert_eq!(status(&rest, &tom).await, 200, "a refused call has changed nothing");
    assert_eq!(call(&rest, &ann, Method::PUT, &path, json!({"password": OTHER})).await.status, 204);
    assert_eq!([status(&rest, &tom).await, status(&rest, &ann).await], [401, 200]);
    assert_eq!(log_in(&rest, "tom", PASSWORD).await.status, 401);
    assert_eq!(log_in(&rest, "tom", OTHER).await.status, 200);
}

#[tokio::test]
async fn all_sessions_of_an_operator_end_by_an_admin_or_by_itself() {
    let principals = Principals::new().await;
    let rest = principals.empty();
    let ann = principals.log_in("ann").await;
    let path = format!("/operators/{}/sessions/end", id(&principals, "tom").await);
    for by_itself in [false, true] {
        let [here, elsewhere] = [principals.log_in("tom").await, principals.log_in("tom").await];
        let answer = if by_itself {
            call(&rest, &here, Method::POST, "/operators/me/sessions/end", Value::Null).await
        } else {
            call(&rest, &ann, Method::POST, &path, Value::Null).await
        };
        assert_eq!(answer.status, 204);
        assert_eq!([status(&rest, &here).await, status(&rest, &elsewhere).await], [401, 401]);
    }
    let (_, secret) = principals.token("ci", Role::Tester, Scope::default(), None).await;
    let answer = call(&rest, &secret, Method::POST, "/operators/me/sessions/end", Value::Null).await;
    assert_eq!(answer.failure(), (403, "forbidden".to_owned()), "a token has no sessions");
    assert_eq!([status(&rest, &ann).await, status(&rest, &secret).await], [200, 200]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_with_a_session_is_refused_when_all_of_them_end() {
    let principals = Principals::new().await;
    let farm = Arc::new(MemoryFarm::with_bots([bot("ada")]).unwrap());
    let rest = principals.serve(farm.clone());
    let ann = principals.log_in("ann").await;
    let tom = id(&principals, "tom").await;
    let _held = farm.acquire(LeaseRequest::new("holder".parse().unwrap(), Selector::any())).await.unwrap();
    for way in ["password", "sessions/end", "another replica"] {
        let session = principals.log_in("tom").await;
        let waits = {
            let (rest, wanted) = (rest.clone(), json!({"users": [{}], "wait_seconds": 60}));
            tokio::spawn(async move { call(&rest, &session, Method::POST, "/leases", wanted).await })
        };
        until(async || farm.stats().await.unwrap().waiting == 1).await;
        let path = format!("/operators/{tom}/{way}");
        match way {
            "password" => {
                let answer = call(&rest, &ann, Method::PUT, &path, json!({"password": PASSWORD})).await;
                assert_eq!(answer.status, 204);
            }
            "sessions/end" => assert_eq!(call(&rest, &ann, Method::POST, &path, Value::Null).await.status, 204),
            _ => assert!(principals.store.end_sessions(tom).await.unwrap().is_some()),
        }
        assert_eq!(waits.await.unwrap().failure(), (401, "unauthenticated".to_owned()), "{way}");
        assert_eq!(farm.stats().await.unwrap().waiting, 0, "{way}: nobody waits any more");
    }
}

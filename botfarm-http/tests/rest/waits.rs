//! Who is no longer a caller while their request waits.

use std::{sync::Arc, time::Duration};

use axum::http::Method;
use botfarm_core::{
    BotFarm as _, Ending, LeaseRequest, Selector,
    operators::{Role, Scope},
};
use botfarm_memory::MemoryFarm;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    principals::{Principals, call},
    service::{bot, until},
};

#[tokio::test(start_paused = true)]
async fn who_waits_with_a_token_or_a_login_that_goes_is_refused_and_gets_nothing() {
    let principals = Principals::new().await;
    let farm = Arc::new(MemoryFarm::with_bots([bot("ada")]).unwrap());
    let rest = principals.serve(farm.clone());
    let ann = principals.log_in("ann").await;
    for (way, is_at_once) in [("DELETE", true), ("logout", true), ("another replica", false), ("DELETE operator", true)]
    {
        let (token, secret) = principals.token("ci", Role::Tester, Scope::default(), None).await;
        let tom = principals.log_in("tom").await;
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
                let id = principals.store.operator(&"tom".parse().unwrap()).await.unwrap().unwrap().0.id;
                let path = format!("/operators/{id}");
                assert_eq!(call(&rest, &ann, Method::DELETE, &path, Value::Null).await.status, 204);
            }
            _ => assert!(principals.store.remove_token(token.id).await.unwrap()),
        }
        let refused = waits.await.unwrap();
        assert_eq!(refused.failure(), (401, "unauthenticated".to_owned()), "{way}");
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(if is_at_once { 1 } else { 6 }), "{way}: {took:?}");
        assert_eq!(farm.stats().await.unwrap().waiting, 0, "{way}: nobody waits any more");
        farm.release(held.id, Ending::clean()).await.unwrap();
        let _ = principals.store.remove_token(token.id).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_granted_to_who_is_no_longer_one_is_taken_back() {
    let principals = Principals::new().await;
    let farm = Arc::new(MemoryFarm::with_bots([bot("ada")]).unwrap());
    let rest = principals.serve(farm.clone());
    let (token, secret) = principals.token("ci", Role::Tester, Scope::default(), None).await;
    let held = farm.acquire(LeaseRequest::new("holder".parse().unwrap(), Selector::any())).await.unwrap();
    let wanted = json!({"users": [{}], "wait_seconds": 60});
    let asked = rest.clone();
    let waits = tokio::spawn(async move { call(&asked, &secret, Method::POST, "/leases", wanted).await });
    until(async || farm.stats().await.unwrap().waiting == 1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Elsewhere, and so that this process has not asked after it yet.
    assert!(principals.store.remove_token(token.id).await.unwrap());
    farm.release(held.id, Ending::clean()).await.unwrap();
    assert_eq!(waits.await.unwrap().failure(), (401, "unauthenticated".to_owned()));
    let next = farm.acquire(LeaseRequest::new("next".parse().unwrap(), Selector::any())).await.unwrap();
    assert_eq!(next.bot().bot.login.as_str(), "ada");
}

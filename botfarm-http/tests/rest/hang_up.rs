//! Callers that go away while they wait, over TCP.

use std::time::{Duration, Instant};

use axum::http::Method;
use botfarm_core::{BotFarm, Ending, Error, LeaseId, LeaseRequest, Selector};
use botfarm_http::Options;
use serde_json::json;

use crate::service::{Raw, Rest, Served, bot, until};

async fn waiting(rest: &Rest, count: u64) {
    until(|| async { rest.farm.stats().await.unwrap().waiting == count }).await;
}

fn request(holder: &str, wait: Duration) -> LeaseRequest {
    LeaseRequest::new(holder.try_into().unwrap(), Selector::any()).wait(wait)
}

const LONG: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_hangs_up_leaves_the_queue_and_the_next_gets_the_bot() {
    let rest = Rest::empty();
    rest.farm.create(bot("ada")).await.unwrap();
    let served = Served::start(rest.router.clone()).await;
    let held = rest.farm.acquire(request("holder", Duration::ZERO)).await.unwrap();

    let mut gone = Raw::connect(&served).await;
    // The same connection, after another request: as clients that keep connections do.
    gone.send(Method::GET, "/readyz", &json!(null)).await;
    assert_eq!(gone.answer().await, (200, json!({"status": "healthy"})));
    gone.send(Method::POST, "/api/v1/leases", &json!({"users": [{}], "wait_seconds": 60, "holder": "gone"})).await;
    waiting(&rest, 1).await;
    let farm = served.farm();
    let next = tokio::spawn(async move { farm.acquire(request("next", LONG)).await });
    waiting(&rest, 2).await;

    drop(gone);
    waiting(&rest, 1).await;
    rest.farm.release(held.id, Ending::clean()).await.unwrap();
    assert_eq!(&*next.await.unwrap().unwrap().terms.holder, "next");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_call_of_the_client_hangs_up() {
    let rest = Rest::empty();
    rest.farm.create(bot("ada")).await.unwrap();
    let served = Served::start(rest.router.clone()).await;
    rest.farm.acquire(request("holder", Duration::ZERO)).await.unwrap();
    let farm = served.farm();
    let mut call = Box::pin(farm.acquire(request("gone", LONG)));
    tokio::select! {
        answer = &mut call => panic!("{answer:?}"),
        () = waiting(&rest, 1) => {}
    }
    drop(call);
    waiting(&rest, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_survives_no_runtime_but_the_client_does() {
    let rest = Rest::empty();
    rest.farm.create(bot("ada")).await.unwrap();
    let served = Served::start(rest.router.clone()).await;
    let held = rest.farm.acquire(request("holder", Duration::ZERO)).await.unwrap();
    let farm = served.farm();
    let (caller, runtime_ends) = (farm.clone(), tokio::sync::oneshot::channel::<()>());
    let (end, ended) = runtime_ends;
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.spawn(async move { caller.acquire(request("gone", LONG)).await });
        runtime.block_on(async { drop(ended.await) });
    });
    waiting(&rest, 1).await;
    drop(end);
    thread.join().unwrap();
    waiting(&rest, 0).await;
    rest.farm.release(held.id, Ending::clean()).await.unwrap();
    assert_eq!(&*farm.acquire(request("next", LONG)).await.unwrap().terms.holder, "next");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_nobody_received_is_undone_or_had_by_its_id() {
    let rest = Rest::empty();
    rest.farm.create(bot("ada")).await.unwrap();
    let served = Served::start(rest.router.clone()).await;
    for round in 0..200_u32 {
        let held = rest.farm.acquire(request("holder", Duration::ZERO)).await.unwrap();
        let id = LeaseId::new();
        let mut gone = Raw::connect(&served).await;
        let body = json!({"users": [{}], "wait_seconds": 60, "id": id.as_uuid()});
        gone.send(Method::POST, "/api/v1/leases", &body).await;
        waiting(&rest, 1).await;
        // The grant and the hang-up meet, now one first and now the other.
        let farm = rest.farm.clone();
        let release = async move { farm.release(held.id, Ending::clean()).await.unwrap() };
        if round % 2 == 0 {
            let released = tokio::spawn(release);
            drop(gone);
            released.await.unwrap();
        } else {
            let hung_up = tokio::spawn(async move { drop(gone) });
            release.await;
            hung_up.await.unwrap();
        }
        // Asking again under the same id gets that very lease, or the bot anew.
        let lease = rest.farm.acquire(request("again", LONG).id(id)).await.unwrap();
        assert_eq!(lease.id, id);
        rest.farm.release(id, Ending::clean()).await.unwrap();
    }
    assert_eq!(rest.farm.stats().await.unwrap().pools[0].free, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_longer_than_the_service_s_goes_on_in_turns() {
    let full = Rest::empty();
    full.farm.create(bot("ada")).await.unwrap();
    let options = Options { max_wait: Duration::from_millis(20), ..Options::default() };
    let rest = Rest::with(full.farm, options);
    let served = Served::start(rest.router.clone()).await;
    let held = rest.farm.acquire(request("holder", Duration::ZERO)).await.unwrap();
    let farm = served.farm();

    let (asked, wait) = (Instant::now(), Duration::from_millis(300));
    let error = farm.acquire(request("impatient", wait)).await.unwrap_err();
    assert!(matches!(error, Error::Exhausted(_)), "{error:?}");
    assert!(asked.elapsed() >= wait, "{:?}", asked.elapsed());

    let patient = tokio::spawn(async move { farm.acquire(request("patient", LONG)).await });
    waiting(&rest, 1).await;
    // It has come back at least once.
    waiting(&rest, 0).await;
    waiting(&rest, 1).await;
    rest.farm.release(held.id, Ending::clean()).await.unwrap();
    assert_eq!(&*patient.await.unwrap().unwrap().terms.holder, "patient");
}

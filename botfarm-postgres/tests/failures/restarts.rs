//! The server crashes, stalls, or vanishes without a word.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use botfarm_core::{BotFarm, Ending, LeaseRequest, Selector};
use botfarm_postgres::{PostgresFarm, PostgresOptions};
use postgres_lab::{Cluster, Direction, Proxy};
use tokio::task::JoinSet;

use crate::ground::{Ground, LONG, hand_outs, holder, in_time, options, refusal, until};

const GRACE: Duration = Duration::from_secs(3);

/// How long a farm may take to be well again once the server is.
pub(crate) const HEALED: Duration = Duration::from_secs(5);

/// As by default, except for the grace.
pub(crate) fn hasty(url: &str) -> PostgresOptions {
    options(url).connect_timeout(Duration::from_secs(3)).statement_timeout(Duration::from_secs(5)).takeover_grace(GRACE)
}

/// Leases and releases without end. Asks again under the same id while the farm is unavailable.
pub(crate) async fn work(farm: PostgresFarm, request: impl Fn() -> LeaseRequest, stop: Arc<AtomicBool>) {
    let mut request_of_now = request();
    while !stop.load(Ordering::Relaxed) {
        match farm.acquire(request_of_now.clone()).await {
            Ok(lease) => loop {
                match farm.release(lease.id, Ending::clean()).await {
                    Ok(()) => break,
                    // An asynchronous replica may not have heard of it.
                    Err(error) if error.code() == "no-such-lease" => break,
                    Err(error) => assert_eq!(error.code(), "unavailable", "{error:?}"),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            },
            Err(error) if error.code() == "unavailable" => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            Err(error) => assert_eq!(error.code(), "exhausted", "{error:?}"),
        }
        request_of_now = request();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_of_the_server_loses_no_lease_and_the_farm_heals_by_itself() {
    let cluster = Cluster::start(&[]).await;
    let ground = Ground::on(cluster.server()).await;
    let url = ground.database.url();
    let farms = [ground.open(hasty(&url)).await, ground.open(hasty(&url)).await];
    let bots = ground.bots(&farms[0], 6).await;
    let named = |index: usize, name: &str| LeaseRequest::new(holder(name), Selector::bot(bots[index].id));
    let kept = farms[0].acquire(named(0, "keeps it")).await.unwrap();
    let expires = farms[0].acquire(named(1, "lets it expire").ttl(Duration::from_millis(1_500))).await.unwrap();
    let waiter = tokio::spawn({
        let (farm, request) = (farms[1].clone(), named(0, "waits through it").wait(LONG));
        async move { farm.acquire(request).await }
    });
    ground.until_waiting(1).await;

    let stop = Arc::new(AtomicBool::new(false));
    let mut workers = JoinSet::new();
    for index in 0..4 {
        let (request, bot) = (ground.ask("worker"), bots[2 + index].id);
        let request = move || LeaseRequest {
            id: botfarm_core::LeaseId::new(),
            selectors: vec![Selector::bot(bot)],
            ..request.clone()
        };
        workers.spawn(work(farms[index % 2].clone(), request, stop.clone()));
    }
    until("they work", async || ground.value::<i64>("select count(*) from history").await > 8).await;
    cluster.kill().await;
    for farm in &farms {
        let asked = Instant::now();
        assert_eq!(refusal(farm.acquire(ground.ask("meanwhile")).await), "unavailable");
        assert_eq!(refusal(farm.check().await), "unavailable");
        assert_eq!(refusal(farm.renew(kept.id, None).await), "unavailable");
        assert!(asked.elapsed() < HEALED, "it says so at once: {:?}", asked.elapsed());
    }
    // Until that one has expired.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    cluster.restart().await;
    let up = Instant::now();
    for farm in &farms {
        until("the farm is well again", async || farm.check().await.is_ok()).await;
    }
    assert!(up.elapsed() < HEALED, "{:?}", up.elapsed());
    let done: i64 = ground.value("select count(*) from history").await;
    until("they work again", async || ground.value::<i64>("select count(*) from history").await > done + 8).await;
    stop.store(true, Ordering::Relaxed);
    in_time("they end", workers.join_all()).await;

    let renewed = farms[1].renew(kept.id, None).await.unwrap();
    assert_eq!(hand_outs(&renewed), hand_outs(&kept));
    // What has expired is left alone at first, so that its holder can learn of it.
    let next = in_time("it is taken over", farms[0].acquire(named(1, "takes it over").wait(LONG))).await.unwrap();
    ground.assert_next(expires.bot().fence.0, &next).await;
    let after: f64 = ground
        .value(&format!(
            "select extract(epoch from leased_at - pg_postmaster_start_time())::float8 from bot_slots where bot_id = '{}'",
            bots[1].id
        ))
        .await;
    assert!(after >= GRACE.as_secs_f64(), "not before the grace has passed: {after}");
    // And who waited still waits, and is served.
    assert!(!waiter.is_finished());
    farms[0].release(kept.id, Ending::clean()).await.unwrap();
    let served = in_time("the waiter is served", waiter).await.unwrap().unwrap();
    ground.assert_next(kept.bot().fence.0, &served).await;
    ground.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_server_is_said_to_be_unavailable_and_goes_on_where_it_was() {
    let cluster = Cluster::start(&[]).await;
    let ground = Ground::on(cluster.server()).await;
    let second = Duration::from_secs(1);
    let options = hasty(&ground.database.url()).connect_timeout(second).statement_timeout(second);
    let farm = ground.open(options).await;
    ground.bots(&farm, 2).await;
    let lease = farm.acquire(ground.ask("holder")).await.unwrap();
    cluster.pause().await;
    let asked = Instant::now();
    let request = ground.ask("meanwhile");
    assert_eq!(refusal(in_time("it answers", farm.acquire(request.clone())).await), "unavailable");
    assert_eq!(refusal(in_time("it answers", farm.check()).await), "unavailable");
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    cluster.resume().await;
    let up = Instant::now();
    until("the farm is well again", async || farm.check().await.is_ok()).await;
    assert!(up.elapsed() < HEALED, "{:?}", up.elapsed());
    assert_eq!(hand_outs(&farm.renew(lease.id, None).await.unwrap()), hand_outs(&lease));
    // Whether it was carried out or not, the same request has one bot.
    let meanwhile = farm.acquire(request).await.unwrap();
    assert_ne!(meanwhile.bot().bot.id, lease.bot().bot.id);
    assert_eq!(ground.held().await, 2);
}

/// The machine of the server is gone, or a firewall has forgotten its connections: nobody says so. New connections work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_go_silent_are_replaced() {
    let ground = Ground::new().await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let second = Duration::from_secs(1);
    let farm = ground.open(hasty(&proxy.url()).connect_timeout(second * 3).statement_timeout(second)).await;
    ground.bots(&farm, 2).await;
    let lease = farm.acquire(ground.ask("holder")).await.unwrap();
    proxy.strand(Direction::Both);
    let asked = Instant::now();
    let request = ground.ask("next");
    let next = in_time("another connection is tried", farm.acquire(request.clone())).await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    assert_eq!(hand_outs(&farm.acquire(request).await.unwrap()), hand_outs(&next));
    farm.renew(lease.id, None).await.unwrap();
    assert_eq!(ground.held().await, 2);
}

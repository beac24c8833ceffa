//! The connection that notifications come over, lost with and without a word.

use std::time::{Duration, Instant};

use botfarm_core::{BotFarm, Ending};
use postgres_lab::{Direction, Proxy};

use crate::ground::{Ground, LONG, in_time, options, until};

const LISTENERS: &str = "select coalesce(array_agg(pid order by pid), '{}') from pg_stat_activity \
                         where datname = current_database() and query ilike 'listen %'";

async fn listeners(ground: &Ground) -> Vec<i32> {
    ground.value(LISTENERS).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_are_served_though_the_listeners_are_killed_and_these_come_back() {
    let ground = Ground::new().await;
    let [farm, other] = [ground.farm().await, ground.farm().await];
    ground.bot(&farm).await;
    until("both listen", async || listeners(&ground).await.len() == 2).await;
    for _ in 0..3 {
        let lease = farm.acquire(ground.ask("holder")).await.unwrap();
        let waiter = tokio::spawn({
            let (other, request) = (other.clone(), ground.ask("waiter").wait(LONG));
            async move { other.acquire(request).await }
        });
        ground.until_waiting(1).await;
        let before = listeners(&ground).await;
        for pid in &before {
            ground.value::<bool>(&format!("select pg_terminate_backend({pid})")).await;
        }
        farm.release(lease.id, Ending::clean()).await.unwrap();
        let lease = in_time("the waiter is served", waiter).await.unwrap().unwrap();
        other.release(lease.id, Ending::clean()).await.unwrap();
        until("both listen again", async || {
            let now = listeners(&ground).await;
            now.len() == 2 && now.iter().all(|pid| !before.contains(pid))
        })
        .await;
    }
}

/// A firewall that has forgotten the connection: nobody tells the listener.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_listener_is_replaced_and_its_waiters_are_served_meanwhile() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    ground.bot(&farm).await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let reach = options(&ground.database.url()).listen_url(&proxy.url()).unwrap();
    let other = ground.open(reach).await;
    until("both listen", async || listeners(&ground).await.len() == 2).await;
    let before = listeners(&ground).await;
    let lease = farm.acquire(ground.ask("holder")).await.unwrap();
    let waiter = tokio::spawn({
        let (other, request) = (other.clone(), ground.ask("waiter").wait(LONG));
        async move { other.acquire(request).await }
    });
    ground.until_waiting(1).await;

    proxy.strand(Direction::Both);
    let stranded = Instant::now();
    farm.release(lease.id, Ending::clean()).await.unwrap();
    let lease = in_time("the waiter looks by itself", waiter).await.unwrap().unwrap();
    assert!(stranded.elapsed() < Duration::from_secs(8), "it does not wait for the listener: {:?}", stranded.elapsed());
    other.release(lease.id, Ending::clean()).await.unwrap();
    until("it notices that it does not hear itself", async || {
        listeners(&ground).await.iter().any(|pid| !before.contains(pid))
    })
    .await;
    assert!(stranded.elapsed() < Duration::from_secs(25), "{:?}", stranded.elapsed());
}

//! The database is away for longer than a process counts as alive without a word.

use std::time::Duration;

use botfarm_core::{BotFarm, Ending};
use postgres_lab::Proxy;

use crate::{
    clocks::jump,
    ground::{Ground, LONG, in_time, until},
};

/// Longer than the silence after which others are taken to have been cut off as well.
const OUTAGE: Duration = Duration::from_secs(13);

/// Two processes are cut off, for a minute by the clock of the database. The one that comes back first does not pass the
/// other, which waited before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_is_kept_over_an_outage_of_a_minute() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    ground.bot(&farm).await;
    let held = farm.acquire(ground.ask("holder").ttl(Duration::from_hours(1))).await.unwrap();
    let [first_way, second_way] = [Proxy::to(&ground.database.url()).await, Proxy::to(&ground.database.url()).await];
    let mut waiters = Vec::new();
    for way in [&first_way, &second_way] {
        let (other, request) = (ground.farm_at(&way.url()).await, ground.ask("waiter").wait(LONG));
        waiters.push(tokio::spawn(async move { other.acquire(request).await.map(|lease| (other, lease)) }));
        ground.until_waiting(i64::try_from(waiters.len()).unwrap()).await;
    }
    let second = waiters.pop().unwrap();
    let first = waiters.pop().unwrap();
    for way in [&first_way, &second_way] {
        way.refuse().await;
        way.cut().await;
    }
    tokio::time::sleep(OUTAGE).await;
    jump(&ground, 60).await;
    farm.release(held.id, Ending::clean()).await.unwrap();
    second_way.accept().await;
    until("the second is back", async || {
        ground.value::<i64>("select count(*) from processes where alive_until > clock_timestamp()").await > 0
    })
    .await;
    // Time for it to be served, if it can be.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!second.is_finished(), "it waits for who was before it");
    first_way.accept().await;
    let (other, lease) = in_time("the first is served", first).await.unwrap().unwrap();
    ground.assert_next(held.bot().fence.0, &lease).await;
    other.release(lease.id, Ending::clean()).await.unwrap();
    in_time("the second is served", second).await.unwrap().unwrap();
    ground.assert_sound().await;
}

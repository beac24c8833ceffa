//! Callers that go away, at any moment.

use std::time::Duration;

use botfarm_core::{BotFarm, Ending, LeaseRequest, Selector};
use tokio::{task::JoinSet, time::timeout};

use crate::ground::{Ground, LONG, chance, holder, in_time, rounds, until};

const SESSIONS: &str = "select count(*) from pg_stat_activity \
                        where datname = current_database() and application_name = 'botfarm'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_calls_leave_neither_leases_nor_transactions_nor_connections() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let bots = ground.bots(&farm, 4).await;
    let mut callers = JoinSet::new();
    for caller in 0..8 {
        let (farm, any, bot) = (farm.clone(), ground.any(), bots[caller % 4].id);
        callers.spawn(async move {
            for round in 0..rounds(40) {
                let selector = if round % 3 == 0 { Selector::bot(bot) } else { any.clone() };
                let wait = Duration::from_millis(chance(30));
                let request = LeaseRequest::new(holder(&format!("caller {caller}")), selector).wait(wait);
                let patience = Duration::from_micros(chance(20_000));
                if let Ok(Ok(lease)) = timeout(patience, farm.acquire(request)).await {
                    // One that is dropped is carried out all the same.
                    let _ = timeout(patience / 4, farm.release(lease.id, Ending::clean())).await;
                }
            }
        });
    }
    callers.join_all().await;
    until("all leases that nobody received are undone", async || ground.held().await == 0).await;
    let everything = bots.iter().map(|bot| Selector::bot(bot.id));
    // What was under way until now is undone, too.
    let all = LeaseRequest::many(holder("all"), everything).wait(LONG);
    let all = in_time("all are free", farm.acquire(all)).await.unwrap();
    assert_eq!(all.bots.len(), 4);
    let open: i64 = ground.value(&format!("{SESSIONS} and state like 'idle in transaction%'")).await;
    assert_eq!(open, 0);
    let sessions: i64 = ground.value(SESSIONS).await;
    assert!(sessions <= 4 + 1, "the connections of the pool, and the listener's: {sessions}");
    ground.assert_sound().await;
}

/// Who gives up waiting as the bot is granted either has it or leaves it to the next: it is never idle for the time that
/// an offer is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wait_that_ends_as_the_grant_comes_leaves_no_idle_bot() {
    let ground = Ground::new().await;
    let [farm, other] = [ground.farm().await, ground.farm().await];
    ground.bot(&farm).await;
    let (mut granted, mut refused) = (0, 0);
    for round in 0..rounds(60) {
        let lease =
            in_time("it is free", farm.acquire(ground.ask("holder").wait(Duration::from_secs(5)))).await.unwrap();
        // The release comes a little before the wait ends.
        let release = Duration::from_micros(chance(20_000));
        let by = release + Duration::from_micros(chance(4_000));
        let waiter = {
            let (other, request) = (other.clone(), ground.ask("waiter"));
            tokio::spawn(async move {
                if round % 2 == 0 {
                    // The wait ends.
                    other.acquire(request.wait(by)).await.ok()
                } else {
                    // The caller ends it.
                    timeout(by, other.acquire(request.wait(LONG))).await.ok().and_then(Result::ok)
                }
            })
        };
        tokio::time::sleep(release).await;
        farm.release(lease.id, Ending::clean()).await.unwrap();
        match in_time("the waiter is answered", waiter).await.unwrap() {
            Some(lease) => {
                granted += 1;
                other.release(lease.id, Ending::clean()).await.unwrap();
            }
            None => refused += 1,
        }
    }
    assert!(granted > 0 && refused > 0, "the race goes either way: {granted} granted, {refused} refused");
    let last = farm.acquire(ground.ask("last").wait(Duration::from_secs(5))).await.unwrap();
    farm.release(last.id, Ending::clean()).await.unwrap();
    ground.assert_sound().await;
}

//! Calls that wait under one id: the place is theirs until the last of them has gone.

use std::time::{Duration, Instant};

use botfarm_core::{BotChanges, BotFarm, EndReason, Ending, Lease, LeaseRequest, Result};
use botfarm_postgres::PostgresFarm;
use postgres_lab::{Point, Proxy};
use sqlx::AssertSqlSafe;
use tokio::task::JoinHandle;

use crate::ground::{Ground, LONG, hand_outs, holder, in_time, labels, loss, refusal, statement, until, until_blocked};

fn wait(farm: &PostgresFarm, request: &LeaseRequest) -> JoinHandle<Result<Lease>> {
    let (farm, request) = (farm.clone(), request.clone());
    tokio::spawn(async move { farm.acquire(request).await })
}

async fn until_listening(ground: &Ground, farm: &PostgresFarm, request: &LeaseRequest, count: i64) {
    let listeners = format!("select count(*) from listeners where lease_id = '{}'", farm.kept_as(request.id));
    until("they listen", async || ground.value::<i64>(&listeners).await == count).await;
}

/// At two processes, and at one: when one of two calls goes, the other is where it was, before whoever came later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_goes_and_the_other_keeps_the_place() {
    let ground = Ground::new().await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let [farm, other] = [ground.farm_at(&proxy.url()).await, ground.farm().await];
    ground.bot(&other).await;
    for (first_at, second_at, first_goes) in [(&farm, &other, true), (&other, &farm, false), (&farm, &farm, true)] {
        let held = other.acquire(ground.ask("holder")).await.unwrap();
        let request = ground.ask("twin").wait(LONG);
        let first = wait(first_at, &request);
        until_listening(&ground, &farm, &request, 1).await;
        let second = wait(second_at, &request);
        until_listening(&ground, &farm, &request, 2).await;
        let behind = wait(&other, &ground.ask("behind").wait(LONG));
        ground.until_waiting(2).await;
        let (goes, stays) = if first_goes { (first, second) } else { (second, first) };
        let left = proxy.stop_at(Point::Reply, statement::LEAVE);
        goes.abort();
        in_time("the database hears that one has gone", left.reached()).await;
        left.resume();
        other.release(held.id, Ending::clean()).await.unwrap();
        let lease = in_time("the other is served", stays).await.unwrap().unwrap();
        assert!(!behind.is_finished(), "nobody has passed it");
        ground.assert_next(held.bot().fence.0, &lease).await;
        other.release(lease.id, Ending::clean()).await.unwrap();
        let behind = in_time("the next is served", behind).await.unwrap().unwrap();
        other.release(behind.id, Ending::clean()).await.unwrap();
    }
    ground.assert_sound().await;
}

/// That a call has gone reaches the database late, when another at the same process already listens under its id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_word_that_one_has_gone_takes_no_place_from_another() {
    let ground = Ground::new().await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let [farm, other] = [ground.farm_at(&proxy.url()).await, ground.farm().await];
    ground.bot(&other).await;
    let held = other.acquire(ground.ask("holder")).await.unwrap();
    let request = ground.ask("twin").wait(LONG);
    let first = wait(&farm, &request);
    until_listening(&ground, &farm, &request, 1).await;
    let behind = wait(&other, &ground.ask("behind").wait(LONG));
    ground.until_waiting(2).await;
    let leaves = proxy.stop_at(Point::Request, statement::LEAVE);
    first.abort();
    in_time("it is about to leave", leaves.reached()).await;
    let second = wait(&farm, &request);
    until_listening(&ground, &farm, &request, 2).await;
    leaves.resume();
    until_listening(&ground, &farm, &request, 1).await;
    other.release(held.id, Ending::clean()).await.unwrap();
    let lease = in_time("the second is served", second).await.unwrap().unwrap();
    assert!(!behind.is_finished(), "nobody has passed it");
    other.release(lease.id, Ending::clean()).await.unwrap();
    in_time("the next is served", behind).await.unwrap().unwrap();
}

/// The word that a call has gone never arrives, since the database is away at that moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_that_has_gone_unnoticed_gets_nothing_for_ever() {
    let ground = Ground::new().await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let [farm, other] = [ground.farm_at(&proxy.url()).await, ground.farm().await];
    ground.bot(&other).await;
    let held = other.acquire(ground.ask("holder")).await.unwrap();
    let request = ground.ask("goes").wait(LONG);
    let goes = wait(&farm, &request);
    until_listening(&ground, &farm, &request, 1).await;
    let stays = wait(&farm, &ground.ask("stays").wait(LONG));
    ground.until_waiting(2).await;
    let leaves = proxy.stop_at(Point::Request, statement::LEAVE);
    goes.abort();
    in_time("it is about to leave", leaves.reached()).await;
    proxy.refuse().await;
    leaves.cut();
    proxy.cut().await;
    until("the process has noticed that the database is away", async || farm.check().await.is_err()).await;
    proxy.accept().await;
    until_listening(&ground, &farm, &request, 0).await;
    other.release(held.id, Ending::clean()).await.unwrap();
    let lease = in_time("who stayed is served", stays).await.unwrap().unwrap();
    ground.assert_next(held.bot().fence.0, &lease).await;
}

/// What both wait for is gone: the one that hears of it first leaves the other in the queue, to be told as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_are_told_when_nothing_could_satisfy_them_any_more() {
    let ground = Ground::new().await;
    let [farm, other] = [ground.farm().await, ground.farm().await];
    let bot = ground.bot(&farm).await.id;
    let role = |name: &str| BotChanges { labels: Some(labels("role", name)), ..BotChanges::default() };
    farm.update(bot, role("admin")).await.unwrap();
    farm.acquire(ground.ask("holder")).await.unwrap();
    let request = LeaseRequest::new(holder("twin"), ground.any().labels(labels("role", "admin"))).wait(LONG);
    let twins = [wait(&farm, &request), wait(&other, &request)];
    until_listening(&ground, &farm, &request, 2).await;
    let changed = Instant::now();
    other.update(bot, role("user")).await.unwrap();
    for twin in twins {
        assert_eq!(refusal(in_time("it is told", twin).await.unwrap()), "no-match");
    }
    assert!(changed.elapsed() < Duration::from_secs(10), "{:?}", changed.elapsed());
    assert_eq!(ground.value::<i64>("select count(*) from waiters").await, 0);
}

/// A twin whose statement began before the lease was ended is told of the end, and gets no bot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_id_is_not_granted_again_to_a_twin_that_began_before() {
    let ground = Ground::new().await;
    let [farm, other] = [ground.farm().await, ground.farm().await];
    ground.bots(&farm, 2).await;
    let request = ground.ask("twin");
    let lease = farm.acquire(request.clone()).await.unwrap();
    let mut session = ground.connection().await;
    // All wait for the id, and go on in the order in which they came.
    let lock = format!("pg_advisory_lock(hashtextextended('{}', 7238461))", farm.kept_as(request.id));
    sqlx::query(AssertSqlSafe(format!("select {lock}"))).execute(&mut session).await.unwrap();
    let released = tokio::spawn({
        let (farm, id) = (farm.clone(), lease.id);
        async move { farm.release(id, Ending::clean()).await }
    });
    until_blocked(&ground, 1).await;
    let twin = wait(&other, &request);
    until_blocked(&ground, 2).await;
    let unlock = lock.replace("advisory_lock", "advisory_unlock");
    sqlx::query(AssertSqlSafe(format!("select {unlock}"))).execute(&mut session).await.unwrap();
    in_time("it is released", released).await.unwrap().unwrap();
    assert_eq!(loss(in_time("the twin is told", twin).await.unwrap()), EndReason::Released);
    assert_eq!(ground.held().await, 0);
}

/// The lease expires and somebody takes its bot over, which needs no word with whoever asks under its id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_id_is_not_granted_again_while_its_bot_is_taken_over() {
    let ground = Ground::new().await;
    let other = ground.farm().await;
    ground.bots(&other, 2).await;
    let request = ground.ask("twin").ttl(Duration::from_millis(20));
    let lease = other.acquire(request.clone()).await.unwrap();
    until("it may be taken over", async || {
        ground.value::<i64>("select count(*) from bot_slots where free_at <= clock_timestamp()").await == 2
    })
    .await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.farm_at(&proxy.url()).await;
    let taken = proxy.stop_at(Point::Commit, statement::ACQUIRE);
    let bot = botfarm_core::Selector::bot(lease.bot().bot.id);
    let next = wait(&farm, &LeaseRequest::new(holder("next"), bot));
    in_time("it takes the bot over", taken.reached()).await;
    let twin = wait(&other, &request);
    in_time("the twin is answered or waits", async {
        while !twin.is_finished() {
            if ground.value::<i64>("select count(*) from pg_stat_activity where wait_event_type = 'Lock'").await > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    taken.resume();
    let next = in_time("it is granted", next).await.unwrap().unwrap();
    assert_eq!(loss(in_time("the twin is told", twin).await.unwrap()), EndReason::Expired);
    assert_eq!(hand_outs(&other.renew(next.id, None).await.unwrap()), hand_outs(&next));
    assert_eq!(ground.held().await, 1);
    ground.assert_sound().await;
}

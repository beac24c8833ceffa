//! Leases of several bots of which a part is about to be lost.

use std::time::Duration;

use botfarm_core::{BotFarm, EndReason, Ending, LeaseRequest, NewBot, Selector};
use postgres_lab::{Point, Proxy};
use sqlx::{AssertSqlSafe, Connection};

use crate::ground::{Ground, LONG, hand_outs, holder, in_time, labels, loss, options, statement, until, until_blocked};

/// Somebody changes the last bot of a lease while it is renewed or looked up, and is done after its end: the others are
/// not renewed without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_that_ends_while_it_is_renewed_is_lost_as_a_whole() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let bots = ground.bots(&farm, 32).await;
    let last = bots.iter().map(|bot| bot.id).max().unwrap();
    let everything = bots.iter().map(|bot| Selector::bot(bot.id));
    let request = LeaseRequest::many(holder("late"), everything).ttl(Duration::from_millis(1_500));
    let lease = farm.acquire(request).await.unwrap();
    let mut session = ground.connection().await;
    let mut transaction = session.begin().await.unwrap();
    let touched = format!("update bot_slots set condition = condition where bot_id = '{last}'");
    sqlx::query(AssertSqlSafe(touched)).execute(&mut *transaction).await.unwrap();
    let renewal = tokio::spawn({
        let (farm, id) = (farm.clone(), lease.id);
        async move { farm.renew(id, None).await }
    });
    until_blocked(&ground, 1).await;
    until("it has expired", async || ground.held().await == 0).await;
    transaction.commit().await.unwrap();
    assert_eq!(loss(in_time("it is answered", renewal).await.unwrap()), EndReason::Expired);
    let everything = bots.iter().map(|bot| Selector::bot(bot.id));
    let next = farm.acquire(LeaseRequest::many(holder("next"), everything).wait(LONG)).await.unwrap();
    assert_eq!(next.bots.len(), 32);
    ground.assert_sound().await;
}

/// The claim that takes a part of what has expired commits while the lease is being renewed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_of_which_a_part_was_taken_is_not_renewed() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let bots = ground.bots(&farm, 3).await;
    let everything = bots.iter().map(|bot| Selector::bot(bot.id));
    let lease =
        farm.acquire(LeaseRequest::many(holder("late"), everything).ttl(Duration::from_millis(20))).await.unwrap();
    let proxy = Proxy::to(&ground.database.url()).await;
    let elsewhere = ground.farm_at(&proxy.url()).await;
    until("it may be taken over", async || {
        ground.value::<i64>("select count(*) from bot_slots where free_at <= clock_timestamp()").await == 3
    })
    .await;
    let taken = proxy.stop_at(Point::Commit, statement::ACQUIRE);
    let next = tokio::spawn({
        let request = LeaseRequest::new(holder("next"), Selector::bot(bots[1].id));
        async move { elsewhere.acquire(request).await }
    });
    in_time("it takes one of them", taken.reached()).await;
    // As if the clock had been set back meanwhile: the rest of it seems to live.
    let back = "update bot_slots set expires_at = expires_at + interval '1 minute' where lease_id is not null \
                and bot_id <> ";
    ground.run(&format!("{back} '{}'", bots[1].id)).await;
    let renewal = tokio::spawn({
        let (farm, id) = (farm.clone(), lease.id);
        async move { farm.renew(id, None).await }
    });
    until_blocked(&ground, 1).await;
    taken.resume();
    let next = in_time("it is granted", next).await.unwrap().unwrap();
    assert_eq!(next.bot().bot.id, bots[1].id);
    assert_eq!(loss(in_time("it is answered", renewal).await.unwrap()), EndReason::Expired);
    assert_eq!(loss(farm.release(lease.id, Ending::clean()).await), EndReason::Expired);
}

/// An import stands with one of two bots changed, and not committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_is_renewed_as_a_whole_while_an_import_changes_one_of_its_bots() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    ground.bots(&farm, 2).await;
    let lease = farm.acquire(LeaseRequest::many(holder("holder"), [ground.any(), ground.any()])).await.unwrap();
    let proxy = Proxy::to(&ground.database.url()).await;
    let importing = ground.open(options(&proxy.url())).await;
    let stop = proxy.stop_at(Point::Request, "update bots b");
    let import = tokio::spawn({
        let changed = NewBot { labels: labels("role", "admin"), ..ground.new_bot("bot-1") };
        async move { importing.import(vec![changed], false).await }
    });
    in_time("it has changed the bot", stop.reached()).await;
    let renewal = tokio::spawn({
        let (farm, id) = (farm.clone(), lease.id);
        async move { farm.renew(id, None).await }
    });
    until_blocked(&ground, 1).await;
    stop.resume();
    assert_eq!(in_time("it is imported", import).await.unwrap().unwrap().updated, 1);
    let renewed = in_time("it is renewed", renewal).await.unwrap().unwrap();
    assert_eq!(hand_outs(&renewed), hand_outs(&lease));
    farm.release(lease.id, Ending::clean()).await.unwrap();
    ground.assert_sound().await;
}

//! Several bots at once, from many sides: whole or not at all, and without a deadlock.

use std::time::Duration;

use botfarm_core::{
    BotChanges, BotFarm, BotRelease, Ending, Error, Labels, LeaseRequest, NewBot, Revocation, Selector,
};
use postgres_lab::{Point, Proxy};
use tokio::{task::JoinSet, time::timeout};

use crate::ground::{Ground, LONG, chance, holder, in_time, labels, refusal, rounds, statement};

async fn deadlocks(ground: &Ground) -> i64 {
    ground.run("select pg_stat_clear_snapshot()").await;
    ground.value("select deadlocks from pg_stat_database where datname = current_database()").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sets_of_three_out_of_four_are_granted_whole_to_one_after_the_other() {
    let ground = Ground::new().await;
    let farms = [ground.farm().await, ground.farm().await];
    let bots = ground.bots(&farms[0], 4).await;
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let (farm, any, bots) = (farms[client % 2].clone(), ground.any(), bots.clone());
        clients.spawn(async move {
            for round in 0..rounds(6) {
                let selectors = if client % 2 == 0 {
                    [any.clone(), any.clone(), any.clone()]
                } else {
                    // By name, in any order.
                    [0, 1, 2].map(|at| Selector::bot(bots[(client + round + at * 3) % 4].id))
                };
                let request = LeaseRequest::many(holder(&format!("client {client}")), selectors).wait(LONG);
                let lease = farm.acquire(request).await.unwrap();
                let mut ids: Vec<_> = lease.bots.iter().map(|leased| leased.bot.id).collect();
                ids.sort();
                ids.dedup();
                assert_eq!(ids.len(), 3);
                farm.release(lease.id, Ending::clean()).await.unwrap();
            }
        });
    }
    in_time("everybody is served", clients.join_all()).await;
    // Of each lease there are three hand-outs.
    let partial: i64 =
        ground.value("select count(*) from (select from history group by lease_id having count(*) <> 3) h").await;
    assert_eq!(partial, 0);
    let hand_outs: i64 = ground.value("select count(*) from history").await;
    assert_eq!(hand_outs, i64::try_from(8 * rounds(6) * 3).unwrap());
    assert_eq!(deadlocks(&ground).await, 0);
    ground.assert_sound().await;
}

/// Whoever has to be told that nothing can ever satisfy it keeps no bot from others until it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_kept_for_a_set_whose_last_fitting_bot_has_gone() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let admin = farm.create(NewBot { labels: labels("role", "admin"), ..ground.new_bot("admin") }).await.unwrap();
    let admins = ground.any().labels(labels("role", "admin"));
    let held = farm.acquire(LeaseRequest::new(holder("holds the admin"), admins.clone())).await.unwrap();
    let oldest = ground.bot(&farm).await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let far_away = ground.farm_at(&proxy.url()).await;
    let set = tokio::spawn({
        let request = LeaseRequest::many(holder("wants a set"), [ground.any(), admins]).wait(LONG);
        async move { far_away.acquire(request).await }
    });
    ground.until_waiting(1).await;
    // Its process can't look after it.
    let stops = [proxy.stop_at(Point::Request, statement::LOOK), proxy.stop_at(Point::Request, statement::ACQUIRE)];
    let next = tokio::spawn({
        let (farm, request) = (farm.clone(), ground.ask("wants any").wait(LONG));
        async move { farm.acquire(request).await }
    });
    ground.until_waiting(2).await;
    farm.update(admin.id, BotChanges { labels: Some(Labels::default()), ..BotChanges::default() }).await.unwrap();
    let next = in_time("it is served what the set can't use", next).await.unwrap().unwrap();
    assert_eq!(next.bot().bot.id, oldest.id);
    drop(stops);
    assert_eq!(refusal(in_time("the set is told", set).await.unwrap()), "no-match");
    farm.release(held.id, Ending::clean()).await.unwrap();
    ground.assert_sound().await;
}

/// A set that waits no longer frees what was kept for it, and those behind it are served at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_that_has_waited_long_enough_leaves_what_was_kept_for_it_to_others() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let bots = ground.bots(&farm, 2).await;
    let held = farm.acquire(LeaseRequest::new(holder("holds one"), Selector::bot(bots[0].id))).await.unwrap();
    let set = tokio::spawn({
        let request = LeaseRequest::many(holder("wants a set"), [ground.any(), ground.any()]);
        let (farm, request) = (farm.clone(), request.wait(Duration::from_secs(1)));
        async move { farm.acquire(request).await }
    });
    ground.until_waiting(1).await;
    // Nothing but what the set leaves behind has the queue served.
    ground.nobody_looks().await;
    let next = tokio::spawn({
        let (farm, request) = (farm.clone(), ground.ask("wants any").wait(LONG));
        async move { farm.acquire(request).await }
    });
    assert_eq!(refusal(in_time("it has waited long enough", set).await.unwrap()), "exhausted");
    // Long before it asks again by itself.
    let next = timeout(Duration::from_secs(15), next).await.expect("the next is served").unwrap().unwrap();
    assert_eq!(next.bot().bot.id, bots[1].id);
    farm.release(held.id, Ending::clean()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creations_and_imports_that_overlap_do_not_deadlock() {
    let ground = Ground::new().await;
    let farms = [ground.farm().await, ground.farm().await];
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let farm = farms[client % 2].clone();
        let mut bots: Vec<_> = (0..40).map(|index| ground.new_bot(&format!("shared-{index}"))).collect();
        if client % 2 == 1 {
            bots.reverse();
        }
        clients.spawn(async move {
            if client < 6 {
                let report = farm.import(bots, false).await.unwrap();
                return report.created;
            }
            let mut created = 0;
            for bot in bots {
                match farm.create(bot).await {
                    Ok(_) => created += 1,
                    Err(Error::LoginTaken { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
            created
        });
    }
    let created = in_time("all are done", clients.join_all()).await;
    assert_eq!(created.iter().sum::<u64>(), 40, "each bot was created once: {created:?}");
    assert_eq!(deadlocks(&ground).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_of_sets_against_releases_and_revocations_do_not_deadlock() {
    let ground = Ground::new().await;
    let farms = [ground.farm().await, ground.farm().await];
    let bots = ground.bots(&farms[0], 6).await;
    let mut clients = JoinSet::new();
    for client in 0..6 {
        let (farm, bots) = (farms[client % 2].clone(), bots.clone());
        clients.spawn(async move {
            for round in 0..rounds(5) {
                let selectors = bots.iter().rev().map(|bot| Selector::bot(bot.id));
                let request = LeaseRequest::many(holder(&format!("client {client}")), selectors);
                let lease = match farm.acquire(request.wait(Duration::from_secs(20))).await {
                    Ok(lease) => lease,
                    Err(Error::Exhausted(_)) => continue,
                    Err(error) => panic!("{error:?}"),
                };
                let bot = bots[(client + round) % 6].id;
                let other = farm.clone();
                let end = tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_micros(chance(4_000))).await;
                    if round == 2 {
                        let revocation = Revocation::new("a test".parse().unwrap(), holder("admin"));
                        other.revoke(bot, revocation).await
                    } else {
                        other.release_bot(bot, BotRelease::default()).await
                    }
                });
                let renewals: JoinSet<_> = (0..3)
                    .map(|_| {
                        let (farm, id) = (farm.clone(), lease.id);
                        async move { farm.renew(id, None).await.map(|lease| lease.bots.len()) }
                    })
                    .collect();
                for renewed in renewals.join_all().await {
                    match renewed {
                        Ok(bots) => assert_eq!(bots, 6, "a lease is renewed whole"),
                        Err(error) => assert_eq!(error.code(), "lease-lost"),
                    }
                }
                end.await.unwrap().unwrap();
            }
        });
    }
    in_time("all are done", clients.join_all()).await;
    let torn: i64 = ground
        .value("select count(*) from (select from history group by lease_id having count(*) <> 6 or min(ended_at) <> max(ended_at)) h")
        .await;
    assert_eq!(torn, 0, "a lease ends whole, at one time");
    assert_eq!(deadlocks(&ground).await, 0);
    ground.assert_sound().await;
}

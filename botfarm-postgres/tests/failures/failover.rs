//! A replica takes over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use botfarm_core::{BotFarm, Ending, LeaseRequest, NewBot, Selector};
use postgres_lab::{Cluster, Direction, Proxy};
use tokio::task::JoinSet;

use crate::{
    ground::{Ground, LONG, hand_outs, holder, in_time, labels, refusal, until},
    restarts::{HEALED, hasty, work},
};

/// Two seconds behind, as an asynchronous replica may be: some leases are lost with the primary. Whoever gets such a bot
/// has a larger fence than any that was given out before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promoted_replica_is_found_and_its_fences_are_larger() {
    let primary = Cluster::start(&[]).await;
    let between = Proxy::to(&primary.server().url("postgres")).await;
    let ground = Ground::on(primary.server()).await;
    let standby = Cluster::standby_of(between.address(), &[]).await;
    let database = ground.database.name();
    let (one, other) = (primary.address(), standby.address());
    let url = format!("postgres://postgres@{one},{other}/{database}?target_session_attrs=read-write&sslmode=disable");
    let farms = [ground.open(hasty(&url)).await, ground.open(hasty(&url)).await];
    let bots = ground.bots(&farms[0], 2).await;
    // More than are in use at a time: one whose release the replica has not heard of stays held there until it expires.
    let work_bots = labels("for", "work");
    for index in 0..8 {
        let bot = ground.new_bot(&format!("work-{index}"));
        farms[0].create(NewBot { labels: work_bots.clone(), ..bot }).await.unwrap();
    }
    let named = |index: usize, name: &str| LeaseRequest::new(holder(name), Selector::bot(bots[index].id));
    let kept = farms[0].acquire(named(0, "known to the replica")).await.unwrap();
    let on_replica = |statement: String| {
        let url = standby.server().url(database);
        async move {
            let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
            sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(statement)).fetch_one(&mut connection).await.unwrap()
        }
    };
    let known = format!("select count(*) from bot_slots where lease_id = '{}'", farms[0].kept_as(kept.id));
    until("the replica knows it", async || on_replica(known.clone()).await == 1).await;

    let stop = Arc::new(AtomicBool::new(false));
    let mut workers = JoinSet::new();
    for index in 0..4 {
        let selector = ground.any().labels(work_bots.clone());
        let request = move || LeaseRequest::new(holder("worker"), selector.clone());
        workers.spawn(work(farms[index % 2].clone(), request, stop.clone()));
    }
    until("they work", async || ground.value::<i64>("select count(*) from history").await > 8).await;
    // From here on nothing is replicated.
    between.freeze(Direction::Both);
    let lost = farms[0].acquire(named(1, "unknown to the replica")).await.unwrap();
    let before: i64 = ground.value("select count(*) from history").await;
    until("work is done that will be lost", async || {
        ground.value::<i64>("select count(*) from history").await > before + 8
    })
    .await;
    let largest: i64 = ground.value("select max(fence) from bot_slots").await;

    primary.kill().await;
    assert_eq!(refusal(farms[0].acquire(named(1, "meanwhile")).await), "unavailable", "a standby takes no writes");
    between.cut().await;
    standby.promote().await;
    let up = Instant::now();
    let promoted = on_replica("select (extract(epoch from clock_timestamp()) * 1000000)::bigint".into()).await;
    for farm in &farms {
        until("the farm has found it", async || farm.check().await.is_ok()).await;
    }
    assert!(up.elapsed() < HEALED, "{:?}", up.elapsed());

    let done = on_replica("select count(*) from history".into()).await;
    until("they work again", async || on_replica("select count(*) from history".into()).await > done + 8).await;
    stop.store(true, Ordering::Relaxed);
    workers.join_all().await;
    let renewed = farms[1].renew(kept.id, None).await.unwrap();
    assert_eq!(hand_outs(&renewed), hand_outs(&kept));
    // Its holder learns of it at the next renewal.
    assert_eq!(refusal(farms[0].renew(lost.id, None).await), "no-such-lease");
    let next = in_time("it is free", farms[0].acquire(named(1, "next").wait(LONG))).await.unwrap();
    assert!(next.bot().fence.0 > largest, "{} is not larger than {largest}", next.bot().fence);
    farms[0].release(kept.id, Ending::clean()).await.unwrap();
    let smallest = on_replica(format!(
        "select min(fence) from (
            select fence, leased_at from history
            union all
            select fence, leased_at from bot_slots where lease_id is not null
        ) h
        where (extract(epoch from leased_at) * 1000000)::bigint > {promoted}"
    ))
    .await;
    assert!(smallest > largest, "a grant after the promotion does not compare higher than all before it: {smallest}");
    let twice = on_replica("select count(*) - count(distinct (bot_id, fence)) from history".into()).await;
    assert_eq!(twice, 0);
}

/// What had expired as the primary died is not taken over at once: its holder may only have missed the promotion.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_leases_are_left_alone_for_a_while_after_a_promotion() {
    const GRACE: Duration = Duration::from_secs(4);
    let primary = Cluster::start(&[]).await;
    let ground = Ground::on(primary.server()).await;
    let standby = Cluster::standby_of(primary.address(), &[("wal_receiver_status_interval", "1s")]).await;
    let (one, other, database) = (primary.address(), standby.address(), ground.database.name());
    let url = format!("postgres://postgres@{one},{other}/{database}?sslmode=disable");
    let farm = ground.open(hasty(&url).takeover_grace(GRACE)).await;
    let bot = ground.bot(&farm).await;
    let expired = farm.acquire(ground.ask("holder").ttl(Duration::from_secs(1))).await.unwrap();
    let replica = standby.server().url(database);
    until("it is replicated", async || {
        let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&replica).await.unwrap();
        let held = sqlx::query_scalar::<_, i64>("select count(*) from bot_slots where lease_id is not null");
        held.fetch_one(&mut connection).await.unwrap() == 1
    })
    .await;
    primary.kill().await;
    standby.promote().await;
    let promoted = Instant::now();
    let next = in_time("it is taken over in the end", async {
        loop {
            match farm.acquire(LeaseRequest::new(holder("next"), Selector::bot(bot.id)).wait(LONG)).await {
                Err(error) if error.code() == "unavailable" => tokio::time::sleep(Duration::from_millis(20)).await,
                answer => return answer.unwrap(),
            }
        }
    })
    .await;
    assert!(promoted.elapsed() >= GRACE, "{:?}", promoted.elapsed());
    assert!(next.bot().fence > expired.bot().fence);
}

/// A replica that the primary waits for has every lease that anybody was told of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn synchronous_replica_has_every_lease() {
    let primary = Cluster::start(&[]).await;
    let ground = Ground::on(primary.server()).await;
    let standby = Cluster::standby_of(primary.address(), &[]).await;
    ground.run("alter system set synchronous_standby_names = 'any 1 (*)'").await;
    ground.run("select pg_reload_conf()").await;
    until("the primary waits for the replica", async || {
        ground.value::<i64>("select count(*) from pg_stat_replication where sync_state = 'quorum'").await == 1
    })
    .await;
    let (one, other, database) = (primary.address(), standby.address(), ground.database.name());
    let url = format!("postgres://postgres@{one},{other}/{database}?target_session_attrs=read-write&sslmode=disable");
    let farms = [ground.open(hasty(&url)).await, ground.open(hasty(&url)).await];
    ground.bots(&farms[0], 40).await;
    let mut leases = Vec::new();
    for index in 0..40 {
        leases.push(farms[index % 2].acquire(ground.ask("holder")).await.unwrap());
    }
    for lease in leases.drain(..10) {
        farms[0].release(lease.id, Ending::clean()).await.unwrap();
    }
    primary.kill().await;
    standby.promote().await;
    until("the farm has found it", async || farms[0].check().await.is_ok()).await;
    for lease in &leases {
        assert_eq!(hand_outs(&farms[0].renew(lease.id, None).await.unwrap()), hand_outs(lease));
    }
    let free = farms[1].stats().await.unwrap().pools.iter().map(|pool| pool.free).sum::<u64>();
    assert_eq!(free, 10, "what was given back is free");
}

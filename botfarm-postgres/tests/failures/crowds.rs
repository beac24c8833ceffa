//! Queues that are long, and pools that are large: bounds are generous, since what is proved is that they are ones.

use std::time::Duration;

use botfarm_core::{BotFarm, Ending, LeaseRequest, NewBot, ProjectId, Selector};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::ground::{Ground, LONG, holder, labels};

/// 200 requests for 32 of 1,000 bots each, while bots come free one lease at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_for_many_do_not_hold_up_another_project() {
    let ground = Ground::new().await;
    let [farm, other] = [ground.farm().await, ground.farm().await];
    let many: Vec<_> = (0..1_000).map(|index| ground.new_bot(&format!("bot-{index}"))).collect();
    farm.import(many, false).await.unwrap();
    let elsewhere = ProjectId::new();
    other.create(NewBot { project: elsewhere.clone(), ..ground.new_bot("elsewhere") }).await.unwrap();
    let of_32 = || LeaseRequest::many(holder("many"), vec![ground.any(); 32]);
    let mut held = Vec::new();
    for _ in 0..31 {
        held.push(farm.acquire(of_32()).await.unwrap());
    }
    let mut waiters = JoinSet::new();
    for _ in 0..200 {
        let (farm, request) = (farm.clone(), of_32().wait(LONG * 2));
        waiters.spawn(async move { farm.acquire(request).await });
    }
    ground.until_waiting(200).await;
    let releases = tokio::spawn({
        let farm = farm.clone();
        async move {
            for lease in held.drain(..10) {
                farm.release(lease.id, Ending::clean()).await.unwrap();
            }
        }
    });
    for round in 0..20 {
        let request = LeaseRequest::new(holder("elsewhere"), Selector::any().project(elsewhere.clone()));
        let lease =
            timeout(Duration::from_secs(10), other.acquire(request)).await.unwrap_or_else(|_| panic!("round {round}"));
        other.release(lease.unwrap().id, Ending::clean()).await.unwrap();
    }
    releases.await.unwrap();
    for granted in 0..10 {
        let next = timeout(Duration::from_secs(30), waiters.join_next()).await;
        let lease = next.unwrap_or_else(|_| panic!("only {granted} of those who wait are served")).unwrap().unwrap();
        assert_eq!(lease.unwrap().bots.len(), 32);
    }
    ground.assert_sound().await;
}

/// 100,000 free bots that fit nobody, and 150 who each wait for a label of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn freed_bot_is_granted_past_100_000_that_do_not_fit() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let mut held = Vec::new();
    for index in 0..15 {
        let rare = labels("rare", &format!("number-{index}"));
        let bot = farm.create(NewBot { labels: rare, ..ground.new_bot(&format!("rare-{index}")) }).await.unwrap();
        held.push(farm.acquire(LeaseRequest::new(holder("holder"), Selector::bot(bot.id))).await.unwrap());
    }
    // Made from one of them, since nobody leases them. Those who wait need a bot each that could be theirs.
    let copied = ground
        .run(
            "with sets as (
                insert into label_sets (key, labels)
                select sha256(convert_to(array['rare:number-' || n]::text, 'UTF8')), array['rare:number-' || n]
                from generate_series(15, 149) n
                returning id, labels
            ),
            model as (select * from bots limit 1),
            broken as (
                insert into bots (id, pool_id, env, login, login_key, sealed, labels)
                select gen_random_uuid(), m.pool_id, m.env, s.labels[1], s.labels[1], m.sealed, s.labels
                from model m, sets s
                returning id, pool_id, labels
            ),
            free as (
                insert into bots (id, pool_id, env, login, login_key, sealed, labels)
                select gen_random_uuid(), m.pool_id, m.env, 'bot-' || n, 'bot-' || n, m.sealed, '{}'
                from model m, generate_series(1, 100000) n
                returning id, pool_id
            )
            insert into bot_slots (bot_id, pool_id, label_set_id, condition)
            select b.id, b.pool_id, s.id, 'broken'
            from broken b
            join sets s on s.labels = b.labels
            union all
            select id, pool_id, null, 'ready'
            from free",
        )
        .await;
    assert_eq!(copied, 100_135);
    ground.run("analyze").await;
    let mut waiters = JoinSet::new();
    for index in 0..150 {
        let selector = ground.any().labels(labels("rare", &format!("number-{index}")));
        let (farm, request) = (farm.clone(), LeaseRequest::new(holder("waiter"), selector).wait(LONG * 2));
        waiters.spawn(async move { farm.acquire(request).await });
    }
    ground.until_waiting(150).await;
    let freed = Instant::now();
    for lease in &held {
        farm.release(lease.id, Ending::clean()).await.unwrap();
    }
    for granted in 0..15 {
        let next = timeout(Duration::from_secs(30), waiters.join_next()).await;
        next.unwrap_or_else(|_| panic!("only {granted} of 15 are granted")).unwrap().unwrap().unwrap();
    }
    assert!(freed.elapsed() < Duration::from_secs(30), "{:?}", freed.elapsed());
    ground.until_waiting(135).await;
    ground.assert_sound().await;
}

/// More come free at a time than one step of a pass grants: those who came first get them, and no others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pass_of_several_steps_serves_those_who_came_first() {
    const BOTS: usize = 70;
    const WAITERS: usize = 90;
    let ground = Ground::new().await;
    let [farm, other] = [ground.farm().await, ground.farm().await];
    farm.import((0..BOTS).map(|index| ground.new_bot(&format!("bot-{index}"))).collect(), false).await.unwrap();
    for count in [32, 32, 6] {
        farm.acquire(LeaseRequest::many(holder("holder"), vec![ground.any(); count])).await.unwrap();
    }
    let mut waiters = JoinSet::new();
    for index in 0..WAITERS {
        let farm = if index % 2 == 0 { farm.clone() } else { other.clone() };
        let request = ground.ask(&format!("waiter {index}")).wait(LONG * 2);
        waiters.spawn(async move { farm.acquire(request).await.map(|_| index) });
        ground.until_waiting(i64::try_from(index + 1).unwrap()).await;
    }
    // All at once, as no call does it.
    let freed =
        "update bot_slots set version = version + 1, lease_id = null, phase = null, free_at = clock_timestamp()";
    assert_eq!(ground.run(freed).await, BOTS as u64);
    let mut served = Vec::new();
    while served.len() < BOTS {
        let next = timeout(Duration::from_secs(30), waiters.join_next()).await;
        served.push(next.unwrap_or_else(|_| panic!("only {} are served", served.len())).unwrap().unwrap().unwrap());
    }
    served.sort_unstable();
    assert_eq!(served, (0..BOTS).collect::<Vec<_>>());
    ground.until_waiting(i64::try_from(WAITERS - BOTS).unwrap()).await;
    ground.assert_sound().await;
}

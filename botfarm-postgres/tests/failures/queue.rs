//! The queue: nobody barges in, nobody who cannot be served holds up the others, and the dead do not either.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use botfarm_core::{BotChanges, BotFarm, Ending, Error, LeaseId, LeaseRequest, NewBot, Selector};

use rustix::process::Signal;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    child::{Child, inside, told},
    ground::{Ground, LONG, holder, in_time, labels, options, refusal, rounds, until},
};

/// Waiters of many processes are served in the order of their tickets, whoever else asks meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_of_eight_processes_are_served_in_order_and_nobody_barges_in() {
    let waiting = rounds(64);
    let ground = Ground::new().await;
    let mut farms = Vec::new();
    for _ in 0..8 {
        farms.push(ground.open(options(&ground.database.url()).max_connections(2)).await);
    }
    let bot = ground.bot(&farms[0]).await;
    let first = farms[0].acquire(ground.ask("holder")).await.unwrap();

    let served = Arc::new(Mutex::new(Vec::new()));
    let mut waiters = JoinSet::new();
    for index in 0..waiting {
        let (farm, served) = (farms[index % 8].clone(), served.clone());
        let selector = if index % 5 == 0 { Selector::bot(bot.id) } else { ground.any() };
        let request = LeaseRequest::new(holder(&format!("waiter {index}")), selector).wait(LONG);
        waiters.spawn(async move {
            let lease = farm.acquire(request).await.unwrap();
            served.lock().unwrap().push((index, lease.bot().fence));
            farm.release(lease.id, Ending::clean()).await.unwrap();
        });
        ground.until_waiting(i64::try_from(index).unwrap() + 1).await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let mut barging = JoinSet::new();
    for farm in &farms[..4] {
        let (farm, done, selector) = (farm.clone(), done.clone(), ground.any());
        barging.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                match farm.acquire(LeaseRequest::new(holder("barging"), selector.clone())).await {
                    Err(Error::Exhausted(shortage)) if shortage.waiting > 0 => {}
                    // The last of the waiters has been served.
                    Err(Error::Exhausted(_)) => {}
                    Ok(lease) => return Some(lease.bot().fence),
                    Err(error) => panic!("{error:?}"),
                }
            }
            None
        });
    }
    farms[0].release(first.id, Ending::clean()).await.unwrap();
    in_time("all are served", waiters.join_all()).await;
    done.store(true, Ordering::Relaxed);
    let barged = barging.join_all().await;
    let served = std::mem::take(&mut *served.lock().unwrap());
    assert_eq!(served.iter().map(|(index, _)| *index).collect::<Vec<_>>(), (0..waiting).collect::<Vec<_>>());
    // Whoever got it in the end got it after the last waiter.
    let last = served.last().unwrap().1;
    assert!(barged.iter().flatten().all(|fence| *fence > last), "{barged:?}");
    ground.assert_sound().await;
}

/// The first in line wants what is not to be had, and so do 5,000 behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_cannot_be_served_hold_up_nobody() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let rare = labels("role", "admin");
    let admin = farm.create(NewBot { labels: rare.clone(), ..ground.new_bot("admin") }).await.unwrap();
    farm.acquire(LeaseRequest::new(holder("keeps the admin"), Selector::bot(admin.id))).await.unwrap();
    ground.bots(&farm, 1).await;
    let held = farm.acquire(ground.ask("holder")).await.unwrap();

    let request = LeaseRequest::new(holder("head"), ground.any().labels(rare)).wait(Duration::from_secs(6));
    let since = Instant::now();
    let first = tokio::spawn({
        let farm = farm.clone();
        async move { farm.acquire(request).await }
    });
    ground.until_waiting(1).await;
    let copied = ground
        .run(
            "with process as (
                insert into processes (id, alive_until)
                values (gen_random_uuid(), now() + interval '1 hour')
                returning id
            ),
            waiter as (
                insert into waiters (lease_id, parked, until, avoid, terms, ttl)
                select gen_random_uuid(), true, now() + interval '1 hour', w.avoid, w.terms, w.ttl
                from waiters w
                cross join generate_series(1, 5000)
                returning lease_id, ticket
            ),
            call as (
                insert into listeners (lease_id, call, process)
                select w.lease_id, gen_random_uuid(), p.id
                from waiter w
                cross join process p
            )
            insert into wants (selector_id, ticket, lease_id, ord, size)
            select k.selector_id, w.ticket, w.lease_id, 0, 1
            from waiter w
            cross join wants k",
        )
        .await;
    assert_eq!(copied, 5_000);
    let behind = tokio::spawn({
        let (farm, request) = (farm.clone(), ground.ask("behind them").wait(LONG));
        async move { farm.acquire(request).await }
    });
    ground.until_waiting(5_002).await;
    farm.release(held.id, Ending::clean()).await.unwrap();
    let lease = in_time("it is served", behind).await.unwrap().unwrap();
    assert_eq!(lease.bot().bot.id, held.bot().bot.id);
    // A pass over such a queue takes little: what cannot be had is looked for once.
    let plan: Vec<String> = {
        let mut connection = ground.connection().await;
        let explain = "explain (analyze, costs off)
            select *
            from botfarm_match(array(select id from pools), 0, '{}', 64, interval '10 s', interval '15 s', 64)";
        sqlx::query_scalar(explain).fetch_all(&mut connection).await.unwrap()
    };
    let took: f64 =
        plan.iter().find_map(|line| line.strip_prefix("Execution Time: ")?.strip_suffix(" ms")?.parse().ok()).unwrap();
    assert!(took < 200.0, "{plan:#?}");

    assert_eq!(refusal(in_time("its wait ends", first).await.unwrap()), "exhausted");
    assert!(since.elapsed() >= Duration::from_secs(6));
}

/// Who waits elsewhere under the same id keeps the ticket; the others of the dead process are passed by.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_process_with_many_waiters_blocks_nobody_and_a_retry_keeps_its_ticket() {
    let waiting = i64::try_from(rounds(200)).unwrap();
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    ground.bot(&farm).await;
    let held = farm.acquire(ground.ask("holder")).await.unwrap();
    let mut child = Child::start("queue::helper_waits", &ground);
    let id = LeaseId::from(child.says("first").parse::<Uuid>().unwrap());
    ground.until_waiting(1).await;
    child.tell(&waiting.to_string());
    ground.until_waiting(1 + waiting).await;
    let last = tokio::spawn({
        let (farm, request) = (farm.clone(), ground.ask("last").wait(LONG));
        async move { farm.acquire(request).await }
    });
    ground.until_waiting(2 + waiting).await;
    child.signal(Signal::KILL);

    let retried = tokio::spawn({
        let (farm, request) = (farm.clone(), ground.ask("first").id(id).wait(LONG));
        async move { farm.acquire(request).await }
    });
    let listeners = format!("select count(*) from listeners where lease_id = '{}'", farm.kept_as(id));
    until("this process listens as well", async || ground.value::<i64>(&listeners).await == 2).await;
    farm.release(held.id, Ending::clean()).await.unwrap();
    let lease = in_time("the first in line is served", retried).await.unwrap().unwrap();
    ground.assert_next(held.bot().fence.0, &lease).await;
    let before: i64 = ground.value("select version from bot_slots").await;
    farm.release(lease.id, Ending::clean()).await.unwrap();
    let next = in_time("the dead are passed by", last).await.unwrap().unwrap();
    ground.assert_next(lease.bot().fence.0, &next).await;
    // An offer is kept for ten seconds, and a waiter without a word counts as alive for fifteen.
    // The release, the offer to the last and its take-up change the bot, too.
    let offers = ground.value::<i64>("select version from bot_slots").await - before - 3;
    assert!((0..=2).contains(&offers), "offers to the dead: {offers}");
    ground.assert_sound().await;
}

/// Each of its selectors has a bot left, but it is the same one; or the only one left is one that it avoids.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiter_who_lost_what_it_cannot_do_without_is_told_so_before_long() {
    let ground = Ground::new().await;
    let [farm, other] = [ground.farm().await, ground.farm().await];
    let role = labels("role", "admin");
    let bots = ground.bots(&farm, 3).await;
    let admins = BotChanges { labels: Some(role.clone()), ..BotChanges::default() };
    for bot in &bots[..2] {
        farm.update(bot.id, admins.clone()).await.unwrap();
    }
    let admin = ground.any().labels(role);
    let everything = bots.iter().map(|bot| Selector::bot(bot.id));
    farm.acquire(LeaseRequest::many(holder("holder"), everything)).await.unwrap();
    let pair = LeaseRequest::many(holder("pair"), [Selector::bot(bots[0].id), admin.clone()]).wait(LONG);
    let avoids = LeaseRequest { avoid: vec![bots[0].id], ..LeaseRequest::new(holder("avoids"), admin).wait(LONG) };
    let stays = ground.ask("stays").wait(LONG);
    let [pair, avoids, stays] = [pair, avoids, stays].map(|request| {
        let farm = farm.clone();
        tokio::spawn(async move { farm.acquire(request).await })
    });
    ground.until_waiting(3).await;
    let changed = Instant::now();
    let no_admin = BotChanges { labels: Some(labels("role", "user")), ..BotChanges::default() };
    other.update(bots[1].id, no_admin).await.unwrap();
    for waiter in [pair, avoids] {
        assert_eq!(refusal(in_time("it is told", waiter).await.unwrap()), "no-match");
    }
    assert!(changed.elapsed() < Duration::from_secs(10), "{:?}", changed.elapsed());
    assert!(!stays.is_finished(), "who may still be served waits on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by other tests, in a process of its own"]
async fn helper_waits() {
    let (farm, any) = inside().await;
    let mut waiters = JoinSet::new();
    let mut wait = |name: &str| {
        let (farm, request) = (farm.clone(), LeaseRequest::new(holder(name), any.clone()).wait(LONG));
        let id = request.id;
        waiters.spawn(async move { farm.acquire(request).await });
        id
    };
    println!("\nfirst {}", wait("first").as_uuid());
    let more: usize = told().await.parse().unwrap();
    for _ in 0..more {
        wait("more");
    }
    waiters.join_all().await;
}

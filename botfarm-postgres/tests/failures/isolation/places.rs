//! The queue, with a session that changes a place in it or a bot meanwhile.

use std::time::{Duration, Instant};

use botfarm_core::{BotFarm, Ending, Error, LeaseRequest, Selector};
use postgres_lab::{Point, Proxy};

use tokio::time::timeout;

use super::{Session, is_blocked};
use crate::ground::{Ground, LONG, holder, in_time, refusal, statement, until};

/// The first in line is served with what no session changes, be it one bot or several, and not those behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pass_takes_other_bots_than_those_that_a_session_changes() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let bots = ground.bots(&farm, 7).await;
    let wait = |name: &str, count: usize| {
        let (farm, request) = (farm.clone(), LeaseRequest::many(holder(name), vec![ground.any(); count]).wait(LONG));
        tokio::spawn(async move { farm.acquire(request).await })
    };
    for count in [1, 2] {
        let held = bots[..count].iter().map(|bot| Selector::bot(bot.id));
        let held = farm.acquire(LeaseRequest::many(holder("holder"), held)).await.unwrap();
        // They have been free for longer: these are what it would take.
        ground.run("update bot_slots set free_at = free_at - interval '1 hour' where lease_id is null").await;
        let touched = "update bot_slots set version = version + 1 where lease_id is null".to_owned();
        let session = Session::that(&ground, touched).await;
        let first = wait("first", count);
        ground.until_waiting(1).await;
        let behind = wait("behind", 1);
        ground.until_waiting(2).await;
        farm.release(held.id, Ending::clean()).await.unwrap();
        let lease = in_time("it is served", first).await.unwrap().unwrap();
        assert!(lease.bots.iter().all(|leased| bots[..count].iter().any(|bot| bot.id == leased.bot.id)));
        assert!(!behind.is_finished(), "nobody has passed it");
        session.ends(true).await;
        for lease in [lease, in_time("the next is served", behind).await.unwrap().unwrap()] {
            farm.release(lease.id, Ending::clean()).await.unwrap();
        }
    }
    ground.assert_sound().await;
}

/// The time that it waited is not taken from what it has to look at those who wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pass_that_waited_long_for_another_serves_all_the_same() {
    const PASS: &str = "select count(*)
        from botfarm_match(array(select id from pools), 0, '{}', 64, interval '10 s', interval '15 s', 64)
        where lease is null";
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    ground.bot(&farm).await;
    let held = farm.acquire(ground.ask("holder")).await.unwrap();
    let waiter = tokio::spawn({
        let (farm, request) = (farm.clone(), ground.ask("waiter").wait(LONG));
        async move { farm.acquire(request).await }
    });
    ground.until_waiting(1).await;
    let session = Session::that(&ground, "select pg_advisory_xact_lock(7238461, id) from pools".to_owned()).await;
    farm.release(held.id, Ending::clean()).await.unwrap();
    let mut connection = ground.connection().await;
    let pass =
        tokio::spawn(async move { sqlx::query_scalar::<_, i64>(PASS).fetch_one(&mut connection).await.unwrap() });
    until("it waits for the other pass", async || is_blocked(&ground, "where lease is null").await).await;
    let since = Instant::now();
    until("longer than a pass may take", async || since.elapsed() > Duration::from_millis(300)).await;
    session.ends(false).await;
    assert_eq!(in_time("it is through", pass).await.unwrap(), 0, "nothing is left for another step");
    in_time("it is served", waiter).await.unwrap().unwrap();
}

/// Another call under the id of the first in line asks, and has not committed, as a pass comes by.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pass_keeps_the_place_of_a_waiter_whose_row_is_locked() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    ground.bot(&farm).await;
    let held = farm.acquire(ground.ask("holder")).await.unwrap();
    let request = ground.ask("first").wait(LONG);
    let wait = |request: &LeaseRequest| {
        let (farm, request) = (farm.clone(), request.clone());
        tokio::spawn(async move { farm.acquire(request).await })
    };
    let first = wait(&request);
    ground.until_waiting(1).await;
    let behind = wait(&ground.ask("behind").wait(LONG));
    ground.until_waiting(2).await;
    let locked = format!("select from waiters where lease_id = '{}' for no key update", farm.kept_as(request.id));
    let session = Session::that(&ground, locked).await;
    farm.release(held.id, Ending::clean()).await.unwrap();
    let again = farm.acquire(ground.ask("in no hurry")).await;
    assert_eq!(refusal(again), "exhausted", "the bot is kept");
    assert!(!first.is_finished() && !behind.is_finished());
    session.ends(false).await;
    let lease = in_time("the first is served", first).await.unwrap().unwrap();
    ground.assert_next(held.bot().fence.0, &lease).await;
    farm.release(lease.id, Ending::clean()).await.unwrap();
    in_time("the next is served", behind).await.unwrap().unwrap();
}

/// The first in line asks again at the moment of a pass that has a bot for each: nobody behind is served before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pass_serves_nobody_before_who_asks_again_at_that_moment() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    ground.bots(&farm, 2).await;
    // However slow the machine is.
    ground.run("alter function botfarm_wait_for_place set lock_timeout = '60s'").await;
    let held = farm.acquire(LeaseRequest::many(holder("holder"), vec![ground.any(); 2])).await.unwrap();
    let request = ground.ask("first").wait(LONG);
    let locked = format!("select from waiters where lease_id = '{}' for no key update", farm.kept_as(request.id));
    let wait = |request: LeaseRequest| {
        let farm = farm.clone();
        tokio::spawn(async move { farm.acquire(request).await })
    };
    let first = wait(request);
    ground.until_waiting(1).await;
    let behind = wait(ground.ask("behind").wait(LONG));
    ground.until_waiting(2).await;
    let session = Session::that(&ground, locked).await;
    farm.release(held.id, Ending::clean()).await.unwrap();
    until("the pass waits for its place", async || is_blocked(&ground, statement::MATCH).await).await;
    assert!(!first.is_finished() && !behind.is_finished());
    session.ends(false).await;
    let first = in_time("the first is served", first).await.unwrap().unwrap();
    let behind = in_time("the next is served", behind).await.unwrap().unwrap();
    assert!(first.bot().fence < behind.bot().fence, "nobody has passed it");
}

/// A waiter has been granted the bot, and has not heard of it yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bot_that_a_waiter_is_about_to_receive_is_told_as_leased_by_it() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let bot = ground.bot(&farm).await.id;
    let proxy = Proxy::to(&ground.database.url()).await;
    let far = ground.farm_at(&proxy.url()).await;
    let held = farm.acquire(ground.ask("holder")).await.unwrap();
    let waiter = tokio::spawn({
        let request = ground.ask("waiter").wait(LONG);
        async move { far.acquire(request).await }
    });
    ground.until_waiting(1).await;
    let receives = proxy.stop_at(Point::Request, statement::ACQUIRE);
    farm.release(held.id, Ending::clean()).await.unwrap();
    in_time("it is about to receive it", receives.reached()).await;
    let holding = farm.get(bot).await.unwrap().holding.expect("it is leased");
    let Err(Error::Exhausted(shortage)) = farm.acquire(ground.ask("any")).await else { panic!("it is had") };
    assert_eq!((shortage.matching, shortage.leased, shortage.cooling), (1, 1, 0));
    assert_eq!(shortage.oldest.map(|oldest| oldest.holder), Some(holding.terms.holder.clone()));
    let by_id = LeaseRequest::new(holder("this one"), Selector::bot(bot));
    let Err(Error::Busy(busy)) = farm.acquire(by_id).await else { panic!("it is had") };
    assert_eq!(busy.holder, Some(holding.terms.holder.clone()));
    receives.resume();
    in_time("it receives it", waiter).await.unwrap().unwrap();
}

/// A bot is free, and somebody stands before it; but no pass can be made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_wait_does_not_end_with_a_pass_that_fails() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    ground.bot(&farm).await;
    let held = farm.acquire(ground.ask("holder")).await.unwrap();
    let first = tokio::spawn({
        let (farm, request) = (farm.clone(), ground.ask("first").wait(LONG));
        async move { farm.acquire(request).await }
    });
    ground.until_waiting(1).await;
    ground.run("alter function botfarm_match rename to botfarm_match_away").await;
    farm.release(held.id, Ending::clean()).await.unwrap();
    let behind = farm.acquire(ground.ask("behind").wait(Duration::from_millis(300))).await;
    assert_eq!(refusal(behind), "exhausted");
    assert!(!first.is_finished());
    ground.run("alter function botfarm_match_away rename to botfarm_match").await;
    in_time("the first is served", first).await.unwrap().unwrap();
}

/// The pass that serves it has not committed when its wait is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wait_that_ends_during_the_pass_that_serves_it_ends_with_the_lease() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    ground.bot(&farm).await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let other = ground.farm_at(&proxy.url()).await;
    let held = other.acquire(ground.ask("holder")).await.unwrap();
    let request = ground.ask("waiter").wait(Duration::from_millis(800));
    let id = request.id;
    let waiter = tokio::spawn(async move { farm.acquire(request).await });
    ground.until_waiting(1).await;
    let pass = proxy.stop_at(Point::Commit, statement::MATCH);
    other.release(held.id, Ending::clean()).await.unwrap();
    in_time("it is about to be served", pass.reached()).await;
    until("it waits for the pass", async || is_blocked(&ground, statement::ACQUIRE).await).await;
    pass.resume();
    let lease = in_time("it is answered", waiter).await.unwrap().unwrap();
    assert_eq!(lease.id, id);
    ground.assert_next(held.bot().fence.0, &lease).await;
}

/// The pass that serves it has not committed when it hangs up: the bot goes to the next at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_that_goes_during_the_pass_that_serves_it_leaves_no_offer() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    ground.bot(&farm).await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let other = ground.farm_at(&proxy.url()).await;
    let held = other.acquire(ground.ask("holder")).await.unwrap();
    let waiter = tokio::spawn({
        let (farm, request) = (farm.clone(), ground.ask("goes").wait(LONG));
        async move { farm.acquire(request).await }
    });
    ground.until_waiting(1).await;
    let pass = proxy.stop_at(Point::Commit, statement::MATCH);
    other.release(held.id, Ending::clean()).await.unwrap();
    in_time("it is about to be served", pass.reached()).await;
    waiter.abort();
    until("it waits for the pass", async || is_blocked(&ground, statement::LEAVE).await).await;
    pass.resume();
    let asked = Instant::now();
    let next = in_time("it is had", farm.acquire(ground.ask("next").wait(LONG))).await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(8), "an offer is kept for ten: {:?}", asked.elapsed());
    assert!(next.bot().fence > held.bot().fence);
}

/// A pass keeps a bot for whoever is leaving at this moment. Once it has left, the bot goes to the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_pass_keeps_for_who_is_leaving_goes_to_the_next_at_once() {
    let ground = Ground::new().await;
    let other = ground.farm().await;
    ground.bot(&other).await;
    let held = other.acquire(ground.ask("holder")).await.unwrap();
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.farm_at(&proxy.url()).await;
    let [first, next] = ["leaves", "is next"].map(|name| ground.ask(name).wait(LONG));
    let first = tokio::spawn({
        let farm = farm.clone();
        async move { farm.acquire(first).await }
    });
    ground.until_waiting(1).await;
    let next = tokio::spawn(async move { farm.acquire(next).await });
    ground.until_waiting(2).await;
    ground.nobody_looks().await;
    let leave = proxy.stop_at(Point::Commit, statement::LEAVE);
    first.abort();
    in_time("it is about to leave", leave.reached()).await;
    other.release(held.id, Ending::clean()).await.unwrap();
    assert_eq!(refusal(other.acquire(ground.ask("in no hurry")).await), "exhausted", "the bot is kept");
    leave.resume();
    // Long before it asks again by itself.
    timeout(Duration::from_secs(15), next).await.expect("the next is served").unwrap().unwrap();
}

/// A pass waits for the place of somebody who has left when it goes on: nothing is granted to who has gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pass_that_waited_for_who_leaves_serves_the_next() {
    let ground = Ground::new().await;
    let other = ground.farm().await;
    ground.bot(&other).await;
    // However slow the machine is.
    ground.run("alter function botfarm_wait_for_place set lock_timeout = '60s'").await;
    let held = other.acquire(ground.ask("holder")).await.unwrap();
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.farm_at(&proxy.url()).await;
    let first = tokio::spawn({
        let request = ground.ask("leaves").wait(LONG);
        async move { farm.acquire(request).await }
    });
    ground.until_waiting(1).await;
    let leave = proxy.stop_at(Point::Commit, statement::LEAVE);
    first.abort();
    in_time("it is about to leave", leave.reached()).await;
    other.release(held.id, Ending::clean()).await.unwrap();
    until("the pass waits for its place", async || is_blocked(&ground, statement::MATCH).await).await;
    leave.resume();
    until("it has left", async || ground.value::<i64>("select count(*) from wants").await == 0).await;
    // For less than an offer is kept.
    let next = other.acquire(ground.ask("next").wait(Duration::from_secs(5))).await;
    next.expect("the bot goes to the next");
}

/// Somebody comes back to a place, or begins to wait for something, as that is about to be cleared away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn place_that_is_taken_again_is_not_cleared_away() {
    const PRUNE: &str = "select botfarm_prune_queue(100, interval '1 hour', interval '1 day')";
    let ground = Ground::new().await;
    let lease = uuid::Uuid::new_v4();
    ground.farm().await;
    ground
        .run(&format!(
            "insert into waiters (lease_id, parked, until, kept_until, avoid, terms, ttl)
            values ('{lease}', true, now() + interval '1 hour', now() - interval '1 s', '{{}}', '{{}}', '1 m')"
        ))
        .await;
    ground
        .run(
            "insert into selectors (key, project, env, domain, labels, condition)
            values ('', '*', '*', '*', '{}', 'ready')",
        )
        .await;
    let again = format!(
        "update waiters set kept_until = now() + interval '1 minute' where lease_id = '{lease}';
        insert into processes values (gen_random_uuid(), now() + interval '1 minute');
        insert into listeners (lease_id, call, process) select '{lease}', gen_random_uuid(), id from processes limit 1;
        insert into wants (selector_id, ticket, lease_id, ord, size) select id, 1, '{lease}', 0, 1 from selectors"
    );
    let session = Session::that(&ground, again).await;
    assert_eq!(in_time("it waits for nobody", ground.value::<i32>(PRUNE)).await, 0);
    session.ends(true).await;
    assert_eq!(ground.value::<i32>(PRUNE).await, 0);
    assert_eq!(ground.value::<i64>("select count(*) from wants join waiters using (lease_id)").await, 1);
}

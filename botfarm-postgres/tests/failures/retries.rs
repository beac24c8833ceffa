//! Answers that are lost, and requests that come twice.

use botfarm_core::{BotChanges, BotFarm, BotFilter, Condition, EndReason, Ending, LeaseRequest, PageRequest, Selector};
use postgres_lab::{Point, Proxy};

use crate::ground::{Ground, LONG, hand_outs, holder, in_time, loss, refusal, statement, until_blocked};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acquire_whose_answer_is_lost_has_one_bot() {
    let ground = Ground::new().await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.farm_at(&proxy.url()).await;
    ground.bots(&farm, 2).await;
    let bot = farm.list(&BotFilter::default(), &PageRequest::default()).await.unwrap().items.remove(0);
    for (name, selector) in [("any", ground.any()), ("one", Selector::bot(bot.id))] {
        let stop = proxy.cut_at(Point::Reply, statement::ACQUIRE);
        let request = LeaseRequest::new(holder(name), selector);
        let lease = in_time("it is asked again on another connection", farm.acquire(request.clone())).await.unwrap();
        in_time("the answer was lost", stop.reached()).await;
        assert_eq!(ground.held().await, 1, "{name}");
        let again = farm.acquire(request).await.unwrap();
        assert_eq!(hand_outs(&again), hand_outs(&lease), "{name}");
        farm.release(lease.id, Ending::clean()).await.unwrap();
    }
    ground.assert_sound().await;
}

/// Its bot may have another holder by then, or be gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_and_deletion_whose_answer_is_lost_are_told_as_done() {
    let ground = Ground::new().await;
    let other = ground.farm().await;
    let bot = ground.bot(&other).await;
    let condition = |condition| BotChanges { condition: Some(condition), ..BotChanges::default() };
    other.update(bot.id, condition(Condition::Broken)).await.unwrap();
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.farm_at(&proxy.url()).await;

    let stop = proxy.stop_at(Point::Reply, statement::UPDATE);
    let repaired = tokio::spawn({
        let (farm, changes) = (farm.clone(), condition(Condition::Ready));
        async move { farm.update(bot.id, changes).await }
    });
    in_time("it is repaired", stop.reached()).await;
    let lease = other.acquire(ground.ask("next")).await.unwrap();
    stop.cut();
    let seen = in_time("it is told so", repaired).await.unwrap().unwrap();
    assert_eq!(
        (seen.condition, seen.holding.map(|holding| holding.terms.holder.clone())),
        (Condition::Ready, Some(lease.terms.holder.clone()))
    );
    other.release(lease.id, Ending::clean()).await.unwrap();

    let stop = proxy.cut_at(Point::Reply, "botfarm_delete(");
    in_time("it is told so", farm.delete(bot.id)).await.unwrap();
    in_time("the answer was lost", stop.reached()).await;
    assert_eq!(refusal(farm.delete(bot.id).await), "no-such-user");
}

/// Whichever answer is lost on the way from the queue to the lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiter_that_loses_an_answer_has_one_bot() {
    let ground = Ground::new().await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.farm_at(&proxy.url()).await;
    ground.bot(&farm).await;
    for (name, lost, as_it_parks) in [
        ("park", statement::ACQUIRE, true),
        ("offer", statement::MATCH, false),
        ("take up", statement::ACQUIRE, false),
        ("look", statement::LOOK, false),
    ] {
        let held = farm.acquire(ground.ask("holder")).await.unwrap();
        let stop = as_it_parks.then(|| proxy.cut_at(Point::Reply, lost));
        let waiter = tokio::spawn({
            let (farm, request) = (farm.clone(), ground.ask(name).wait(LONG));
            async move { farm.acquire(request).await }
        });
        ground.until_waiting(1).await;
        let stop = stop.unwrap_or_else(|| proxy.cut_at(Point::Reply, lost));
        if as_it_parks {
            in_time("the answer was lost", stop.reached()).await;
        }
        farm.release(held.id, Ending::clean()).await.unwrap();
        let lease = in_time("it is served", waiter).await.unwrap().unwrap();
        in_time("the answer was lost", stop.reached()).await;
        ground.assert_next(held.bot().fence.0, &lease).await;
        assert_eq!(hand_outs(&farm.lookup(lease.id).await.unwrap()), hand_outs(&lease), "{name}");
        farm.release(lease.id, Ending::clean()).await.unwrap();
    }
    assert_eq!(ground.held().await, 0);
    ground.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acquire_cut_after_its_commit_is_had_by_its_id_from_another_process() {
    let ground = Ground::new().await;
    let other = ground.farm().await;
    ground.bots(&other, 2).await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.farm_at(&proxy.url()).await;
    let request = ground.ask("ci job");

    let stop = proxy.stop_at(Point::Reply, statement::ACQUIRE);
    let cut_off = tokio::spawn({
        let (farm, request) = (farm.clone(), request.clone());
        async move { farm.acquire(request).await }
    });
    in_time("it is committed", stop.reached()).await;
    let fence: i64 = ground.value("select fence from bot_slots where lease_id is not null").await;
    proxy.refuse().await;
    stop.cut();
    assert_eq!(refusal(in_time("it gives up", cut_off).await.unwrap()), "unavailable");

    let lease = other.acquire(request).await.unwrap();
    assert_eq!(lease.bot().fence.0, fence);
    assert_eq!(ground.held().await, 1, "the retry takes no second bot");
    other.release(lease.id, Ending::clean()).await.unwrap();
    assert_eq!(ground.held().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twin_waits_for_the_first_and_gets_its_lease() {
    let ground = Ground::new().await;
    let other = ground.farm().await;
    ground.bots(&other, 2).await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.farm_at(&proxy.url()).await;
    let request = ground.ask("ci job");

    let stop = proxy.stop_at(Point::Commit, statement::ACQUIRE);
    let first = tokio::spawn({
        let (farm, request) = (farm.clone(), request.clone());
        async move { farm.acquire(request).await }
    });
    in_time("the first holds its locks", stop.reached()).await;
    let twin = tokio::spawn(async move { other.acquire(request).await });
    // It waits for the id.
    until_blocked(&ground, 1).await;
    stop.resume();
    let first = in_time("the first is answered", first).await.unwrap().unwrap();
    let twin = in_time("the twin is answered", twin).await.unwrap().unwrap();
    assert_eq!(hand_outs(&twin), hand_outs(&first));
    assert_eq!(ground.held().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twin_wins_when_the_first_is_rolled_back() {
    let ground = Ground::new().await;
    let other = ground.farm().await;
    ground.bots(&other, 2).await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.farm_at(&proxy.url()).await;
    let request = ground.ask("ci job");

    let stop = proxy.stop_at(Point::Commit, statement::ACQUIRE);
    let first = tokio::spawn({
        let (farm, request) = (farm.clone(), request.clone());
        async move { farm.acquire(request).await }
    });
    in_time("the first holds its locks", stop.reached()).await;
    let twin = tokio::spawn(async move { other.acquire(request).await });
    until_blocked(&ground, 1).await;
    stop.cut();
    let twin = in_time("the twin is answered", twin).await.unwrap().unwrap();
    // The first asks again by itself.
    let first = in_time("the first is answered", first).await.unwrap().unwrap();
    assert_eq!(hand_outs(&first), hand_outs(&twin));
    assert_eq!(ground.held().await, 1);
    assert_eq!(ground.value::<i64>("select count(*) from history").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acquire_replayed_after_its_release_is_told_so() {
    let ground = Ground::new().await;
    let [farm, other] = [ground.farm().await, ground.farm().await];
    ground.bots(&farm, 2).await;
    let request = ground.ask("ci job");
    let lease = farm.acquire(request.clone()).await.unwrap();
    farm.release(lease.id, Ending::clean()).await.unwrap();
    for replay in [request.clone(), request.wait(LONG)] {
        assert_eq!(loss(other.acquire(replay).await), EndReason::Released);
    }
    assert_eq!(ground.held().await, 0);
    assert_eq!(ground.value::<i64>("select count(*) from waiters").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewal_and_release_whose_answers_are_lost_succeed() {
    let ground = Ground::new().await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.farm_at(&proxy.url()).await;
    let bot = ground.bot(&farm).await;
    let lease = farm.acquire(ground.ask("ci job")).await.unwrap();

    let stop = proxy.cut_at(Point::Reply, statement::RECEIVE);
    let renewed = in_time("it is asked again", farm.renew(lease.id, None)).await.unwrap();
    in_time("the answer was lost", stop.reached()).await;
    assert_eq!(hand_outs(&renewed), hand_outs(&lease));
    assert!(renewed.expires_at > lease.expires_at);

    let stop = proxy.cut_at(Point::Reply, statement::END);
    in_time("it is asked again", farm.release(lease.id, Ending::dirty())).await.unwrap();
    in_time("the answer was lost", stop.reached()).await;
    let history = farm.history(bot.id, &PageRequest::default()).await.unwrap().items;
    let ends: Vec<_> = history.iter().map(|record| record.end.as_ref().map(|end| end.reason)).collect();
    assert_eq!(ends, [Some(EndReason::Released)]);
    assert_eq!(farm.get(bot.id).await.unwrap().condition, botfarm_core::Condition::Dirty);
}

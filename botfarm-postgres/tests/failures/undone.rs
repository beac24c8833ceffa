//! Grants that nobody received, and those that somebody has seen by their ids.

use botfarm_core::{BotFarm, EndReason, Ending, Error, Lease, LeaseId};
use botfarm_postgres::PostgresFarm;
use postgres_lab::{Point, Proxy};

use crate::ground::{Ground, LONG, hand_outs, in_time, loss, refusal, statement};

/// A grant whose caller hangs up before the answer comes, with what somebody at another process does about it meanwhile.
async fn hang_up<T>(ground: &Ground, id: LeaseId, meanwhile: impl AsyncFnOnce() -> T) -> T {
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.farm_at(&proxy.url()).await;
    let granted = proxy.stop_at(Point::Reply, statement::ACQUIRE);
    let request = ground.ask("hangs up").id(id);
    let caller = tokio::spawn(async move { farm.acquire(request).await });
    in_time("it is granted", granted.reached()).await;
    let seen = meanwhile().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    let left = proxy.stop_at(Point::Reply, statement::LEAVE);
    granted.resume();
    in_time("the process undoes what nobody received", left.reached()).await;
    left.resume();
    seen
}

/// Who renews or looks up a lease by its id has it, however the call went that asked for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_has_seen_by_its_id_is_not_undone() {
    let ground = Ground::new().await;
    let other = ground.farm().await;
    ground.bot(&other).await;
    for renews in [true, false] {
        let id = LeaseId::new();
        let seen: Lease = hang_up(&ground, id, async || {
            if renews { other.renew(id, None).await.unwrap() } else { other.lookup(id).await.unwrap() }
        })
        .await;
        assert_eq!(refusal(other.acquire(ground.ask("next")).await), "exhausted", "there is one holder");
        assert_eq!(hand_outs(&other.renew(id, None).await.unwrap()), hand_outs(&seen));
        other.release(id, Ending::clean()).await.unwrap();
    }
    ground.assert_sound().await;
}

/// It was not used, so it is not passed over for those that were free after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bot_of_what_was_undone_is_the_least_recently_used_as_before() {
    let ground = Ground::new().await;
    let other = ground.farm().await;
    let bots = ground.bots(&other, 2).await;
    hang_up(&ground, LeaseId::new(), async || {}).await;
    let fence: i64 = ground.value("select max(fence) from bot_slots").await;
    assert!(fence > 0, "it was handed out");
    let next = in_time("the bot is free", other.acquire(ground.ask("next").wait(LONG))).await.unwrap();
    assert_eq!(next.bot().bot.id, bots[0].id);
}

/// The id of what was undone is told what happened, may be asked for again, and then stands for the new lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn id_of_what_was_undone_is_told_so_and_may_be_granted_anew() {
    let ground = Ground::new().await;
    let other = ground.farm().await;
    ground.bot(&other).await;
    let id = LeaseId::new();
    hang_up(&ground, id, async || {}).await;
    let next = in_time("the bot is free", other.acquire(ground.ask("next").wait(LONG))).await.unwrap();
    for told in [other.renew(id, None).await, other.lookup(id).await] {
        let Err(Error::LeaseLost(lost)) = told else { panic!("it is told what happened: {told:?}") };
        assert_eq!(lost.reason, EndReason::Released);
        assert!(lost.note.unwrap().as_str().contains("hung up"));
    }
    other.release(next.id, Ending::clean()).await.unwrap();
    let anew = other.acquire(ground.ask("asks again").id(id)).await.unwrap();
    assert!(anew.bot().fence > next.bot().fence);
    other.release(id, Ending::clean()).await.unwrap();
    assert_eq!(loss(other.renew(id, None).await), EndReason::Released);
    ground.assert_sound().await;
}

/// That a call has gone is told again when the answer to that is lost. Meanwhile the id may stand for another's lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_undone_twice_takes_no_bot_from_who_asked_again() {
    let ground = Ground::new().await;
    let other = ground.farm().await;
    ground.bot(&other).await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.farm_at(&proxy.url()).await;
    let request = ground.ask("asks again");
    let granted = proxy.stop_at(Point::Reply, statement::ACQUIRE);
    let caller = ask(&farm, &request);
    in_time("it is granted", granted.reached()).await;
    caller.abort();
    let undone = proxy.stop_at(Point::Reply, statement::LEAVE);
    granted.resume();
    in_time("it is undone", undone.reached()).await;
    let lease = other.acquire(request.clone()).await.unwrap();
    let again = proxy.stop_at(Point::Reply, statement::LEAVE);
    undone.cut();
    in_time("it is undone once more", again.reached()).await;
    again.resume();
    assert_eq!(refusal(other.acquire(ground.ask("next")).await), "exhausted");
    assert_eq!(hand_outs(&other.renew(lease.id, None).await.unwrap()), hand_outs(&lease));
    ground.assert_sound().await;
}

fn ask(
    farm: &PostgresFarm,
    request: &botfarm_core::LeaseRequest,
) -> tokio::task::JoinHandle<botfarm_core::Result<Lease>> {
    let (farm, request) = (farm.clone(), request.clone());
    tokio::spawn(async move { farm.acquire(request).await })
}

/// The answer is lost as well, and nobody knows whether there is a lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grant_that_is_rolled_back_as_its_caller_hangs_up_leaves_nothing() {
    let ground = Ground::new().await;
    let other = ground.farm().await;
    ground.bot(&other).await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.farm_at(&proxy.url()).await;
    let request = ground.ask("hangs up");
    let granted = proxy.stop_at(Point::Commit, statement::ACQUIRE);
    let caller = ask(&farm, &request);
    in_time("it is about to be granted", granted.reached()).await;
    caller.abort();
    // It is asked again by itself; then the call finds that nobody waits for it any more.
    let left = proxy.stop_at(Point::Reply, statement::LEAVE);
    granted.cut();
    in_time("it is undone", left.reached()).await;
    left.resume();
    let next = other.acquire(ground.ask("next").wait(LONG)).await.unwrap();
    other.release(next.id, Ending::clean()).await.unwrap();
    assert_eq!(refusal(other.renew(request.id, None).await), "lease-lost");
    ground.assert_sound().await;
}

/// All its tries are cut after they have been carried out: it stands in the queue, and does not know. Nothing is kept for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_that_was_told_unavailable_holds_no_bot_back() {
    let ground = Ground::new().await;
    let other = ground.farm().await;
    ground.bot(&other).await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.farm_at(&proxy.url()).await;
    for wait in [LONG, std::time::Duration::ZERO] {
        let held = other.acquire(ground.ask("holder")).await.unwrap();
        let cuts: Vec<_> = (0..3).map(|_| proxy.cut_at(Point::Reply, statement::ACQUIRE)).collect();
        let request = ground.ask("knows nothing").wait(wait);
        assert_eq!(refusal(in_time("it is told", farm.acquire(request)).await), "unavailable");
        drop(cuts);
        other.release(held.id, Ending::clean()).await.unwrap();
        let since = std::time::Instant::now();
        let next = in_time("it is had", other.acquire(ground.ask("next").wait(LONG))).await.unwrap();
        assert!(since.elapsed() < std::time::Duration::from_secs(5), "an offer is kept for ten: {:?}", since.elapsed());
        assert!(next.bot().fence > held.bot().fence);
        other.release(next.id, Ending::clean()).await.unwrap();
    }
    ground.assert_sound().await;
}

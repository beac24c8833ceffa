//! Holders that die, and holders that stall.

use std::time::Duration;

use botfarm_core::{BotFarm, EndReason, Ending, LeaseRequest, PageRequest, conformance};
use rustix::process::Signal;

use crate::{
    child::{Child, inside, told},
    ground::{Ground, LONG, holder, in_time, loss, until},
};

const TTL: Duration = Duration::from_millis(1_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_holder_loses_the_bot_at_its_ttl_and_a_waiter_gets_it() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let bot = ground.bot(&farm).await;
    let mut child = Child::start("holders::helper_keeps_a_lease", &ground);
    let fence: i64 = child.says("held").parse().unwrap();
    // It lives for longer than a TTL, since it is renewed.
    let mut last = None;
    until("it is renewed", async || {
        let until = farm.get(bot.id).await.unwrap().holding.map(|holding| holding.expires_at);
        let renewed = last.is_some() && until > last;
        last = last.or(until);
        renewed
    })
    .await;
    child.signal(Signal::KILL);
    let lease = in_time("a waiter gets it", farm.acquire(ground.ask("waiter").wait(LONG))).await.unwrap();
    ground.assert_next(fence, &lease).await;

    let history = farm.history(bot.id, &PageRequest::default()).await.unwrap().items;
    let dead = &history[1];
    let end = dead.end.as_ref().unwrap();
    assert_eq!((dead.terms.holder.as_str(), end.reason, end.outcome), ("child", EndReason::Expired, None));
    // Not before its end and the rest after it. (The time of the grant is that of its receipt.)
    assert!(lease.acquired_at >= end.at + conformance::policy().cooling);
    ground.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_holder_finds_its_lease_lost_and_disturbs_nobody() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    ground.bot(&farm).await;
    let mut child = Child::start("holders::helper_holds_a_lease", &ground);
    let fence: i64 = child.says("held").parse().unwrap();
    child.signal(Signal::STOP);
    let lease = in_time("a waiter gets it", farm.acquire(ground.ask("waiter").wait(LONG))).await.unwrap();
    assert!(lease.bot().fence.0 > fence, "who compares fences refuses the old holder");
    child.signal(Signal::CONT);
    child.tell("go on");
    assert_eq!(child.says("renewal"), "expired");
    assert_eq!(child.says("release"), "expired");
    let untouched = farm.lookup(lease.id).await.unwrap();
    assert_eq!((untouched.bot().fence, untouched.expires_at), (lease.bot().fence, lease.expires_at));
    ground.assert_sound().await;
}

/// A lease is over at its end, also when nobody wants its bots.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_renewal_and_late_release_are_refused_though_nobody_took_the_bot() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let bot = ground.bot(&farm).await;
    let lease = farm.acquire(ground.ask("late").ttl(Duration::from_millis(50))).await.unwrap();
    until("it expires", async || farm.get(bot.id).await.unwrap().holding.is_none()).await;
    assert_eq!(loss(farm.renew(lease.id, None).await), EndReason::Expired);
    assert_eq!(loss(farm.release(lease.id, Ending::dirty()).await), EndReason::Expired);
    let after = farm.get(bot.id).await.unwrap();
    assert_eq!(after.condition, botfarm_core::Condition::Ready, "the late release has changed nothing");
    let next = farm.acquire(ground.ask("next").wait(LONG)).await.unwrap();
    ground.assert_next(lease.bot().fence.0, &next).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by other tests, in a process of its own"]
async fn helper_keeps_a_lease() {
    let (farm, any) = inside().await;
    let lease = farm.acquire(LeaseRequest::new(holder("child"), any).ttl(TTL)).await.unwrap();
    println!("\nheld {}", lease.bot().fence);
    loop {
        tokio::time::sleep(lease.renew_after()).await;
        farm.renew(lease.id, None).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by other tests, in a process of its own"]
async fn helper_holds_a_lease() {
    let (farm, any) = inside().await;
    let lease = farm.acquire(LeaseRequest::new(holder("child"), any).ttl(TTL)).await.unwrap();
    println!("\nheld {}", lease.bot().fence);
    told().await;
    println!("\nrenewal {}", loss(farm.renew(lease.id, None).await));
    println!("release {}", loss(farm.release(lease.id, Ending::clean()).await));
}

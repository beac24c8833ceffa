//! Who waits is served to the microsecond of a paused clock, whoever looks at it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use botfarm_core::{
    BotFarm, BotFilter, BotId, BotState, Ending, Env, Error, Fence, Lease, LeaseId, LeasePolicy, LeaseRequest, NewBot,
    PageRequest, ProjectId, Result, Revocation, Selector,
};
use botfarm_memory::MemoryFarm;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

const TTL: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

fn cooling() -> Duration {
    LeasePolicy::default().cooling
}

fn farm(count: usize) -> MemoryFarm {
    let project = ProjectId::new();
    MemoryFarm::with_bots((0..count).map(|number| {
        let login = format!("bot-{number}").parse().unwrap();
        NewBot::new(login, "hunter2".try_into().unwrap(), project.clone(), Env::STAGE)
    }))
    .unwrap()
}

fn ask() -> LeaseRequest {
    LeaseRequest::new("somebody".parse().unwrap(), Selector::any()).ttl(TTL)
}

fn start(farm: &MemoryFarm, request: LeaseRequest) -> JoinHandle<Result<Lease>> {
    let farm = farm.clone();
    tokio::spawn(async move { farm.acquire(request).await })
}

/// Comes back when so many stand in the queue.
async fn waiting(farm: &MemoryFarm, count: u64) {
    while farm.stats().await.unwrap().waiting != count {
        tokio::task::yield_now().await;
    }
}

/// Polls a call as often as its runtime would, were it not for a task that blocks: once.
fn poll<F: Future + ?Sized>(call: &mut Pin<Box<F>>) -> Poll<F::Output> {
    call.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn call_that_need_not_wait_needs_no_runtime() {
    let farm = farm(1);
    let Poll::Ready(Ok(lease)) = poll(&mut farm.acquire(ask())) else { panic!("a bot is free") };
    let Poll::Ready(Err(Error::Exhausted(_))) = poll(&mut farm.acquire(ask())) else { panic!("it is held") };
    assert!(poll(&mut farm.release(lease.id, Ending::clean())).is_ready());
    let Poll::Ready(Ok(bot)) = poll(&mut farm.get(lease.bot().bot.id)) else { panic!("it is kept") };
    assert_eq!(bot.state(), BotState::Free);
}

#[tokio::test(start_paused = true)]
async fn waiter_is_served_when_the_bot_has_rested_though_nobody_calls() {
    let (farm, begin) = (farm(1), Instant::now());
    let first = farm.acquire(ask()).await.unwrap();
    let second = farm.acquire(ask().wait(HOUR)).await.unwrap();
    assert_eq!(begin.elapsed(), TTL + cooling());
    assert_eq!(second.acquired_at, first.expires_at + cooling());
    assert_eq!(second.remaining, TTL);
}

#[tokio::test(start_paused = true)]
async fn waiter_gives_up_in_time() {
    let (farm, begin) = (farm(1), Instant::now());
    let lease = farm.acquire(ask()).await.unwrap();
    let wait = Duration::from_micros(12_345_678);
    let Err(Error::Exhausted(shortage)) = farm.acquire(ask().wait(wait)).await else { panic!("it is held") };
    assert!(begin.elapsed() >= wait && begin.elapsed() < wait + Duration::from_millis(2), "{:?}", begin.elapsed());
    assert_eq!((shortage.leased, shortage.waiting, shortage.oldest.unwrap().since), (1, 0, lease.acquired_at));
    let forever = timeout(HOUR, farm.acquire(ask().wait(Duration::MAX))).await;
    assert_eq!(forever.unwrap().unwrap().bot().fence, Fence(2));
}

#[tokio::test(start_paused = true)]
async fn waiter_is_served_by_what_becomes_due_before_anything_that_was() {
    let (farm, begin) = (farm(1), Instant::now());
    let lease = farm.acquire(ask().ttl(HOUR)).await.unwrap();
    let waiter = start(&farm, ask().wait(HOUR));
    waiting(&farm, 1).await;
    sleep(Duration::from_secs(5)).await;
    let revocation = Revocation::new("over".parse().unwrap(), "admin".parse().unwrap());
    farm.revoke(lease.bot().bot.id, revocation).await.unwrap();
    waiter.await.unwrap().unwrap();
    assert_eq!(begin.elapsed(), Duration::from_secs(5) + cooling());
}

#[tokio::test(start_paused = true)]
async fn next_waiter_looks_at_the_clock_when_the_one_who_did_has_gone() {
    let (farm, begin) = (farm(1), Instant::now());
    farm.acquire(ask()).await.unwrap();
    let first = start(&farm, ask().wait(HOUR));
    waiting(&farm, 1).await;
    let second = start(&farm, ask().wait(HOUR));
    waiting(&farm, 2).await;
    first.abort();
    second.await.unwrap().unwrap();
    assert_eq!(begin.elapsed(), TTL + cooling());
}

#[tokio::test(start_paused = true)]
async fn waiters_are_served_though_the_task_that_looks_at_the_clock_is_blocked() {
    let (farm, begin) = (farm(2), Instant::now());
    farm.acquire(LeaseRequest::many("somebody".parse().unwrap(), [Selector::any(), Selector::any()]).ttl(TTL))
        .await
        .unwrap();
    let mut blocked = farm.acquire(ask().wait(HOUR));
    assert!(poll(&mut blocked).is_pending());
    farm.acquire(ask().wait(HOUR)).await.unwrap();
    let latest = TTL + cooling() + Duration::from_secs(1);
    assert!(begin.elapsed() <= latest, "{:?}", begin.elapsed());
    // Its own lease waits for it.
    let Poll::Ready(Ok(lease)) = poll(&mut blocked) else { panic!("it was first in the queue") };
    assert_eq!(lease.acquired_at, lease.expires_at - TTL);
}

#[tokio::test(start_paused = true)]
async fn grant_that_nobody_received_is_undone_as_if_it_had_not_been() {
    let farm = farm(2);
    let held = farm.acquire(ask()).await.unwrap();
    let (id, first) = (LeaseId::new(), held.bot().bot.id);
    let other = farm.acquire(ask()).await.unwrap();
    let mut gone = farm.acquire(ask().id(id).wait(HOUR));
    assert!(poll(&mut gone).is_pending());
    farm.release(held.id, Ending::clean()).await.unwrap();
    assert_eq!(farm.lookup(id).await.unwrap().bot().fence, Fence(2));
    drop(gone);
    assert_eq!(farm.lookup(id).await.unwrap().bot().bot.id, first, "who has looked at it has received it");
    farm.release(id, Ending::clean()).await.unwrap();

    let id = LeaseId::new();
    let both = [Selector::any(), Selector::any()];
    let mut gone = farm.acquire(LeaseRequest::many("gone".parse().unwrap(), both).id(id).wait(HOUR));
    assert!(poll(&mut gone).is_pending());
    farm.release(other.id, Ending::clean()).await.unwrap();
    assert_eq!(farm.leases(&PageRequest::default()).await.unwrap().items[0].bots.len(), 2, "granted, not received");
    drop(gone);
    assert_eq!(farm.lookup(id).await.unwrap_err().code(), "no-such-lease");
    assert_eq!(farm.history(first, &PageRequest::default()).await.unwrap().items.len(), 2);
    let next = farm.acquire(ask()).await.unwrap();
    assert_eq!((next.bot().bot.id, next.bot().fence), (first, Fence(4)), "its place as before, its fence beyond");
}

#[tokio::test(start_paused = true)]
async fn lease_of_a_twin_is_not_undone() {
    let farm = farm(1);
    let (held, id) = (farm.acquire(ask()).await.unwrap(), LeaseId::new());
    let mut gone = farm.acquire(ask().id(id).wait(HOUR));
    assert!(poll(&mut gone).is_pending());
    let mut twin = farm.acquire(ask().id(id).wait(HOUR));
    assert!(poll(&mut twin).is_pending());
    assert_eq!(farm.stats().await.unwrap().waiting, 1);
    farm.release(held.id, Ending::clean()).await.unwrap();
    drop(gone);
    let Poll::Ready(Ok(lease)) = poll(&mut twin) else { panic!("it has been granted") };
    drop(twin);
    assert_eq!(farm.lookup(id).await.unwrap().bot().fence, lease.bot().fence);
}

#[tokio::test(start_paused = true)]
async fn place_is_kept_for_who_comes_back_in_time() {
    let kept = LeasePolicy::default().place_kept;
    for (away, wins) in [(kept.mul_f64(0.9), true), (kept, false)] {
        let farm = farm(1);
        let held = farm.acquire(ask().ttl(HOUR)).await.unwrap();
        let (id, patience) = (LeaseId::new(), Duration::from_secs(1));
        assert_eq!(farm.acquire(ask().id(id).wait(patience)).await.unwrap_err().code(), "exhausted");
        let rival = start(&farm, ask().wait(HOUR));
        waiting(&farm, 1).await;
        sleep(away).await;
        let back = start(&farm, ask().id(id).wait(HOUR));
        waiting(&farm, 2).await;
        farm.release(held.id, Ending::clean()).await.unwrap();
        tokio::task::yield_now().await;
        let (served, other) = if wins { (back, rival) } else { (rival, back) };
        assert_eq!(served.await.unwrap().unwrap().bot().fence, Fence(2), "away for {away:?}");
        assert!(!other.is_finished());
        other.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_gets_what_was_reserved_for_those_behind() {
    let farm = farm(3);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(farm.acquire(ask().ttl(HOUR)).await.unwrap());
    }
    let id = LeaseId::new();
    let one = Selector::bot(held[0].bot().bot.id);
    let request = LeaseRequest { selectors: vec![one], ..ask().id(id) };
    assert_eq!(farm.acquire(request.clone().wait(Duration::from_secs(1))).await.unwrap_err().code(), "busy");
    let both = [Selector::any(), Selector::any()];
    let set = start(&farm, LeaseRequest::many("set".parse().unwrap(), both).wait(HOUR));
    waiting(&farm, 1).await;
    farm.release(held[0].id, Ending::clean()).await.unwrap();
    assert_eq!(farm.acquire(ask()).await.unwrap_err().code(), "exhausted", "it is reserved");
    assert_eq!(farm.acquire(request).await.unwrap().id, id, "who came first gets it, though it tries but once");
    farm.release(held[1].id, Ending::clean()).await.unwrap();
    farm.release(held[2].id, Ending::clean()).await.unwrap();
    let got: Vec<BotId> = set.await.unwrap().unwrap().bots.iter().map(|leased| leased.bot.id).collect();
    assert_eq!(got, [held[1].bot().bot.id, held[2].bot().bot.id]);
}

#[tokio::test(start_paused = true)]
async fn waiter_is_refused_when_no_bot_could_serve_it_any_more() {
    let farm = farm(2);
    let held = farm.acquire(ask()).await.unwrap();
    let both = [Selector::any(), Selector::any()];
    let set = start(&farm, LeaseRequest::many("set".parse().unwrap(), both).wait(HOUR));
    waiting(&farm, 1).await;
    let free = farm.list(&BotFilter::default(), &PageRequest::default()).await.unwrap().items;
    let free = free.iter().find(|bot| bot.id != held.bot().bot.id).unwrap();
    farm.delete(free.id).await.unwrap();
    assert_eq!(set.await.unwrap().unwrap_err().code(), "no-match");
    assert_eq!(farm.stats().await.unwrap().waiting, 0);
}

/// Counts how often it is told to poll again.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// 1,500 wait in one project: to lease in another is done at once, and wakes none of them.
#[tokio::test]
async fn crowd_of_one_project_is_in_nobody_s_way_in_another() {
    const CROWD: usize = 1_500;
    let bot = |project: &ProjectId, login: &str| {
        NewBot::new(login.parse().unwrap(), "hunter2".try_into().unwrap(), project.clone(), Env::STAGE)
    };
    let (crowded, elsewhere) = (ProjectId::new(), ProjectId::new());
    let farm =
        MemoryFarm::with_bots([bot(&crowded, "one"), bot(&elsewhere, "here"), bot(&elsewhere, "there")]).unwrap();
    let of = |project: &ProjectId| {
        let selector = Selector::any().project(project.clone());
        LeaseRequest::new("somebody".parse().unwrap(), selector).ttl(HOUR)
    };
    let pairs = || {
        let since = std::time::Instant::now();
        for _ in 0..1_000 {
            let Poll::Ready(Ok(lease)) = poll(&mut farm.acquire(of(&elsewhere))) else { panic!("a bot is free") };
            let Poll::Ready(Ok(())) = poll(&mut farm.release(lease.id, Ending::clean())) else { panic!("it is held") };
        }
        since.elapsed() / 1_000
    };
    let idle = pairs();

    let held = farm.acquire(of(&crowded)).await.unwrap();
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    let mut crowd: Vec<_> = (0..CROWD).map(|_| farm.acquire(of(&crowded).wait(HOUR))).collect();
    for call in &mut crowd {
        assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending(), "its bot is held");
    }
    assert_eq!(farm.stats().await.unwrap().waiting, CROWD as u64);
    bell.0.store(0, Ordering::Relaxed);
    let parked = pairs();
    assert_eq!(bell.0.load(Ordering::Relaxed), 0, "nobody of the crowd is asked");
    farm.release(held.id, Ending::clean()).await.unwrap();
    assert_eq!(bell.0.load(Ordering::Relaxed), 1, "whoever came first is");
    println!("a lease and its release take {idle:?}, while {CROWD} wait in another project {parked:?}");
}

//! 32 threads for 10 seconds over HTTP on a pool of 4: never two holders, first come first served, no bot lost.

mod searched;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use botfarm_core::{
    BotFarm, BotId, Ending, Env, Error, Lease, LeasePolicy, LeaseRequest, NewBot, PoolStats, ProjectId, Selector,
};
use botfarm_http::{HttpFarm, Options, router, serve};
use botfarm_memory::MemoryFarm;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    time,
};

use self::searched::Search;

const BOTS: usize = 4;
const THREADS: usize = 32;
const STORM: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_mins(2);

/// The TTL of those who may hang up: what that costs at worst.
const SHORT: Duration = Duration::from_millis(200);

/// Who holds each bot, and the fence of its latest hand-out, as the holders see it.
#[derive(Debug, Default)]
struct Table(HashMap<BotId, (AtomicUsize, AtomicI64)>);

impl Table {
    /// `who` got a bot: nobody may hold it, and its fence must be larger than any before.
    fn take(&self, lease: &Lease, who: usize) {
        let leased = lease.bot();
        let (holder, fence) = &self.0[&leased.bot.id];
        let before = holder.compare_exchange(0, who, Ordering::SeqCst, Ordering::SeqCst);
        assert_eq!(before, Ok(0), "{who} got a bot that somebody holds");
        let before = fence.swap(leased.fence.0, Ordering::SeqCst);
        assert!(before < leased.fence.0, "fence {} came after {before}", leased.fence);
    }

    /// `who` is about to give it back.
    fn give(&self, lease: &Lease, who: usize) {
        let (holder, _) = &self.0[&lease.bot().bot.id];
        assert_eq!(holder.swap(0, Ordering::SeqCst), who, "somebody else got the bot of {who}");
    }
}

fn request(who: usize) -> LeaseRequest {
    LeaseRequest::new(format!("caller {who}").try_into().unwrap(), Selector::any()).wait(LONG)
}

/// A runtime of the caller's own, as a test has.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn pool(farm: &HttpFarm) -> (PoolStats, u64) {
    let stats = runtime().block_on(farm.stats()).unwrap();
    (stats.pools[0].clone(), stats.waiting)
}

fn until(mut what: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(30);
    while !what() {
        assert!(Instant::now() < patience, "did not come to pass");
        runtime().block_on(async { time::sleep(Duration::from_millis(2)).await });
    }
}

/// The service in its own runtime, its client, and the table of its bots.
fn start() -> (Runtime, HttpFarm, Arc<Table>, Arc<Search>) {
    let service = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // So that what a hang-up may cost is over soon.
    let policy = LeasePolicy { min_ttl: SHORT, cooling: Duration::from_millis(50), ..LeasePolicy::default() };
    let listener = service.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
    let farm = HttpFarm::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let (search, router) = Search::over(router(Arc::new(MemoryFarm::with_policy(policy)), Options::default()));
    service.spawn(serve(listener, router, std::future::pending()));
    let project = ProjectId::new();
    let mut table = Table::default();
    for number in 0..BOTS {
        let login = format!("bot-{number}").try_into().unwrap();
        let bot = NewBot::new(login, "xyzzy of nobody".try_into().unwrap(), project.clone(), Env::STAGE);
        let bot = runtime().block_on(farm.create(bot)).unwrap();
        table.0.insert(bot.id, Default::default());
    }
    (service, farm, Arc::new(table), search)
}

/// The callers take their places one after another, each only when the farm says that the one before stands in the
/// queue. Then the bots are freed one by one: the tickets must come up in order.
fn queue_is_served_in_the_order_of_tickets(farm: &HttpFarm, table: &Arc<Table>) {
    let mut held: VecDeque<_> = (0..BOTS).map(|_| runtime().block_on(farm.acquire(request(0))).unwrap()).collect();
    let (granted, grants) = mpsc::channel();
    let mut callers = Vec::new();
    for ticket in 1..=THREADS {
        let (caller, table, granted) = (farm.clone(), table.clone(), granted.clone());
        callers.push(thread::spawn(move || {
            let lease = runtime().block_on(caller.acquire(request(ticket))).unwrap();
            table.take(&lease, ticket);
            granted.send((ticket, lease)).unwrap();
        }));
        until(|| pool(farm).1 == ticket as u64);
    }
    let mut order = Vec::new();
    for _ in 1..=THREADS {
        let freed = held.pop_front().unwrap();
        runtime().block_on(farm.release(freed.id, Ending::clean())).unwrap();
        let (ticket, lease) = grants.recv_timeout(LONG).unwrap();
        table.give(&lease, ticket);
        held.push_back(lease);
        order.push(ticket);
    }
    assert_eq!(order, (1..=THREADS).collect::<Vec<_>>());
    for lease in held {
        runtime().block_on(farm.release(lease.id, Ending::clean())).unwrap();
    }
    for caller in callers {
        caller.join().unwrap();
    }
}

/// What the callers did in the storm.
#[derive(Debug, Default)]
struct Count {
    leases: AtomicU64,
    hang_ups: AtomicU64,
}

/// Every caller leases, uses and gives back for as long as the storm lasts. Every fourth also hangs up now and then
/// while it waits, or while its grant is under way.
fn storm(farm: &HttpFarm, table: &Arc<Table>) -> Vec<u64> {
    let end = Instant::now() + STORM;
    let count = Arc::new(Count::default());
    let callers: Vec<_> = (1..=THREADS)
        .map(|who| {
            let (farm, table, count) = (farm.clone(), table.clone(), count.clone());
            thread::spawn(move || runtime().block_on(call(&farm, &table, who, end, &count)))
        })
        .collect();
    let leases = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
    eprintln!("{count:?}");
    assert!(count.hang_ups.load(Ordering::SeqCst) > 0);
    leases
}

async fn call(farm: &HttpFarm, table: &Table, who: usize, end: Instant, count: &Count) -> u64 {
    let mut leases = 0;
    let mut turn = who as u64;
    while Instant::now() < end {
        turn += 1;
        let lease = if who.is_multiple_of(4) && turn.is_multiple_of(3) {
            let patience = Duration::from_micros(turn * 997 % 6_000);
            let acquire = farm.acquire(request(who).ttl(SHORT));
            let Ok(lease) = time::timeout(patience, acquire).await else {
                count.hang_ups.fetch_add(1, Ordering::SeqCst);
                continue;
            };
            // A thread that slept for longer than its TTL has lost its lease, and must not act on it.
            match farm.renew(lease.unwrap().id, Some(LONG)).await {
                Ok(lease) => lease,
                Err(Error::LeaseLost(_)) => continue,
                Err(error) => panic!("{error:?}"),
            }
        } else {
            farm.acquire(request(who).ttl(LONG)).await.unwrap()
        };
        table.take(&lease, who);
        time::sleep(Duration::from_micros(turn * 613 % 1_500)).await;
        table.give(&lease, who);
        farm.release(lease.id, Ending::clean()).await.unwrap();
        count.leases.fetch_add(1, Ordering::SeqCst);
        leases += 1;
    }
    leases
}

/// Every bot is free again, and can be had together with all the others.
fn no_bot_is_lost(farm: &HttpFarm) {
    until(|| {
        let (pool, waiting) = pool(farm);
        (pool.free, waiting) == (BOTS as u64, 0)
    });
    let all = LeaseRequest::many("auditor".try_into().unwrap(), vec![Selector::any(); BOTS]);
    let lease = runtime().block_on(farm.acquire(all)).unwrap();
    assert_eq!(lease.bots.iter().map(|leased| leased.bot.id).collect::<HashSet<_>>().len(), BOTS);
    runtime().block_on(farm.release(lease.id, Ending::clean())).unwrap();
}

#[test]
fn a_pool_of_four_under_a_storm_of_thirty_two() {
    let (_service, farm, table, _search) = start();
    queue_is_served_in_the_order_of_tickets(&farm, &table);
    let leases = storm(&farm, &table);
    eprintln!("leases of each caller: {leases:?}");
    assert!(leases.iter().all(|&leases| leases > 0), "somebody was starved: {leases:?}");
    no_bot_is_lost(&farm);
    queue_is_served_in_the_order_of_tickets(&farm, &table);
    no_bot_is_lost(&farm);
}

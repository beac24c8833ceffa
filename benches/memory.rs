//! Pairs of acquire and release on [`MemoryFarm`], next to deadpool's unmanaged pool in the same run; and a release while
//! others wait for something else.
//!
//! Run with `cargo bench --bench memory`. It takes about three minutes. The ids of the leases are made by a generator
//! that costs nothing, since random ones (`LeaseId::new`) cost the caller a system call, not the farm.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use botfarm::{BotFarm, Ending, Env, Labels, LeaseId, LeaseRequest, MemoryFarm, NewBot, ProjectId, Secret, Selector};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use deadpool::unmanaged::Pool;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

const POOLS: [usize; 3] = [100, 10_000, 1_000_000];
/// How much of the pool is leased all the time, in percent.
const HELD: [usize; 3] = [0, 50, 99];
const THREADS: [u32; 2] = [1, 8];
const WAITERS: [usize; 2] = [0, 1_000];

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(8).enable_time().build().expect("a runtime")
}

fn labels(role: &str) -> Labels {
    Labels::try_from([("role", role)]).expect("valid")
}

/// Bots of one project, of which every second is an admin.
fn farm_of(count: usize) -> MemoryFarm {
    let project = ProjectId::new();
    let password = Secret::try_from("hunter2").expect("valid");
    MemoryFarm::with_bots((0..count).map(|number| {
        let login = format!("bot-{number}@farm.test").parse().expect("valid");
        let role = if number % 2 == 0 { "admin" } else { "member" };
        NewBot::new(login, password.clone(), project.clone(), Env::STAGE).labels(labels(role))
    }))
    .expect("no login comes twice")
}

fn request(selector: Selector) -> LeaseRequest {
    let hour = Duration::from_hours(1);
    LeaseRequest::new("bench".parse().expect("valid"), selector).ttl(hour).wait(hour)
}

/// Ids of leases, all different, in no order.
struct Ids(u64);

impl Ids {
    fn next(&mut self) -> LeaseId {
        // SplitMix64 (Steele, Lea, Flood 2014).
        let mut word = || {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        Uuid::from_u64_pair(word(), word()).into()
    }
}

async fn pairs(farm: MemoryFarm, template: LeaseRequest, count: u64) {
    let mut ids = Ids(template.id.as_uuid().as_u64_pair().0);
    for _ in 0..count {
        let request = LeaseRequest { id: ids.next(), ..template.clone() };
        let lease = black_box(farm.acquire(request).await.expect("a bot is free"));
        farm.release(lease.id, Ending::clean()).await.expect("it is in force");
    }
}

async fn deadpool_pairs(pool: Pool<String>, count: u64) {
    for _ in 0..count {
        drop(black_box(pool.get().await.expect("the pool is open")));
    }
}

/// How long `iterations` take, shared out among so many threads.
fn timed<F>(runtime: &Runtime, threads: u32, iterations: u64, work: impl Fn(u64) -> F) -> Duration
where
    F: Future<Output = ()> + Send + 'static,
{
    let share = iterations.div_ceil(threads.into());
    let start = Instant::now();
    if threads == 1 {
        runtime.block_on(work(share));
        return start.elapsed();
    }
    let tasks: Vec<_> = (0..threads).map(|_| runtime.spawn(work(share))).collect();
    runtime.block_on(async {
        for task in tasks {
            task.await.expect("no task panics");
        }
    });
    start.elapsed()
}

fn pair(criterion: &mut Criterion) {
    let runtime = runtime();
    for pool in POOLS {
        for held in HELD {
            let mut group = criterion.benchmark_group(format!("pair/{pool} bots/{held} % held"));
            let farm = farm_of(pool);
            runtime.block_on(async {
                for _ in 0..pool * held / 100 {
                    farm.acquire(request(Selector::any())).await.expect("a bot is free");
                }
            });
            let selectors = [("any", Selector::any()), ("label", Selector::any().labels(labels("member")))];
            for (name, selector) in selectors {
                for threads in THREADS {
                    group.bench_function(BenchmarkId::new(name, threads), |bencher| {
                        bencher.iter_custom(|iterations| {
                            let work = |share| pairs(farm.clone(), request(selector.clone()), share);
                            timed(&runtime, threads, iterations, work)
                        });
                    });
                }
            }
            let objects = Pool::from((0..pool).map(|number| format!("bot-{number}")).collect::<Vec<_>>());
            let out: Vec<_> = (0..pool * held / 100).map(|_| objects.try_get().expect("one is left")).collect();
            for threads in THREADS {
                group.bench_function(BenchmarkId::new("deadpool", threads), |bencher| {
                    bencher.iter_custom(|iterations| {
                        timed(&runtime, threads, iterations, |share| deadpool_pairs(objects.clone(), share))
                    });
                });
            }
            drop(out);
        }
    }
}

fn release(criterion: &mut Criterion) {
    /// So many leases are given back between two looks at the clock.
    const BATCH: u64 = 100;
    let runtime = runtime();
    let farm = farm_of(10_000);
    let other = NewBot::new(
        "other".parse().expect("valid"),
        Secret::try_from("hunter2").expect("valid"),
        ProjectId::new(),
        Env::PROD,
    );
    let bench = request(Selector::any().env(Env::STAGE));
    let elsewhere = request(Selector::any().env(Env::PROD));
    runtime.block_on(async {
        farm.create(other).await.expect("it is new");
        farm.acquire(LeaseRequest { id: LeaseId::new(), ..elsewhere.clone() }).await.expect("it is free");
    });
    let mut group = criterion.benchmark_group("unrelated release");
    for waiters in WAITERS {
        let parked: Vec<_> = (0..waiters)
            .map(|_| {
                let (farm, request) = (farm.clone(), LeaseRequest { id: LeaseId::new(), ..elsewhere.clone() });
                runtime.spawn(async move { farm.acquire(request).await })
            })
            .collect();
        runtime.block_on(async {
            while farm.stats().await.expect("it counts").waiting < waiters as u64 {
                tokio::task::yield_now().await;
            }
        });
        let mut ids = Ids(waiters as u64);
        group.bench_function(BenchmarkId::new("waiters", waiters), |bencher| {
            bencher.iter_custom(|iterations| {
                runtime.block_on(async {
                    let mut took = Duration::ZERO;
                    for _ in 0..iterations.div_ceil(BATCH) {
                        let mut leases = Vec::new();
                        for _ in 0..BATCH {
                            let request = LeaseRequest { id: ids.next(), ..bench.clone() };
                            leases.push(farm.acquire(request).await.expect("a bot is free").id);
                        }
                        let start = Instant::now();
                        for lease in leases {
                            farm.release(lease, Ending::clean()).await.expect("it is in force");
                        }
                        took += start.elapsed();
                    }
                    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
                    let share = iterations as f64 / (iterations.div_ceil(BATCH) * BATCH) as f64;
                    took.mul_f64(share)
                })
            });
        });
        for task in parked {
            task.abort();
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = pair, release
}
criterion_main!(benches);

//! Generated schedules on a real PostgreSQL: two processes of one farm, and proxies that hold and let go their statements
//! and replies. A step is a call at one of them; a statement of it may stand before the server gets it, before it commits,
//! or before its reply is told, while others go on; then it goes on as well, or its connection is cut; and the client may
//! go. What all clients were told and what stands in the books has to be what a farm promises: one holder at a time, all or
//! nothing, no end of another's lease, no id that is granted again, fences that grow, order in the queue, refusals that
//! change nothing, and every bot free in the end.
//!
//! `BOTFARM_SCHEDULES=5000` plays so many, and a finding names the `BOTFARM_SCHEDULES_SEED` that plays it again.
//!
//! That it finds what is wrong: [`relapses`] puts faults of earlier versions back, and each is found.
#![cfg(unix)]

mod end;
mod judge;
mod play;
mod relapses;
mod schedule;
mod stage;
mod story;

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use botfarm_core::MasterKey;
use postgres_lab::Database;
use proptest::{
    strategy::{Strategy as _, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use stage::Stage;
use tokio::task::JoinSet;

use crate::{judge::Complaint, schedule::Step};

/// How many schedules are played at a time.
const STAGES: u64 = 4;

/// How many smaller ones are tried for a finding, and for how long.
const SMALLER: usize = 80;
const PATIENCE: Duration = Duration::from_mins(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promises_hold_in_generated_schedules() {
    let count = number("BOTFARM_SCHEDULES").unwrap_or(80);
    let seed = number("BOTFARM_SCHEDULES_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().1 >> 16);
    let database = Database::new().await;
    let began = Instant::now();
    let found = explore(&database, seed, count).await;
    println!("{count} schedules from {seed} on in {:?}", began.elapsed());
    if let Some(finding) = found {
        let seed = finding.seed;
        panic!("BOTFARM_SCHEDULES_SEED={seed}: {}", finding.smallest().await);
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: no number")))
}

/// What is wrong with a schedule, and where it was played.
struct Finding {
    seed: u64,
    complaint: Complaint,
    stage: Stage,
}

/// Plays so many schedules; gives the first finding.
async fn explore(database: &Database, seed: u64, count: u64) -> Option<Finding> {
    let key = MasterKey::generate();
    // One after the other: the first makes the tables.
    let mut stages = Vec::new();
    for _ in 0..STAGES.min(count) {
        stages.push(Stage::on(database, &key).await);
    }
    let next = Arc::new(AtomicU64::new(seed));
    let mut players = JoinSet::new();
    for mut stage in stages {
        let next = next.clone();
        players.spawn(async move {
            loop {
                let seed_now = next.fetch_add(1, Ordering::Relaxed);
                if seed_now >= seed + count {
                    return None;
                }
                let steps = tree(seed_now).current();
                if let Err(complaint) = stage.play(&steps).await {
                    // The others come to an end.
                    next.fetch_add(count, Ordering::Relaxed);
                    return Some(Finding { seed: seed_now, complaint, stage });
                }
            }
        });
    }
    players.join_all().await.into_iter().flatten().next()
}

fn tree(seed: u64) -> impl ValueTree<Value = Vec<Step>> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, rng);
    schedule::schedule().new_tree(&mut runner).expect("every schedule can be made")
}

impl Finding {
    /// The complaint about the smallest schedule that has one, and its steps.
    async fn smallest(mut self) -> Complaint {
        let mut tree = tree(self.seed);
        let (began, mut smallest) = (Instant::now(), (self.complaint, tree.current()));
        let mut more = tree.simplify();
        for _ in 0..SMALLER {
            if !more || began.elapsed() > PATIENCE {
                break;
            }
            self.stage.renew().await;
            more = match self.stage.play(&tree.current()).await {
                Err(complaint) => {
                    smallest = (complaint, tree.current());
                    tree.simplify()
                }
                Ok(()) => tree.complicate(),
            };
        }
        let (complaint, steps) = smallest;
        let steps: Vec<_> = steps.iter().enumerate().map(|(number, step)| format!("\n  {number} {step:?}")).collect();
        format!("{complaint}\nthe steps:{}", steps.concat())
    }
}

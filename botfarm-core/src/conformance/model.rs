//! A farm against a naive model of it: random operations, and after each of them what the farm says has to be what the
//! model says.
//!
//! ```
//! # use std::sync::Arc;
//! # use botfarm_core::{BotFarm, LeasePolicy};
//! # fn my_farm(_: LeasePolicy) -> Arc<dyn BotFarm> { unimplemented!() }
//! async fn farm(policy: LeasePolicy) -> Vec<Arc<dyn BotFarm>> {
//!     vec![my_farm(policy)]
//! }
//!
//! botfarm_core::conformance_model!(farm); // with `paused`, as a second argument, where tokio's clock is the farm's
//! ```
//!
//! The model keeps everything in vectors and answers every question by a search. It says what each call has to be told:
//! who is granted which of the bots that are free, who waits, who has waited long enough, what an id is told of a lease
//! that has ended, and how bots, the queue, the counts and the history look to everybody. Requests hang up, also while
//! they are under way; ask again; ask twice at once; each by another handle of the [`Fixture`].
//!
//! Where time is paused it goes from one moment at which something happens to the next, and each is judged. Elsewhere
//! leases are long, except those that the model lets expire and waits for; a case in which a bot's rest ends while
//! something is judged proves nothing, and another takes its place.
//!
//! A farm is given the policy that the model is told, and serves all cases of a test; each has a project of its own, and
//! leaves nothing behind. 256 cases are tried where time is paused, 24 elsewhere, or as many as the variable
//! `BOTFARM_MODEL_CASES` says. A finding is told with the fewest operations that lead to it, and with the seed: the
//! variable `BOTFARM_MODEL_SEED` repeats it.

mod game;
mod judge;
mod op;
mod state;

use std::time::Duration;

use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use self::{
    game::{Game, Stop},
    op::Op,
};
use super::{Fixture, Trial};
use crate::LeasePolicy;

/// How the model deals with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Tokio's clock is paused, and it is the farm's. The farm answers without waiting for anything else.
    Exact,
    /// The farm has a clock of its own, and is given time to do what it has to.
    Patient,
}

/// A clock that no machine is too slow for: how long a farm is given for what is to happen at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same while a finding is made smaller.
const IMPATIENCE: Duration = Duration::from_secs(1);

/// So many smaller cases are tried for a finding where each may take as long as that.
const SMALLER: usize = 120;

/// The policies that the model tries a farm with: bots that are free at once after a release, and bots that rest.
#[must_use]
pub fn policies(pace: Pace) -> [LeasePolicy; 2] {
    let (cooling, place_kept, reuse_delay) = match pace {
        Pace::Exact => (Duration::from_secs(3), Duration::from_secs(4), Duration::from_secs(2)),
        Pace::Patient => (Duration::from_millis(600), Duration::from_mins(10), Duration::from_millis(400)),
    };
    let policy = LeasePolicy { cooling, place_kept, ..super::policy() };
    [policy.clone(), LeasePolicy { reuse_delay, ..policy }]
}

/// Tries a farm of this policy. What [`conformance_model!`](crate::conformance_model) makes tests of.
///
/// # Panics
/// With what was found; when a variable is no number; when more than half of the cases took too long to prove anything.
pub async fn farm_does_what_the_naive_model_does(fixture: &impl Fixture, policy: &LeasePolicy, pace: Pace) {
    let number =
        |name| std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: no number")));
    let seed = number("BOTFARM_MODEL_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().1);
    let cases = number("BOTFARM_MODEL_CASES").unwrap_or(if pace == Pace::Exact { 256 } else { 24 });
    if let Some(finding) = find(fixture, policy, pace, seed, cases).await {
        panic!("BOTFARM_MODEL_SEED={seed}: {finding}");
    }
}

/// Tries so many cases; gives the first finding, and the fewest operations that lead to it.
///
/// # Panics
/// When more than half of the cases took too long to prove anything.
pub async fn find(fixture: &impl Fixture, policy: &LeasePolicy, pace: Pace, seed: u64, cases: u64) -> Option<String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, rng);
    let (mut proved, mut overrun) = (0, 0);
    while proved < cases {
        let mut tree = op::case().new_tree(&mut runner).expect("every case can be made");
        let play = async |ops: Vec<Op>, patience| {
            Game::new(Trial::on(fixture), policy.clone(), pace, patience).play(ops).await
        };
        match play(tree.current(), PATIENCE).await {
            Ok(()) => proved += 1,
            Err(Stop::Overrun) => overrun += 1,
            Err(Stop::Found(complaint)) => {
                let first = complaint.clone();
                let mut smallest = (complaint, tree.current());
                let mut left = if pace == Pace::Exact { usize::MAX } else { SMALLER };
                let mut smaller = tree.simplify();
                while smaller && left > 0 {
                    left -= 1;
                    smaller = match play(tree.current(), IMPATIENCE).await {
                        Err(Stop::Found(complaint)) => {
                            smallest = (complaint, tree.current());
                            tree.simplify()
                        }
                        Ok(()) | Err(Stop::Overrun) => tree.complicate(),
                    };
                }
                let (complaint, ops) = smallest;
                let ops: Vec<_> = ops.iter().map(|op| format!("  {op:?}")).collect();
                return Some(format!("{complaint}, at the end of\n{}\nAt first: {first}", ops.join("\n")));
            }
        }
        assert!(overrun <= cases.max(10), "{overrun} cases took too long to prove anything, {proved} did not");
    }
    None
}

/// Makes two tests that compare a farm with a naive model of it: `farm_does_what_the_naive_model_does` and
/// `farm_whose_bots_rest_does_what_the_naive_model_does`. See [`model`](mod@crate::conformance::model).
///
/// The argument is an async function that makes a [`Fixture`](crate::conformance::Fixture) of farms with the
/// [`LeasePolicy`](crate::LeasePolicy) it is given; `paused`, as a second one, says that tokio's clock is the farm's
/// (and needs tokio's feature `test-util`).
#[macro_export]
macro_rules! conformance_model {
    ($make:expr) => {
        $crate::conformance_model!(@ $make, Patient, flavor = "multi_thread", worker_threads = 2);
    };
    ($make:expr, paused) => {
        $crate::conformance_model!(@ $make, Exact, start_paused = true);
    };
    (@ $make:expr, $pace:ident, $($runtime:tt)+) => {
        #[::tokio::test($($runtime)+)]
        async fn farm_does_what_the_naive_model_does() {
            let pace = $crate::conformance::model::Pace::$pace;
            let [policy, _] = $crate::conformance::model::policies(pace);
            let fixture = ($make)(policy.clone()).await;
            $crate::conformance::model::farm_does_what_the_naive_model_does(&fixture, &policy, pace).await;
        }

        #[::tokio::test($($runtime)+)]
        async fn farm_whose_bots_rest_does_what_the_naive_model_does() {
            let pace = $crate::conformance::model::Pace::$pace;
            let [_, policy] = $crate::conformance::model::policies(pace);
            let fixture = ($make)(policy.clone()).await;
            $crate::conformance::model::farm_does_what_the_naive_model_does(&fixture, &policy, pace).await;
        }
    };
}

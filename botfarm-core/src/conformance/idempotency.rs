//! Proves what keeps the changes that come with an idempotency key: one named test for each claim of [`Idempotency`].
//!
//! `botfarm_core::conformance_idempotency!(stores)` makes the tests. `stores` is called once for each, and gives handles to
//! one and the same store, and whatever has to live as long: see [`IdempotencyFixture`].

use std::sync::Arc;

use tokio::task::JoinSet;
use uuid::Uuid;

use crate::idempotency::{ChangeEnd, Digest, Idempotency, KeyedChange, Known, OWN};

/// The store under test, and whatever has to live as long.
pub trait IdempotencyFixture {
    /// Handles to one and the same store, at least one.
    fn stores(&self) -> Vec<Arc<dyn Idempotency>>;
}

impl<I: Idempotency + Clone> IdempotencyFixture for I {
    fn stores(&self) -> Vec<Arc<dyn Idempotency>> {
        vec![Arc::new(self.clone()), Arc::new(self.clone())]
    }
}

/// Lists the claims, and makes a macro that makes tests of them.
macro_rules! claims {
    ($d:tt $($claim:ident,)+) => {
        /// Makes a test of each claim about idempotency keys. See
        /// [`idempotency`](crate::conformance::idempotency).
        #[macro_export]
        macro_rules! conformance_idempotency {
            ($d make:expr) => {
                $(
                    #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $claim() {
                        use $d crate::conformance::idempotency::IdempotencyFixture as _;
                        let fixture = ($d make)().await;
                        $d crate::conformance::idempotency::$claim(&fixture.stores()).await;
                    }
                )+
            };
        }
    };
}

claims! { $
    answer_is_given_again_on_every_handle,
    attempt_may_begin_again,
    key_stands_for_one_request,
    keys_are_each_callers_own,
    oldest_change_of_a_caller_is_forgotten_and_nobody_elses,
    one_of_many_attempts_makes_the_change,
    only_the_attempt_that_is_at_it_ends_it,
    refused_change_may_be_made_again,
    unknown_change_is_not_made_again,
}

type Stores = [Arc<dyn Idempotency>];

fn digest(number: usize) -> Digest {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&number.to_le_bytes());
    digest
}

fn change(caller: usize, key: usize) -> KeyedChange {
    KeyedChange::new(digest(caller), digest(key), digest(7))
}

fn again(change: &KeyedChange) -> KeyedChange {
    KeyedChange { attempt: Uuid::new_v4(), ..*change }
}

async fn begin(stores: &Stores, change: &KeyedChange) -> Known {
    let mut known = Vec::new();
    // The first handle that is asked begins, the others see it.
    for store in stores {
        known.push(store.begin(change).await.expect("a change can begin"));
    }
    assert!(known.windows(2).all(|two| two[0] == two[1]), "every handle knows the same of an attempt");
    known.swap_remove(0)
}

async fn end(stores: &Stores, change: &KeyedChange, how: ChangeEnd) {
    stores[0].end(change, how).await.expect("a change can end");
}

fn answered(answer: &str) -> ChangeEnd {
    ChangeEnd::Answered(answer.as_bytes().to_vec())
}

pub async fn attempt_may_begin_again(stores: &Stores) {
    let first = change(1, 1);
    assert_eq!(begin(stores, &first).await, Known::New, "nothing is known of it");
    assert_eq!(begin(stores, &first).await, Known::New, "its own answer may have been lost");
    assert_eq!(begin(stores, &again(&first)).await, Known::UnderWay, "another attempt finds it under way");
}

pub async fn answer_is_given_again_on_every_handle(stores: &Stores) {
    let first = change(1, 1);
    begin(stores, &first).await;
    end(stores, &first, answered("done")).await;
    let known = Known::Answered(b"done".to_vec());
    assert_eq!(begin(stores, &again(&first)).await, known, "the answer is given again");
    assert_eq!(begin(stores, &first).await, known, "also to the attempt that got it");
}

pub async fn refused_change_may_be_made_again(stores: &Stores) {
    let (first, other) = (change(1, 1), change(1, 2));
    begin(stores, &first).await;
    begin(stores, &other).await;
    end(stores, &first, ChangeEnd::Refused).await;
    let second = again(&first);
    assert_eq!(begin(stores, &second).await, Known::New, "what was refused was not done");
    end(stores, &first, answered("late")).await;
    assert_eq!(begin(stores, &again(&first)).await, Known::UnderWay, "the second attempt is at it");
    assert_eq!(begin(stores, &again(&other)).await, Known::UnderWay, "another key is another change");
}

pub async fn unknown_change_is_not_made_again(stores: &Stores) {
    let first = change(1, 1);
    begin(stores, &first).await;
    end(stores, &first, ChangeEnd::Unknown).await;
    assert_eq!(begin(stores, &again(&first)).await, Known::Unknown, "it may have been made");
    assert_eq!(begin(stores, &first).await, Known::Unknown, "the first attempt does not know either");
}

pub async fn only_the_attempt_that_is_at_it_ends_it(stores: &Stores) {
    let first = change(1, 1);
    let stranger = again(&first);
    end(stores, &first, answered("too early")).await;
    assert_eq!(begin(stores, &first).await, Known::New, "what has not begun does not end");
    for how in [answered("not mine"), ChangeEnd::Refused, ChangeEnd::Unknown] {
        end(stores, &stranger, how).await;
        assert_eq!(begin(stores, &stranger).await, Known::UnderWay, "another attempt changes nothing");
    }
}

pub async fn key_stands_for_one_request(stores: &Stores) {
    let first = change(1, 1);
    let other = KeyedChange { request: digest(8), ..again(&first) };
    begin(stores, &first).await;
    assert_eq!(begin(stores, &other).await, Known::Reused, "while it is under way");
    end(stores, &first, answered("done")).await;
    assert_eq!(begin(stores, &other).await, Known::Reused, "and when it was answered");
}

pub async fn keys_are_each_callers_own(stores: &Stores) {
    begin(stores, &change(1, 1)).await;
    let other = KeyedChange { request: digest(8), ..change(2, 1) };
    assert_eq!(begin(stores, &other).await, Known::New, "another caller's key is another key");
}

pub async fn one_of_many_attempts_makes_the_change(stores: &Stores) {
    let mut attempts = JoinSet::new();
    for number in 0..16 {
        let (store, attempt) = (stores[number % stores.len()].clone(), change(1, 1));
        attempts.spawn(async move { store.begin(&attempt).await.expect("a change can begin") });
    }
    let known = attempts.join_all().await;
    assert_eq!(known.iter().filter(|known| **known == Known::New).count(), 1, "one begins: {known:?}");
    assert_eq!(known.iter().filter(|known| **known == Known::UnderWay).count(), 15, "the others wait: {known:?}");
}

pub async fn oldest_change_of_a_caller_is_forgotten_and_nobody_elses(stores: &Stores) {
    let others = change(2, 0);
    begin(&stores[..1], &others).await;
    for number in 0..=OWN {
        assert_eq!(begin(&stores[..1], &change(1, number)).await, Known::New);
    }
    assert_eq!(begin(stores, &change(1, OWN)).await, Known::UnderWay, "the latest is known");
    assert_eq!(begin(stores, &change(1, 1)).await, Known::UnderWay, "and as many as are kept");
    assert_eq!(begin(stores, &again(&others)).await, Known::UnderWay, "another caller's stays");
    assert_eq!(begin(&stores[..1], &change(1, 0)).await, Known::New, "the oldest is forgotten");
}

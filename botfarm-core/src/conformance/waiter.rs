//! A request under way, and how long a claim waits for what is promised.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::Instant};

use crate::{BotFarm, Lease, LeaseId, LeaseRequest, Result};

/// How long a claim gives a farm for what it promises without naming a time. Far more than a loaded machine needs, and
/// less than [`policy`](super::policy)'s TTL, so that no expiry passes for a promise kept.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);

/// How long the waiters of claims are ready to wait: longer than the claims.
pub(super) const LONG: Duration = Duration::from_mins(2);

/// A request under way.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) id: LeaseId,
    task: JoinHandle<Result<Lease>>,
}

impl Waiter {
    pub(super) fn new(farm: Arc<dyn BotFarm>, request: LeaseRequest) -> Self {
        Self { id: request.id, task: tokio::spawn(async move { farm.acquire(request).await }) }
    }

    /// What it got.
    pub(super) async fn answer(mut self, promise: &str) -> Result<Lease> {
        let answer = tokio::time::timeout(PATIENCE, &mut self.task).await;
        answer.unwrap_or_else(|_| panic!("no answer for {PATIENCE:?}, but {promise}")).expect("an acquire never panics")
    }

    /// The lease that it got.
    pub(super) async fn lease(self, promise: &str) -> Lease {
        self.answer(promise).await.unwrap_or_else(|error| panic!("{promise}, but: {error:?}"))
    }

    pub(super) fn still_waits(&self) -> bool {
        !self.task.is_finished()
    }

    /// Drops the future, wherever it stands; gives the answer if it had come already.
    pub(super) async fn hang_up(mut self) -> Option<Result<Lease>> {
        self.task.abort();
        (&mut self.task).await.ok()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Asks again and again until it is so.
pub(super) async fn until(promise: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < PATIENCE, "not so for {PATIENCE:?}: {promise}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What is promised without a time must come before patience ends.
pub(super) async fn in_time<T>(promise: &str, call: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, call).await.unwrap_or_else(|_| panic!("not so for {PATIENCE:?}: {promise}"))
}

//! One waiter's task.

use std::{convert::Infallible, time::Duration};

use botfarm_core::{Lease, LeaseId, Result};
use tokio::time::{sleep, timeout, timeout_at};

use super::{Journal, Shared};

/// How often those who wait look at the clock themselves, in case that the task which does so for all is blocked.
const LOOK: Duration = Duration::from_secs(1);

/// A place in the queue, left when it is dropped: with the future of the call.
pub(super) struct Place<'a, J: Journal> {
    pub(super) farm: &'a Shared<J>,
    pub(super) id: LeaseId,
}

impl<J: Journal> Place<'_, J> {
    /// Waits to be served, for at most this long.
    pub(super) async fn wait(self, wait: Duration) -> Result<Lease> {
        let (bell, _) = self.farm.turn(|state| state.bells.entry(self.id).or_default().clone());
        let patience = async {
            if !wait.is_zero() {
                sleep(wait).await;
            }
        };
        let served = async {
            loop {
                // Hears what is rung from here on, also before it is polled.
                let news = bell.clone().notified_owned();
                if let (Some(outcome), position) = self.farm.turn(|state| state.engine.outcome(self.id)) {
                    return (outcome, position);
                }
                news.await;
            }
        };
        let (outcome, position) = tokio::select! {
            biased;
            served = served => served,
            () = patience => self.farm.turn(|state| {
                // It may just have been served.
                let outcome = state.engine.outcome(self.id);
                outcome.unwrap_or_else(|| Err(state.engine.give_up(self.id)))
            }),
            never = keep_time(self.farm) => match never {},
        };
        self.receive(outcome, position).await
    }

    /// Takes an outcome away, when it has been kept. A lease is received from then on.
    pub(super) async fn receive(self, outcome: Result<Lease>, position: u64) -> Result<Lease> {
        self.farm.journal.kept(position).await?;
        if outcome.is_ok() {
            self.farm.turn(|state| state.engine.received(self.id));
        }
        outcome
    }
}

impl<J: Journal> Drop for Place<'_, J> {
    fn drop(&mut self) {
        self.farm.turn(|state| {
            if state.engine.leave(self.id) {
                state.bells.remove(&self.id);
            }
        });
    }
}

/// Settles what comes due while nobody calls, so that who waits for it is served. One waiter does so for all; when its
/// task goes, the next takes over.
async fn keep_time<J: Journal>(farm: &Shared<J>) -> Infallible {
    let _duty = loop {
        match timeout(LOOK, farm.duty.lock()).await {
            Ok(duty) => break duty,
            Err(_) => drop(farm.turn(|_| ())),
        }
    };
    loop {
        let (alarm, _) = farm.turn(|state| state.alarm.set(state.engine.next_due()));
        let earlier = farm.early.notified();
        match farm.clock.instant(alarm) {
            Some(alarm) => drop(timeout_at(alarm, earlier).await),
            None => earlier.await,
        }
    }
}

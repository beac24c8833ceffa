//! One waiter's task.

use std::{convert::Infallible, sync::Arc, time::Duration};

use botfarm_core::{Lease, LeaseId, Result};
use tokio::{
    sync::{Notify, futures::OwnedNotified},
    time::{sleep, timeout, timeout_at},
};

use super::{Journal, Shared, State};

/// How often those who wait look at the clock themselves, in case that the task which does so for all is blocked.
const LOOK: Duration = Duration::from_secs(1);

/// What a call knows that has just listened for its outcome.
pub(super) enum Heard {
    Outcome(Result<Lease>),
    /// Nothing yet; there are `news` when the bell rings.
    Nothing {
        bell: Arc<Notify>,
        news: OwnedNotified,
    },
}

impl Heard {
    /// In the turn that parked the call, so that it misses nothing.
    pub(super) fn by(state: &mut State, id: LeaseId) -> Self {
        if let Some(outcome) = state.engine.outcome(id) {
            return Self::Outcome(outcome);
        }
        let bell = Arc::clone(state.bells.entry(id).or_default());
        let news = Arc::clone(&bell).notified_owned();
        Self::Nothing { bell, news }
    }
}

/// A place in the queue, left when it is dropped: with the future of the call.
pub(super) struct Place<'a, J: Journal> {
    farm: &'a Shared<J>,
    id: LeaseId,
    /// Whether the caller is given the lease, which is then not undone.
    received: bool,
}

impl<'a, J: Journal> Place<'a, J> {
    pub(super) fn new(farm: &'a Shared<J>, id: LeaseId) -> Self {
        Self { farm, id, received: false }
    }

    /// Waits to be served, for at most this long.
    pub(super) async fn wait(self, heard: Heard, position: u64, wait: Duration) -> Result<Lease> {
        let (bell, mut news) = match heard {
            Heard::Outcome(outcome) => return self.receive(outcome, position).await,
            Heard::Nothing { bell, news } => (bell, news),
        };
        let patience = async {
            if !wait.is_zero() {
                sleep(wait).await;
            }
        };
        let served = async {
            loop {
                news.await;
                // Hears what is rung from here on, also before it is polled.
                news = Arc::clone(&bell).notified_owned();
                if let (Some(outcome), position) = self.farm.turn(|state| state.engine.outcome(self.id)) {
                    return (outcome, position);
                }
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

    /// Takes an outcome away, when it has been kept.
    async fn receive(mut self, outcome: Result<Lease>, position: u64) -> Result<Lease> {
        self.farm.journal.kept(position).await?;
        self.received = outcome.is_ok();
        outcome
    }
}

impl<J: Journal> Drop for Place<'_, J> {
    fn drop(&mut self) {
        self.farm.turn(|state| {
            if self.received {
                state.engine.received(self.id);
            }
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

//! One waiter's task.

use std::{convert::Infallible, sync::Arc, time::Duration};

use botfarm_core::{Lease, LeaseId, Result};
use tokio::{
    sync::Notify,
    time::{sleep, timeout, timeout_at},
};

use crate::farm::Shared;

/// How often those who wait look at the clock themselves, in case that the task which does so for all is blocked.
const LOOK: Duration = Duration::from_secs(1);

/// A place in the queue, left when it is dropped: with the future of the call.
pub(crate) struct Place<'a> {
    pub(crate) farm: &'a Shared,
    pub(crate) id: LeaseId,
}

impl Place<'_> {
    /// Waits to be served, for at most this long.
    pub(crate) async fn wait(self, bell: Arc<Notify>, wait: Duration) -> Result<Lease> {
        let patience = async {
            if !wait.is_zero() {
                sleep(wait).await;
            }
        };
        let served = async {
            loop {
                // Hears what is rung from here on, also before it is polled.
                let news = bell.clone().notified_owned();
                if let Some(outcome) = self.farm.turn(|state| state.outcome(self.id)) {
                    return outcome;
                }
                news.await;
            }
        };
        tokio::select! {
            biased;
            outcome = served => outcome,
            () = patience => self.farm.turn(|state| {
                // It may just have been served.
                state.outcome(self.id).unwrap_or_else(|| Err(state.give_up(self.id)))
            }),
            never = keep_time(self.farm) => match never {},
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.farm.turn(|state| state.leave(self.id));
    }
}

/// Settles what comes due while nobody calls, so that who waits for it is served. One waiter does so for all; when its
/// task goes, the next takes over.
async fn keep_time(farm: &Shared) -> Infallible {
    let _duty = loop {
        match timeout(LOOK, farm.duty.lock()).await {
            Ok(duty) => break duty,
            Err(_) => farm.turn(|_| ()),
        }
    };
    loop {
        let alarm = farm.turn(|state| {
            let alarm = state.timeline.alarm();
            state.clock.instant(alarm)
        });
        let earlier = farm.early.notified();
        match alarm {
            Some(alarm) => drop(timeout_at(alarm, earlier).await),
            None => earlier.await,
        }
    }
}

//! Waiting in the queue of a service, in turns.

use std::time::{Duration, Instant};

use botfarm_core::{Error, Lease, LeaseRequest, Result};
use http::Method;

use super::send::{Call, Service};
use crate::wire;

/// The least time between two askings, for a service that lets nobody wait.
const BREATH: Duration = Duration::from_millis(100);

/// Asked for when the time is up, but the last answer was lost: who does not wait at all gives up its place.
const LAST_LOOK: Duration = Duration::from_millis(1);

impl Service {
    /// Asks for a lease until it is granted, refused, or the request's time is up. The service lets nobody wait for
    /// longer than it likes to, and what is between may cut a silent connection; the place in the queue is kept for who
    /// asks again under the same lease id.
    pub(super) async fn acquire(&self, request: LeaseRequest) -> Result<Lease> {
        let asked = Instant::now();
        let left = || request.wait.saturating_sub(asked.elapsed());
        loop {
            let turn = Instant::now();
            let call = || {
                let wait = left().max(LAST_LOOK).min(self.longest_turn).min(request.wait);
                let body = wire::LeaseRequest { wait_seconds: wait.into(), ..(&request).into() };
                Ok(Call::new(Method::POST, "/api/v1/leases").json(&body)?.patience(wait))
            };
            match self.persist(call).await {
                Err(Error::Exhausted(_) | Error::Busy(_)) if !left().is_zero() => {
                    tokio::time::sleep(BREATH.saturating_sub(turn.elapsed()).min(left())).await;
                }
                answer => return Ok(answer?.json::<wire::Lease>()?.into()),
            }
        }
    }
}

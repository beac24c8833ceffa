//! What a farm allows, and how long bots rest.

use std::{collections::HashSet, time::Duration};

use crate::{
    error::{Error, Fault, Result},
    lease::LeaseRequest,
};

/// What a farm allows, and how long bots rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasePolicy {
    /// The TTL of a request that names none. 15 minutes.
    pub default_ttl: Duration,
    /// The least TTL. 5 seconds.
    pub min_ttl: Duration,
    /// The greatest TTL. One day.
    pub max_ttl: Duration,
    /// How long a bot rests after a release. Zero.
    pub reuse_delay: Duration,
    /// How long a bot rests after its lease expired or was revoked, so that a holder who has not noticed yet can stop.
    /// 15 seconds.
    pub cooling: Duration,
    /// How long the place of a waiter who has gone is kept for when it asks again under the same lease id. 30 seconds.
    pub place_kept: Duration,
}

impl Default for LeasePolicy {
    fn default() -> Self {
        Self {
            default_ttl: Duration::from_mins(15),
            min_ttl: Duration::from_secs(5),
            max_ttl: Duration::from_hours(24),
            reuse_delay: Duration::ZERO,
            cooling: Duration::from_secs(15),
            place_kept: Duration::from_secs(30),
        }
    }
}

impl LeasePolicy {
    /// The TTL that a request for `ttl` gets.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is outside the limits.
    pub fn ttl(&self, ttl: Option<Duration>) -> Result<Duration> {
        let mut faults = Vec::new();
        let ttl = self.checked_ttl(ttl, &mut faults);
        if faults.is_empty() { Ok(ttl) } else { Err(Error::Invalid { faults }) }
    }

    /// Checks all that a request can be checked for without looking at the bots, and gives the TTL that it gets.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming every fault.
    pub fn check(&self, request: &LeaseRequest) -> Result<Duration> {
        let mut faults = Vec::new();
        let ttl = self.checked_ttl(request.ttl, &mut faults);
        if !(1..=32).contains(&request.selectors.len()) {
            let count = request.selectors.len();
            faults.push(Fault::new("/users", format!("must be 1 to 32 selectors, are {count}")));
        }
        let mut roles = HashSet::new();
        for (index, selector) in request.selectors.iter().enumerate() {
            if let Some(role) = &selector.role
                && !roles.insert(role)
            {
                faults.push(Fault::new(format!("/users/{index}/as"), "must differ from every other".to_owned()));
            }
        }
        if request.avoid.len() > 1_000 {
            let count = request.avoid.len();
            faults.push(Fault::new("/avoid", format!("must be at most 1000 ids, are {count}")));
        }
        if faults.is_empty() { Ok(ttl) } else { Err(Error::Invalid { faults }) }
    }

    fn checked_ttl(&self, ttl: Option<Duration>, faults: &mut Vec<Fault>) -> Duration {
        let ttl = ttl.unwrap_or(self.default_ttl);
        if ttl < self.min_ttl || ttl > self.max_ttl {
            let (min, max) = (self.min_ttl.as_secs_f64(), self.max_ttl.as_secs_f64());
            faults.push(Fault::new("/ttl_seconds", format!("must be from {min} to {max} seconds")));
        }
        // Whole microseconds, as Postgres keeps them.
        Duration::from_micros(u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX))
    }
}

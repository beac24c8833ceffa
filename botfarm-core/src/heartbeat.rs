//! Keeps a lease alive.

use std::time::Duration;

use crate::{
    boot_time::BootTime,
    ending::EndReason,
    error::{Error, LostLease},
    farm::BotFarm,
    id::LeaseId,
    lease::Lease,
    time::Timestamp,
};

/// How long one renewal may take before another is tried: an eighth of the TTL within these bounds. Whoever waits for a lost
/// answer until the lease is over has lost it, too.
const MIN_PATIENCE: Duration = Duration::from_secs(1);
const MAX_PATIENCE: Duration = Duration::from_secs(5);

/// The pause after a renewal that failed: a thirtieth of the TTL within these bounds.
const MIN_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Renews a lease again and again, at a third of its TTL: for [`LeaseGuard`](crate::LeaseGuard), and for whoever keeps a lease
/// on behalf of somebody else.
///
/// It counts the time that a laptop sleeps, as the farm does.
#[derive(Debug, Clone, Copy)]
pub struct Heartbeat {
    id: LeaseId,
    ttl: Duration,
    expires_at: Timestamp,
    /// The farm knows of the lease until then, whatever happens to its answers.
    deadline: BootTime,
    /// When to renew.
    next: BootTime,
    at_least_every: Duration,
}

/// What is told of a heartbeat while it goes on.
#[derive(Debug)]
pub enum Beat {
    /// A renewal failed, the first one since the last that did not. It is tried again for so long.
    Failed {
        /// What happened.
        trouble: String,
        /// For how long it is tried again.
        tried_for: Duration,
    },
    /// The lease is renewed again.
    Recovered,
}

/// Why a heartbeat has ended.
#[derive(Debug)]
pub struct Stopped {
    /// `LeaseLost` or `NoSuchLease`, as the farm says; `None` when it could not be asked any more in time.
    pub lost: Option<Error>,
    /// What happened to the latest renewal, if it failed otherwise.
    pub trouble: Option<String>,
    /// When the lease is over, unless somebody ends it before.
    pub deadline: BootTime,
    /// The same, by the farm's clock.
    pub expires_at: Timestamp,
    /// The TTL that the lease had.
    pub ttl: Duration,
}

impl Stopped {
    /// How the lease was lost. One that the farm has forgotten, or could not be asked about, has expired.
    #[must_use]
    pub fn lost_lease(self) -> LostLease {
        match self.lost {
            Some(Error::LeaseLost(lost)) => *lost,
            _ => LostLease::new(EndReason::Expired, self.expires_at),
        }
    }
}

impl Heartbeat {
    /// Of a lease that the farm answered with to a call made at `asked`.
    #[must_use]
    pub fn of(lease: &Lease, asked: BootTime) -> Self {
        let now = BootTime::now();
        // The answer is at most as old as the call. After a long wait in the queue that says little; then a renewal at
        // once gives a close bound.
        let waited = now.since(asked) > lease.ttl / 10;
        let renewed = Self::renewed(lease, asked, Duration::MAX);
        if waited { Self { deadline: now.after(lease.remaining), next: now, ..renewed } } else { renewed }
    }

    /// Of a lease that was renewed by a call made at `asked`.
    fn renewed(lease: &Lease, asked: BootTime, at_least_every: Duration) -> Self {
        Self {
            id: lease.id,
            ttl: lease.ttl,
            expires_at: lease.expires_at,
            deadline: asked.after(lease.remaining),
            next: asked.after(lease.renew_after().min(at_least_every)),
            at_least_every,
        }
    }

    /// The same, renewing at least so often: a revocation is noticed by the next renewal.
    #[must_use]
    pub fn at_least_every(self, time: Duration) -> Self {
        Self { at_least_every: time, next: self.next.min(BootTime::now().after(time)), ..self }
    }

    /// Renews the lease until it is lost, or until so long before its end as `margin` says of its TTL, when the farm is out
    /// of reach.
    ///
    /// Cancel safety: when the future is dropped, the lease lives on for its TTL.
    pub async fn keep(
        mut self,
        farm: &dyn BotFarm,
        margin: impl Fn(Duration) -> Duration + Send,
        mut tell: impl FnMut(Beat) + Send,
    ) -> Stopped {
        let mut trouble: Option<String> = None;
        loop {
            let stop_at = self.deadline.before(margin(self.ttl));
            self.next.min(stop_at).come().await;
            let asked = BootTime::now();
            if asked >= stop_at {
                return self.stopped(None, trouble);
            }
            // Short enough to try several times.
            let patience = (self.ttl / 8).clamp(MIN_PATIENCE, MAX_PATIENCE).min(stop_at.since(asked));
            let failed = match tokio::time::timeout(patience, farm.renew(self.id, None)).await {
                Ok(Ok(lease)) => {
                    self = Self::renewed(&lease, asked, self.at_least_every);
                    if trouble.take().is_some() {
                        tell(Beat::Recovered);
                    }
                    continue;
                }
                Ok(Err(error @ (Error::LeaseLost(_) | Error::NoSuchLease))) => {
                    return self.stopped(Some(error), trouble);
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the farm does not answer".to_owned(),
            };
            if trouble.is_none() {
                tell(Beat::Failed { trouble: failed.clone(), tried_for: stop_at.left() });
            }
            trouble = Some(failed);
            self.next = BootTime::now().after((self.ttl / 30).clamp(MIN_PAUSE, MAX_PAUSE));
        }
    }

    fn stopped(self, lost: Option<Error>, trouble: Option<String>) -> Stopped {
        let Self { deadline, expires_at, ttl, .. } = self;
        Stopped { lost, trouble, deadline, expires_at, ttl }
    }
}

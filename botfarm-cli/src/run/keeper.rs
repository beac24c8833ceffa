//! Keeps the lease alive while the command runs, and says when to stop the command.

use std::time::Duration;

use botfarm_core::{BotFarm, EndReason, Error, Lease, LeaseId};

use super::{clock::Moment, say};

/// How long the command has between TERM and KILL.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// How long before the end of the lease the command is gone.
const MARGIN: Duration = Duration::from_secs(1);

/// At most this long until a revocation is noticed: the bots rest for 15 seconds after it, and the command needs 5 of
/// them to end.
const BEAT: Duration = Duration::from_secs(5);

/// How long one renewal may take before another is tried.
const MIN_PATIENCE: Duration = Duration::from_secs(1);
const MAX_PATIENCE: Duration = Duration::from_secs(5);

/// Why the command must end, and by when it must be gone.
#[derive(Debug)]
pub(crate) struct Loss {
    /// For people.
    pub(crate) why: String,
    /// When to kill what is left.
    pub(crate) kill_at: Moment,
}

/// A lease under which the command runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keeper {
    id: LeaseId,
    ttl: Duration,
    /// The farm knows of the lease until then, whatever happens to its answers.
    deadline: Moment,
    /// When to renew.
    next: Moment,
}

impl Keeper {
    /// Keeps a lease that the farm answered with to a call made at `asked`.
    pub(crate) fn of(lease: &Lease, asked: Moment) -> Self {
        let now = Moment::now();
        // The answer is at most as old as the call. After a long wait in the queue that says little; then a renewal at
        // once gives a close bound.
        let waited = now.since(asked) > lease.ttl / 10;
        Self {
            id: lease.id,
            ttl: lease.ttl,
            deadline: if waited { now } else { asked }.after(lease.remaining),
            next: if waited { now } else { asked.after(lease.renew_after().min(BEAT)) },
        }
    }

    /// Renews the lease again and again. Resolves when the command must be stopped: when the lease has ended, or in
    /// time before it does because the farm is out of reach.
    pub(crate) async fn keep(mut self, farm: &dyn BotFarm) -> Loss {
        let mut trouble = None;
        loop {
            let (grace, margin) = (GRACE.min(self.ttl / 4), MARGIN.min(self.ttl / 10));
            let stop_at = self.deadline.before(grace + margin);
            self.next.min(stop_at).come().await;
            let asked = Moment::now();
            if asked >= stop_at {
                let trouble = trouble.unwrap_or_else(|| "this machine stood still".to_owned());
                let why = format!("the lease is about to end and cannot be renewed: {trouble}");
                return Loss { why, kill_at: self.deadline.before(margin) };
            }
            // Short enough to try several times.
            let patience = (self.ttl / 8).clamp(MIN_PATIENCE, MAX_PATIENCE).min(stop_at.since(asked));
            let renewed = match tokio::time::timeout(patience, farm.renew(self.id, None)).await {
                Ok(renewed) => renewed.map_err(Some),
                Err(_) => Err(None),
            };
            match renewed {
                Ok(lease) => {
                    self = Self::of(&lease, asked);
                    if trouble.take().is_some() {
                        say("the lease is renewed again");
                    }
                }
                Err(Some(Error::LeaseLost(lost))) if lost.reason == EndReason::Released => {
                    // As its holder would: by the command itself, or by somebody who was asked to. No reason to kill.
                    say("the lease was released while the command runs; its bots may be somebody else's now");
                    std::future::pending::<()>().await;
                }
                Err(Some(error @ (Error::LeaseLost(_) | Error::NoSuchLease))) => {
                    let kill_at = Moment::now().after(GRACE).min(self.deadline.before(margin));
                    return Loss { why: error.to_string(), kill_at };
                }
                Err(error) => {
                    let error = error.map_or_else(|| "the farm does not answer".to_owned(), |error| error.to_string());
                    if trouble.is_none() {
                        let left = stop_at.left().as_secs();
                        say(format_args!("the lease could not be renewed ({error}); trying again for {left} s"));
                    }
                    trouble = Some(error);
                    let pause = (self.ttl / 30).clamp(Duration::from_millis(100), Duration::from_secs(2));
                    self.next = Moment::now().after(pause);
                }
            }
        }
    }
}

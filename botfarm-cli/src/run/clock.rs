//! A clock that goes on while the machine sleeps.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A point on a clock that never jumps, and that counts the time a laptop sleeps: the farm's clock counts it, too.
/// [`std::time::Instant`] would not do on Linux, where it stands still meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(Duration);

impl Moment {
    /// Now.
    pub(crate) fn now() -> Self {
        #[cfg(target_os = "linux")]
        let clock = ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        let clock = ClockId::Monotonic;
        Self(Duration::try_from(clock_gettime(clock)).unwrap_or_default())
    }

    /// This much later.
    pub(crate) fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }

    /// This much earlier.
    pub(crate) fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(time))
    }

    /// How long since an earlier moment.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// How long until it comes.
    pub(crate) fn left(self) -> Duration {
        self.since(Self::now())
    }

    /// Sleeps until it has come. Cancel safety: may be dropped.
    pub(crate) async fn come(self) {
        loop {
            let left = self.left();
            if left.is_zero() {
                return;
            }
            // A timer stands still while the machine sleeps, so look at the clock now and then.
            tokio::time::sleep(left.min(Duration::from_secs(1))).await;
        }
    }
}

/// Resolves when the moment has come; never without one. Cancel safety: may be dropped.
pub(crate) async fn come(moment: Option<Moment>) {
    match moment {
        Some(moment) => moment.come().await,
        None => std::future::pending().await,
    }
}

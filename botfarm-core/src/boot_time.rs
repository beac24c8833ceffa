//! A clock that goes on while the machine sleeps.

use std::time::Duration;

/// A point on a clock that never jumps, and that counts the time a laptop sleeps: the farm's clock counts it, too.
/// [`std::time::Instant`] would not do on Linux, where it stands still meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(Duration);

impl BootTime {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self(elapsed())
    }

    /// This much later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }

    /// This much earlier.
    #[must_use]
    pub fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(time))
    }

    /// How long since an earlier point in time; zero since a later one.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// How long until it comes.
    #[must_use]
    pub fn left(self) -> Duration {
        self.since(Self::now())
    }

    /// Sleeps until it has come. Cancel safety: may be dropped.
    pub async fn come(self) {
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

/// How long since some point in time, the same for all of the process.
#[cfg(unix)]
fn elapsed() -> Duration {
    use rustix::time::{ClockId, clock_gettime};

    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = ClockId::Boottime;
    // Elsewhere it goes on by itself.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = ClockId::Monotonic;
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

#[cfg(not(unix))]
fn elapsed() -> Duration {
    use std::{sync::LazyLock, time::Instant};

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_and_no_further_back_than_its_beginning() {
        let now = BootTime::now();
        let later = now.after(Duration::from_secs(7));
        assert_eq!((later.since(now), now.since(later)), (Duration::from_secs(7), Duration::ZERO));
        assert_eq!(later.before(Duration::from_secs(7)), now);
        assert!(BootTime::now() >= now && later.left() <= Duration::from_secs(7));
        assert!(now.before(Duration::MAX) <= now && now.after(Duration::MAX) >= now);
    }

    #[tokio::test]
    async fn who_waits_for_what_has_come_does_not_wait() {
        BootTime::now().come().await;
        let soon = BootTime::now().after(Duration::from_millis(20));
        soon.come().await;
        assert!(soon.left().is_zero());
    }
}

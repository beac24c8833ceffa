//! What time it is.

use chrono::Utc;
use tokio::time::Instant;

use crate::moment::Moment;

/// The farm's clock: the machine's at the start, and from there on tokio's, so that tests may pause it, and nobody sets
/// it back.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    base: Moment,
}

impl Clock {
    /// A clock that starts now, but not before `earliest`.
    pub(super) fn starting_at(earliest: Moment) -> Self {
        Self { start: Instant::now(), base: Moment::from(Utc::now()).max(earliest) }
    }

    /// A test may have paused its clock while the heartbeat of a guard comes from a runtime whose clock goes on: each
    /// call has a clock of its own.
    pub(super) fn now(&self) -> Moment {
        self.base.plus(Instant::now().saturating_duration_since(self.start))
    }

    /// The moment as tokio can sleep until it; `None` when that is for ever.
    pub(super) fn instant(&self, moment: Moment) -> Option<Instant> {
        if moment == Moment::NEVER {
            return None;
        }
        self.start.checked_add(self.base.until(moment))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use botfarm_core::LeasePolicy;

    use super::*;
    use crate::engine::Engine;

    #[tokio::test(start_paused = true)]
    async fn clock_shows_whole_microseconds_and_never_goes_backwards() {
        let clock = Clock::starting_at(Moment::default());
        let mut engine = Engine::new(LeasePolicy::default());
        tokio::time::advance(Duration::from_nanos(5_001_999)).await;
        engine.settle(clock.now());
        assert_eq!(clock.base.until(engine.now()), Duration::from_micros(5_001));
        assert_eq!(engine.now().timestamp().timestamp_subsec_nanos() % 1_000, 0);
        // A call from a runtime whose clock is ahead.
        engine.settle(clock.base.plus(Duration::from_secs(7)));
        engine.settle(clock.now());
        assert_eq!(clock.base.until(engine.now()), Duration::from_secs(7));
        tokio::time::advance(Duration::from_secs(7)).await;
        engine.settle(clock.now());
        assert_eq!(clock.base.until(engine.now()), Duration::from_micros(7_005_001));
    }

    #[test]
    fn time_goes_on_from_what_is_known_though_the_machine_was_set_back() {
        let known = Moment::from(Utc::now()).plus(Duration::from_hours(1));
        let clock = Clock::starting_at(known);
        assert!(clock.now() >= known && known.until(clock.now()) < Duration::from_mins(1));
    }
}

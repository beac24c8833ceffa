//! A point in time.

use std::time::Duration;

use botfarm_core::Timestamp;
use chrono::DateTime;

/// A point in time: whole microseconds since 1970, as exact as the times that a farm shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// Later than every other.
    pub const NEVER: Self = Self(u64::MAX);

    /// So many microseconds after the start of 1970.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the start of 1970.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// This long after; at most [`NEVER`](Self::NEVER).
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long until then; zero when it has passed.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        Duration::from_micros(later.0.saturating_sub(self.0))
    }

    /// As a farm shows it.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        let micros = i64::try_from(self.0).unwrap_or(i64::MAX);
        DateTime::from_timestamp_micros(micros).unwrap_or(Timestamp::MAX_UTC)
    }
}

/// Cut to whole microseconds, and to 1970.
impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Self(u64::try_from(at.timestamp_micros()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_out_of_range_are_cut_not_panicked_about() {
        assert_eq!(Moment(7).plus(Duration::MAX), Moment::NEVER);
        assert_eq!(Moment::NEVER.timestamp(), Timestamp::MAX_UTC);
        assert_eq!(Moment(9).until(Moment(4)), Duration::ZERO);
        assert_eq!(Moment::from(Timestamp::MIN_UTC), Moment(0));
    }

    #[test]
    fn moment_is_shown_to_the_microsecond() {
        let moment = Moment(1_795_555_555_000_001);
        assert_eq!(Moment::from(moment.timestamp()), moment);
        assert_eq!(moment.timestamp().timestamp_subsec_nanos(), 1_000);
    }
}

//! What time it is, and what is due.

use std::time::Duration;

use botfarm_core::{LeaseId, Timestamp};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::{bots::Slot, line::Line};

/// A point in time: whole microseconds since the farm was made, as exact as the times that the farm shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) const START: Self = Self(0);
    pub(crate) const NEVER: Self = Self(u64::MAX);

    pub(crate) fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span)))
    }

    pub(crate) fn until(self, later: Self) -> Duration {
        Duration::from_micros(later.0.saturating_sub(self.0))
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// The farm's clock: tokio's, so that tests may pause it.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    base: Timestamp,
    /// What time it was when somebody last looked.
    pub(crate) now: Moment,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let base = DateTime::from_timestamp_micros(Utc::now().timestamp_micros()).unwrap_or_default();
        Self { start: Instant::now(), base, now: Moment::START }
    }

    /// Looks at the clock.
    pub(crate) fn look(&mut self) -> Moment {
        // A test may have paused its clock while the heartbeat of a guard comes from a runtime whose clock goes on:
        // each call has a clock of its own, and the farm's never goes backwards.
        let elapsed = Instant::now().saturating_duration_since(self.start);
        self.now = self.now.max(Moment(micros(elapsed)));
        self.now
    }

    /// The moment as the farm shows it.
    pub(crate) fn shown(&self, moment: Moment) -> Timestamp {
        let span = TimeDelta::microseconds(i64::try_from(moment.0).unwrap_or(i64::MAX));
        self.base.checked_add_signed(span).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// The moment as tokio can sleep until it; `None` when that is for ever.
    pub(crate) fn instant(&self, moment: Moment) -> Option<Instant> {
        self.start.checked_add(Duration::from_micros(moment.0))
    }
}

/// What happens by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    /// Nobody has renewed the lease.
    Expired(LeaseId),
    /// The bot has rested.
    Rested(Slot),
    /// The place of a waiter who has gone is kept no longer.
    Forgotten(LeaseId),
}

/// Where an event stands in the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timer {
    pub(crate) at: Moment,
    pub(crate) order: u64,
}

/// What will happen by itself, in order.
#[derive(Debug)]
pub(crate) struct Timeline {
    pub(crate) events: Line<Timer, Event>,
    /// Until when the timekeeper sleeps; `START` when there is none, so that nothing comes before it.
    alarm: Moment,
    /// Whether something is due before that.
    early: bool,
}

impl Timeline {
    pub(crate) fn new() -> Self {
        Self { events: Line::default(), alarm: Moment::START, early: false }
    }

    pub(crate) fn set(&mut self, timer: Timer, event: Event) {
        self.events.insert(timer, event);
        if timer.at < self.alarm {
            self.alarm = timer.at;
            self.early = true;
        }
    }

    pub(crate) fn cancel(&mut self, timer: Timer) {
        self.events.remove(&timer);
    }

    /// Takes out the first event that is due.
    pub(crate) fn due(&mut self, now: Moment) -> Option<(Moment, Event)> {
        let (timer, event) = *self.events.first().filter(|(timer, _)| timer.at <= now)?;
        self.events.remove(&timer);
        Some((timer.at, event))
    }

    /// Until when the timekeeper may sleep. It will be rung before, should something else come first.
    pub(crate) fn alarm(&mut self) -> Moment {
        self.alarm = self.events.first().map_or(Moment::NEVER, |(timer, _)| timer.at);
        self.early = false;
        self.alarm
    }

    /// Whether the timekeeper must be rung: asked once, at the end of each turn.
    pub(crate) fn take_early(&mut self) -> bool {
        std::mem::take(&mut self.early)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn clock_shows_whole_microseconds_and_never_goes_backwards() {
        let mut clock = Clock::new();
        tokio::time::advance(Duration::from_nanos(5_001_999)).await;
        assert_eq!(clock.look(), Moment(5_001));
        assert_eq!(clock.shown(clock.now) - clock.base, TimeDelta::microseconds(5_001));
        assert_eq!(clock.base.timestamp_subsec_nanos() % 1_000, 0);
        // A call from a runtime whose clock is ahead.
        clock.now = Moment(7_000_000);
        assert_eq!(clock.look(), Moment(7_000_000));
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(clock.look(), Moment(7_005_001));
    }

    #[test]
    fn times_out_of_range_are_cut_not_panicked_about() {
        let clock = Clock::new();
        assert_eq!(Moment(7).plus(Duration::MAX), Moment::NEVER);
        assert_eq!(clock.shown(Moment::NEVER), DateTime::<Utc>::MAX_UTC);
        assert_eq!(Moment(9).until(Moment(4)), Duration::ZERO);
    }

    #[test]
    fn timekeeper_is_rung_for_what_comes_before_its_alarm_alone() {
        let mut timeline = Timeline::new();
        let timer = |at| Timer { at: Moment(at), order: at };
        timeline.set(timer(9), Event::Rested(0));
        assert!(!timeline.take_early(), "nobody keeps time");
        assert_eq!(timeline.alarm(), Moment(9));
        timeline.set(timer(10), Event::Rested(0));
        assert!(!timeline.take_early());
        timeline.set(timer(8), Event::Rested(0));
        assert!(timeline.take_early() && !timeline.take_early());
        timeline.cancel(timer(8));
        timeline.set(timer(8), Event::Rested(0));
        assert!(!timeline.take_early(), "it has been rung for that moment");
    }
}

//! What will happen by itself.

use botfarm_core::LeaseId;

use crate::{line::Line, moment::Moment, number::Slot};

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
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    events: Line<Timer, Event>,
}

impl Timeline {
    pub(crate) fn set(&mut self, timer: Timer, event: Event) {
        self.events.insert(timer, event);
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

    /// When the first event is due.
    pub(crate) fn next(&self) -> Option<Moment> {
        self.events.first().map(|(timer, _)| timer.at)
    }

    #[cfg(any(test, feature = "audit"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Timer, Event)> {
        self.events.iter()
    }
}

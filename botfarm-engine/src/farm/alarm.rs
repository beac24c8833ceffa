//! When the farm is to be looked at again.

use crate::moment::Moment;

/// Until when the waiter sleeps who looks at the clock for all.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// The start of time when nobody sleeps, so that nothing comes before it.
    until: Moment,
}

impl Alarm {
    /// Until when to sleep, given what is due next. The sleeper is rung before, should something else come first.
    pub(super) fn set(&mut self, due: Option<Moment>) -> Moment {
        self.until = due.unwrap_or(Moment::NEVER);
        self.until
    }

    /// Whether the sleeper must be rung, given what is due next: once for each moment.
    pub(super) fn is_beaten_by(&mut self, due: Option<Moment>) -> bool {
        let Some(due) = due.filter(|due| *due < self.until) else { return false };
        self.until = due;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timekeeper_is_rung_for_what_comes_before_its_alarm_alone() {
        let (mut alarm, at) = (Alarm::default(), |micros| Some(Moment::from_micros(micros)));
        assert!(!alarm.is_beaten_by(at(9)), "nobody keeps time");
        assert_eq!(alarm.set(at(9)), Moment::from_micros(9));
        assert!(!alarm.is_beaten_by(at(9)), "something later was set");
        assert!(alarm.is_beaten_by(at(8)) && !alarm.is_beaten_by(at(8)));
        assert!(!alarm.is_beaten_by(at(9)), "it was cancelled");
        assert!(!alarm.is_beaten_by(at(8)), "it has been rung for that moment");
        assert_eq!(alarm.set(None), Moment::NEVER);
        assert!(alarm.is_beaten_by(at(10)));
    }
}

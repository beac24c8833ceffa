//! What a claim expects to be told.

use std::fmt::Debug;

use crate::{Busy, Error, Fault, LostLease, Result, Shortage};

#[track_caller]
pub(super) fn lost<T: Debug>(answer: Result<T>, promise: &str) -> LostLease {
    match answer {
        Err(Error::LeaseLost(lost)) => *lost,
        other => panic!("{promise}: expected LeaseLost, got {other:?}"),
    }
}

#[track_caller]
pub(super) fn shortage<T: Debug>(answer: Result<T>, promise: &str) -> Shortage {
    match answer {
        Err(Error::Exhausted(shortage)) => *shortage,
        other => panic!("{promise}: expected Exhausted, got {other:?}"),
    }
}

#[track_caller]
pub(super) fn busy<T: Debug>(answer: Result<T>, promise: &str) -> Busy {
    match answer {
        Err(Error::Busy(busy)) => *busy,
        other => panic!("{promise}: expected Busy, got {other:?}"),
    }
}

/// The selector that cannot be satisfied.
#[track_caller]
pub(super) fn no_match<T: Debug>(answer: Result<T>, promise: &str) -> usize {
    match answer {
        Err(Error::NoMatch { selector, .. }) => selector,
        other => panic!("{promise}: expected NoMatch, got {other:?}"),
    }
}

#[track_caller]
pub(super) fn faults<T: Debug>(answer: Result<T>, promise: &str) -> Vec<Fault> {
    match answer {
        Err(Error::Invalid { faults }) => faults,
        other => panic!("{promise}: expected Invalid, got {other:?}"),
    }
}

/// Any error, by its [code](Error::code).
#[track_caller]
pub(super) fn refused<T: Debug>(answer: Result<T>, code: &str, promise: &str) -> Error {
    match answer {
        Err(error) if error.code() == code => error,
        other => panic!("{promise}: expected {code}, got {other:?}"),
    }
}

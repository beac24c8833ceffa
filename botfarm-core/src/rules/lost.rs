//! What the id of a lease says that has ended, where nobody said how.

use crate::{
    ending::EndReason,
    error::{Error, LostLease},
    text::Note,
    time::Timestamp,
};

/// What is told of a lease that is named as a bot's, and never held it, as far as anybody remembers.
#[must_use]
pub fn never_held(now: Timestamp) -> Error {
    Error::lost(EndReason::Released, now, None, None)
}

/// What is told of a lease that was granted, and undone at `at`, since its caller had gone.
#[must_use]
pub fn nobody_received(at: Timestamp) -> LostLease {
    let note = Note::try_from("nobody had received it when its caller hung up").ok();
    LostLease { note, ..LostLease::new(EndReason::Released, at) }
}

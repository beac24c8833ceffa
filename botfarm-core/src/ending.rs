//! How leases end.

use crate::{text::Note, words::word_enum};

word_enum! {
    /// In what state the holder leaves the bots.
    #[derive(Default)]
    Outcome {
        /// As they were: ready for the next holder, at once or after the farm's reuse delay. The default.
        #[default]
        Clean = "clean",
        /// Changed: to be cleaned before anybody else has them.
        Dirty = "dirty",
        /// Unusable: locked out, wrong password.
        Broken = "broken",
    }
}

word_enum! {
    /// How a lease ended.
    EndReason {
        /// Its holder gave it back.
        Released = "released",
        /// Nobody renewed it in time.
        Expired = "expired",
        /// Somebody took it away.
        Revoked = "revoked",
        /// Somebody else gave it back.
        Taken = "taken",
    }
}

/// How to end a lease that one holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ending {
    /// In what state the bots are left.
    pub outcome: Outcome,
    /// A remark for the history.
    pub note: Option<Note>,
}

impl Ending {
    /// Leaves the bots as they were.
    #[must_use]
    pub fn clean() -> Self {
        Self::default()
    }

    /// Leaves the bots changed.
    #[must_use]
    pub fn dirty() -> Self {
        Self { outcome: Outcome::Dirty, note: None }
    }

    /// Leaves the bots unusable.
    #[must_use]
    pub fn broken() -> Self {
        Self { outcome: Outcome::Broken, note: None }
    }

    /// The same, with a remark.
    #[must_use]
    pub fn note(self, note: Note) -> Self {
        Self { note: Some(note), ..self }
    }
}

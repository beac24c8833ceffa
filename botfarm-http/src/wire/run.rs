//! Runs, and how they are ended.

use botfarm_core::{Holder, Note, Outcome};
use serde::{Deserialize, Serialize};

use super::{macros::request, request::is_default};

request! {
    /// How to end a run: the body of `POST /runs/{run}/end`, all of it optional.
    #[derive(Default)]
    pub struct RunEnd {
        /// In what state its users are left. `clean` unless given.
        #[serde(skip_serializing_if = "is_default")]
        #[cfg_attr(feature = "server", schema(value_type = Option<Outcome>))]
        outcome: Outcome = default,
        /// A remark: the holders are told, and it stays in the history.
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<Note> = optional,
        /// Who does it, where nobody is asked who they are. Else it is the caller.
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<Holder> = optional,
    }
}

impl From<botfarm_core::RunEnding> for RunEnd {
    fn from(ending: botfarm_core::RunEnding) -> Self {
        Self { outcome: ending.ending.outcome, note: ending.ending.note, by: Some(ending.by) }
    }
}

/// What was a part of a run that has been ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct EndedRun {
    /// So many of its leases were in force, and have been ended.
    pub ended: u64,
    /// So many of its requests waited, and have been sent away.
    pub waiters: u64,
}

impl From<botfarm_core::EndedRun> for EndedRun {
    fn from(ended: botfarm_core::EndedRun) -> Self {
        Self { ended: ended.leases, waiters: ended.waiters }
    }
}

impl From<EndedRun> for botfarm_core::EndedRun {
    fn from(ended: EndedRun) -> Self {
        Self { leases: ended.ended, waiters: ended.waiters }
    }
}

//! Runs: what a CI run or a test session has leased, as one.

use crate::{
    ending::Ending,
    terms::Terms,
    text::{Holder, Owner, Run},
};

/// How to end a run, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunEnding {
    /// In what state its bots are left, and a remark: the holders are told, and it stays in the history.
    pub ending: Ending,
    /// Who ends it.
    pub by: Holder,
    /// Only what this authenticated caller has leased and waits for: two callers may call their runs by one name. Not sent
    /// over the wire.
    pub owner: Option<Owner>,
}

impl RunEnding {
    /// Leaves the bots as they were, whoever leased them.
    #[must_use]
    pub fn new(by: Holder) -> Self {
        Self { ending: Ending::clean(), by, owner: None }
    }

    /// The same, with the bots left like this.
    #[must_use]
    pub fn ending(self, ending: Ending) -> Self {
        Self { ending, ..self }
    }

    /// The same, but only what this authenticated caller has leased and waits for.
    #[must_use]
    pub fn owner(self, owner: Option<Owner>) -> Self {
        Self { owner, ..self }
    }

    /// Whether what carries these terms is a part of the run, and to be ended.
    #[must_use]
    pub fn means(&self, run: &Run, terms: &Terms) -> bool {
        terms.run.as_ref() == Some(run) && (self.owner.is_none() || terms.owner == self.owner)
    }
}

/// What was a part of a run that has been ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndedRun {
    /// So many of its leases were in force.
    pub leases: u64,
    /// So many of its requests stood in the queue, or had a place kept there.
    pub waiters: u64,
}

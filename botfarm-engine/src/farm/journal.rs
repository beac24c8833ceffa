//! What keeps the changes of a farm.

use std::fmt;

use botfarm_core::Result;

use crate::kept::{Change, Snapshot};

/// Keeps the changes of a farm that one process owns.
pub trait Journal: fmt::Debug + Send + Sync + 'static {
    /// What can go wrong at the start.
    type Error;

    /// All that has been kept. Asked for once, before anything is appended.
    ///
    /// # Errors
    /// When it cannot be read, or is not what was kept.
    fn load(&mut self) -> Result<Snapshot, Self::Error>;

    /// Takes the changes of a turn, and gives the position after them, which grows. It is called under the farm's lock,
    /// in the order of the turns, and must not wait. Nothing is taken back: what cannot be kept now is kept later, or
    /// the journal [refuses](Self::check) whatever comes next.
    fn append(&self, changes: Vec<Change>) -> u64;

    /// Comes back when everything up to a position has been kept, so that it survives whatever the journal survives.
    /// Turns are kept whole and in order.
    ///
    /// # Errors
    /// `Unavailable` when that cannot be done now. It may still be done later.
    fn kept(&self, position: u64) -> impl Future<Output = Result<()>> + Send;

    /// Succeeds when changes can be kept. Asked before every turn of a caller.
    ///
    /// # Errors
    /// `Unavailable`, saying why.
    fn check(&self) -> Result<()>;
}

//! Which bot for which selector of a request.

use smallvec::SmallVec;

use crate::number::Slot;

/// A bot for each selector, as far as there is one.
pub(crate) type Assignment = SmallVec<[Option<Slot>; 1]>;

/// The first selector without a bot.
pub(crate) fn unmet(assignment: &[Option<Slot>]) -> Option<usize> {
    assignment.iter().position(Option::is_none)
}

//! What is wrong with an input: as much of it as anybody reads.

use crate::{
    error::{Error, Fault},
    location::Location,
};

/// The first faults of an input, and how many more there are: however large and wrong an input is, this stays small.
///
/// ```
/// # use botfarm_core::{Fault, Faults, Field, Location};
/// let mut faults = Faults::default();
/// faults.extend((0..500).map(|row| Fault::new(Location::row(row).field(Field::Env), "is required")));
/// let listed = Vec::from(faults);
/// assert_eq!(listed.len(), Faults::LISTED + 1);
/// assert_eq!(listed.last(), Some(&Fault::new(Location::whole(), "and 400 more faults")));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    listed: Vec<Fault>,
    more: usize,
}

impl Faults {
    /// How many are listed.
    pub const LISTED: usize = 100;

    /// Adds one.
    pub fn push(&mut self, fault: Fault) {
        if self.listed.len() < Self::LISTED {
            self.listed.push(fault);
        } else {
            self.more += 1;
        }
    }

    /// Adds those of another input, or of a part of this one.
    pub fn append(&mut self, other: Self) {
        self.extend(other.listed);
        self.more += other.more;
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Those that are listed.
    #[must_use]
    pub fn listed(&self) -> &[Fault] {
        &self.listed
    }
}

impl Extend<Fault> for Faults {
    fn extend<I: IntoIterator<Item = Fault>>(&mut self, faults: I) {
        for fault in faults {
            self.push(fault);
        }
    }
}

impl FromIterator<Fault> for Faults {
    fn from_iter<I: IntoIterator<Item = Fault>>(faults: I) -> Self {
        let mut all = Self::default();
        all.extend(faults);
        all
    }
}

/// The last one says how many more there are, if there are.
impl From<Faults> for Vec<Fault> {
    fn from(faults: Faults) -> Self {
        let Faults { mut listed, more } = faults;
        if more > 0 {
            let s = if more == 1 { "" } else { "s" };
            listed.push(Fault::new(Location::whole(), format!("and {more} more fault{s}")));
        }
        listed
    }
}

impl From<Faults> for Error {
    fn from(faults: Faults) -> Self {
        Self::Invalid { faults: faults.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(count: usize) -> Faults {
        (0..count).map(|row| Fault::new(Location::row(row), "is wrong")).collect()
    }

    #[test]
    fn a_list_of_faults_ends_after_a_hundred_with_how_many_more() {
        let last = |count| Vec::from(some(count)).pop().map(|fault| (fault.at, fault.detail));
        assert_eq!(last(0), None);
        assert_eq!(last(100), Some((Location::row(99), "is wrong".to_owned())));
        assert_eq!(last(101), Some((Location::whole(), "and 1 more fault".to_owned())));
        assert_eq!(last(100_000), Some((Location::whole(), "and 99900 more faults".to_owned())));
    }

    #[test]
    fn those_that_parts_have_left_out_are_counted() {
        let mut all = some(90);
        all.append(some(250));
        assert_eq!(all.listed().len(), 100);
        assert_eq!(Vec::from(all).pop().map(|fault| fault.detail), Some("and 240 more faults".to_owned()));
    }
}

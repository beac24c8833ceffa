//! Where a bot stands in an index.

use std::ops::{Index, IndexMut};

use botfarm_core::Condition;

/// What the farm is doing with a bot, as far as an index cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket(pub(crate) usize);

impl Bucket {
    pub(crate) const COUNT: usize = 8;
    pub(crate) const HELD: Self = Self(6);
    pub(crate) const COOLING: Self = Self(7);

    pub(crate) fn free(condition: Condition) -> Self {
        Self(condition as usize)
    }

    pub(crate) fn reserved(condition: Condition) -> Self {
        Self(3 + condition as usize)
    }

    pub(crate) fn is_free(self) -> bool {
        self.0 < 3
    }
}

/// Where a bot stands in an index: in which bucket, and where in the order of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) bucket: Bucket,
    pub(crate) order: u64,
}

/// How many bots are in each bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts(pub(crate) [u64; Bucket::COUNT]);

impl Counts {
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Neither held nor resting, in this condition: free, or reserved.
    pub(crate) fn idle(&self, condition: Condition) -> u64 {
        self[Bucket::free(condition)] + self[Bucket::reserved(condition)]
    }
}

impl Index<Bucket> for Counts {
    type Output = u64;

    fn index(&self, of: Bucket) -> &u64 {
        &self.0[of.0]
    }
}

impl IndexMut<Bucket> for Counts {
    fn index_mut(&mut self, of: Bucket) -> &mut u64 {
        &mut self.0[of.0]
    }
}

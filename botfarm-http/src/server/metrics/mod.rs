//! What is counted.

pub(crate) mod counters;
pub(crate) mod ledger;
pub(crate) mod metered;

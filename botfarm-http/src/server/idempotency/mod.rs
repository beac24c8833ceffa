//! What is asked again.

pub(crate) mod once;
pub(crate) mod replay;

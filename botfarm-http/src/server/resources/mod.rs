//! The bots, and their leases.

pub(crate) mod leases;
pub(crate) mod locks;
pub(crate) mod runs;
pub(crate) mod seen;
pub(crate) mod users;

//! Leases real test accounts to parallel end-to-end tests.
pub use botfarm_core::*;

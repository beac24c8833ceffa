//! A journal that keeps nothing.

use std::convert::Infallible;

use botfarm_core::Result;
use botfarm_engine::{Change, Journal, Snapshot};

/// Keeps nothing. What is never kept is kept at once.
#[derive(Debug)]
pub(crate) struct Nowhere;

impl Journal for Nowhere {
    type Error = Infallible;

    fn load(&mut self) -> Result<Snapshot, Infallible> {
        Ok(Snapshot::default())
    }

    fn append(&self, _: Vec<Change>) -> u64 {
        0
    }

    async fn kept(&self, _: u64) -> Result<()> {
        Ok(())
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }
}

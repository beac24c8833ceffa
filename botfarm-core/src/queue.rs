//! Who stands in the queue.

use std::sync::Arc;

use crate::{selector::Selector, terms::Terms, time::Timestamp};

/// A request that stands in the queue, as everybody may see it: without its lease id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedRequest {
    /// Its place among all that wait, from 1.
    pub place: u64,
    /// Who asks, and what else the lease is to carry along.
    pub terms: Arc<Terms>,
    /// Since when it has stood in the queue.
    pub since: Timestamp,
    /// Whether the process that it waits in has been heard of. One that has not stands in nobody's way.
    pub alive: bool,
    /// Which bots it wants.
    pub selectors: Vec<Selector>,
    /// What keeps it waiting, for people to read: how the bots stand that it wants, as
    /// [`Shortage::reason`](crate::Shortage::reason) says it. `None` after the first fifty of a page: ask for the next one.
    pub reason: Option<String>,
    /// How many leases in force its run has. Zero for one that is a part of none.
    pub holds: u64,
}

//! The queue.

use std::sync::Arc;

use botfarm_core::QueuedRequest;
use serde::{Deserialize, Serialize};

use super::{request::Selector, terms::Terms, value::Time};

/// A request that stands in the queue, as everybody may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Waiter {
    /// Its place among all that wait, from 1.
    pub place: u64,
    /// Who asks, and what else the lease is to carry along.
    #[serde(flatten)]
    pub terms: Terms,
    /// Since when it has stood in the queue.
    pub since: Time,
    /// Whether the process that it waits in has been heard of. One that has not stands in nobody's way.
    pub alive: bool,
    /// Which users it wants.
    pub selectors: Vec<Selector>,
    /// What keeps it waiting, for people to read. Null after the first fifty of a page.
    pub reason: Option<String>,
    /// How many leases in force its run has.
    pub holds: u64,
}

impl From<QueuedRequest> for Waiter {
    fn from(request: QueuedRequest) -> Self {
        let QueuedRequest { place, terms, since, alive, selectors, reason, holds } = request;
        let selectors = selectors.iter().map(Selector::from).collect();
        Self { place, terms: terms.into(), since: Time(since), alive, selectors, reason, holds }
    }
}

impl From<Waiter> for QueuedRequest {
    fn from(waiter: Waiter) -> Self {
        let Waiter { place, terms, since, alive, selectors, reason, holds } = waiter;
        let selectors = selectors.into_iter().map(botfarm_core::Selector::from).collect();
        Self { place, terms: Arc::new(terms.into()), since: since.0, alive, selectors, reason, holds }
    }
}

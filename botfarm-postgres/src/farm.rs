//! What the calls of a farm share.

use std::{sync::Weak, time::Duration};

use botfarm_core::{LeasePolicy, Pepper};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::{calls::Calls, connection::Database, hints::Hints, seals::Seals};

/// What the calls share.
pub(crate) struct Farm {
    pub(crate) database: Database,
    pub(crate) seals: Seals,
    /// By which it knows which operators and tokens it has written itself, and by which it calls leases.
    pub(crate) pepper: Pepper,
    pub(crate) policy: LeasePolicy,
    pub(crate) takeover_grace: Duration,
    pub(crate) keep_history: Duration,
    pub(crate) calls: Calls,
    pub(crate) hints: Hints,
    pub(crate) runtime: Handle,
    /// By which the waiters of this process are told apart.
    pub(crate) process: Uuid,
    /// Itself, for tasks that outlive a call.
    pub(crate) this: Weak<Farm>,
}

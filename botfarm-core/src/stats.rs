//! How the farm is doing.

use crate::name::{Domain, Env, ProjectId};

/// How the farm is doing, all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Its bots, counted by project, env and domain, in that order.
    pub pools: Vec<PoolStats>,
    /// How many requests stand in the queue.
    pub waiting: u64,
}

/// The bots of one project, env and domain. Each is counted once: `total` is the sum of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolStats {
    /// The project.
    pub project: ProjectId,
    /// The env.
    pub env: Env,
    /// The domain.
    pub domain: Domain,
    /// All of them.
    pub total: u64,
    /// Ready, and nobody holds them.
    pub free: u64,
    /// Held.
    pub leased: u64,
    /// Resting.
    pub cooling: u64,
    /// Dirty; nobody holds them, and they do not rest.
    pub dirty: u64,
    /// Broken; nobody holds them, and they do not rest.
    pub broken: u64,
}

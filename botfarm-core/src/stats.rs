//! How the farm is doing.

use crate::name::{Domain, Env, ProjectId};

/// How the farm is doing, all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Its bots, counted by project, env and domain, in that order.
    pub pools: Vec<PoolStats>,
    /// How many requests stand in the queue.
    pub waiting: u64,
}

/// The bots of one project, env and domain. Each is counted once: `total` is the sum of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
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

impl Stats {
    /// These pools, for which so many requests wait.
    #[must_use]
    pub fn new(pools: Vec<PoolStats>, waiting: u64) -> Self {
        Self { pools, waiting }
    }
}

impl PoolStats {
    /// A pool without bots.
    #[must_use]
    pub fn new(project: ProjectId, env: Env, domain: Domain) -> Self {
        Self { project, env, domain, total: 0, free: 0, leased: 0, cooling: 0, dirty: 0, broken: 0 }
    }
}

//! How the service behaves.

use std::{sync::Arc, time::Duration};

use botfarm_core::{
    AllowedNames,
    audit::{Audit, MemoryAudit},
    idempotency::{Idempotency, MemoryIdempotency},
};

use crate::server::{
    auth::{Auth, Proxy},
    idempotency::replay::ReplaySecret,
    layers::{cors::Origin, open::Hosts},
};

/// How the service behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The longest that a request may wait in the queue; one that asks for more waits this long. 300 s.
    pub max_wait: Duration,
    /// The largest body of a request, in bytes. 128 KiB: parsed, it may take thirty times as much, and a core for a
    /// millisecond.
    pub body_limit: usize,
    /// The largest import, in bytes. 16 MiB.
    pub import_limit: usize,
    /// How many rows an import may have. 100,000.
    pub import_rows: usize,
    /// How many requests of one operator or token may wait in the queue at once. 200; ten times as many of all callers
    /// together where nobody is asked who they are.
    pub max_waiters: usize,
    /// How many leases of one operator or token may be in force at once, of those that this process has granted. 1,000;
    /// ten times as many of all callers together where nobody is asked who they are.
    pub max_leases: usize,
    /// The envs and domains that accounts may be created in. Those of the original services.
    pub names: AllowedNames,
    /// Turns idempotency keys into lease ids. Random, which will do for one process with a farm of its own; replicas
    /// that share a store must share it, too.
    pub replay_secret: ReplaySecret,
    /// Keeps what became of changes that come with an idempotency key. In this process's memory, which will do for a farm
    /// that lives there; replicas that share a store must share it, too.
    pub idempotency: Arc<dyn Idempotency>,
    /// Keeps the audit trail. In this process's memory, which will do for a farm that lives there; replicas that share a
    /// store must share it, too.
    pub audit: Arc<dyn Audit>,
    /// Who may call. Everybody.
    pub auth: Auth,
    /// The proxies that are believed in whom they have heard from, by `X-Forwarded-For`. None.
    pub trusted_proxies: Vec<Proxy>,
    /// The names that it answers to where nobody is asked who they are. Those of this machine for itself.
    pub hosts: Hosts,
    /// The sites whose pages may call from a browser, with a token. None: the service says nothing of other sites, and
    /// browsers then keep their pages away.
    pub cors_origins: Vec<Origin>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_wait: Duration::from_mins(5),
            body_limit: 128 << 10,
            import_limit: 16 << 20,
            import_rows: 100_000,
            max_waiters: 200,
            max_leases: 1_000,
            names: AllowedNames::default(),
            replay_secret: ReplaySecret::random(),
            idempotency: Arc::new(MemoryIdempotency::default()),
            audit: Arc::new(MemoryAudit::default()),
            auth: Auth::Off,
            trusted_proxies: Vec::new(),
            hosts: Hosts::default(),
            cors_origins: Vec::new(),
        }
    }
}

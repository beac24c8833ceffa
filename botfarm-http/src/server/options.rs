//! How the service behaves.

use std::time::Duration;

use super::{auth::Auth, cors::Origin, replay::ReplaySecret};

/// How the service behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The longest that a request may wait in the queue; one that asks for more waits this long. 300 s.
    pub max_wait: Duration,
    /// The largest body of a request, in bytes. 1 MiB.
    pub body_limit: usize,
    /// The largest import, in bytes. 64 MiB.
    pub import_limit: usize,
    /// Turns idempotency keys into lease ids. Random, which will do for one process with a farm of its own; replicas
    /// that share a store must share it, too.
    pub replay_secret: ReplaySecret,
    /// Who may call. Everybody.
    pub auth: Auth,
    /// The sites whose pages may call from a browser, with a token. None: the service says nothing of other sites, and
    /// browsers then keep their pages away.
    pub cors_origins: Vec<Origin>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_wait: Duration::from_mins(5),
            body_limit: 1 << 20,
            import_limit: 64 << 20,
            replay_secret: ReplaySecret::random(),
            auth: Auth::Off,
            cors_origins: Vec::new(),
        }
    }
}

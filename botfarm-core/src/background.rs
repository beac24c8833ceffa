//! A runtime of botfarm's own, so that neither heartbeats nor I/O depend on the caller's.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};

/// The process-wide runtime that keeps leases alive, gives them back in `Drop`, and drives the connections of the farms
/// that have any. Started at the first use; two threads; ends with the process.
///
/// A test's own runtime would not do: it ends with the test, and a test that blocks it would lose its lease.
///
/// # Panics
/// When the system refuses to start a thread.
pub fn handle() -> Handle {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name("botfarm")
                .enable_all()
                .build()
                .expect("the system refuses to start a thread")
        })
        .handle()
        .clone()
}

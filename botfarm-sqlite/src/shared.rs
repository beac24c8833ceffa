//! What callers and the writer share: what is to be written, how far the writer has come, and who waits for it.

use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use botfarm_core::{Error as FarmError, Result};
use botfarm_engine::Change;
use rusqlite::Connection;
use tokio::sync::oneshot;

/// What is done with the database between two commits.
pub(crate) type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// What callers and the writer share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) queue: Mutex<Queue>,
    /// There is something in the queue.
    pub(crate) work: Condvar,
    progress: Mutex<Progress>,
    /// Up to where everything is on the disk. A copy of what is in `progress`, to be looked at without a lock.
    kept: AtomicU64,
}

/// What the writer has not taken yet.
#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) changes: Vec<Change>,
    /// How many changes have been appended in all.
    pub(crate) appended: u64,
    pub(crate) jobs: Vec<Job>,
    /// Nobody has the farm any more.
    pub(crate) closing: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("appended", &self.appended).finish_non_exhaustive()
    }
}

/// How far the writer has come.
#[derive(Debug, Default)]
struct Progress {
    kept: u64,
    /// Why nothing can be kept now.
    trouble: Option<String>,
    /// Why nothing is to be kept any more.
    damage: Option<String>,
    /// Who waits, and up to where.
    waiting: Vec<(u64, oneshot::Sender<Result<()>>)>,
}

impl Shared {
    /// What there is to do, and up to where it then has come. Waits for it, at most until `patience` is over.
    pub(crate) fn take(&self, patience: Duration) -> Queue {
        let idle = |queue: &mut Queue| queue.changes.is_empty() && queue.jobs.is_empty() && !queue.closing;
        let queue = self.work.wait_timeout_while(lock(&self.queue), patience, idle);
        let mut queue = queue.unwrap_or_else(PoisonError::into_inner).0;
        Queue {
            changes: std::mem::take(&mut queue.changes),
            appended: queue.appended,
            jobs: std::mem::take(&mut queue.jobs),
            closing: queue.closing,
        }
    }

    /// Everything up to there is on the disk.
    pub(crate) fn has_kept(&self, position: u64) {
        let mut progress = lock(&self.progress);
        (progress.kept, progress.trouble) = (position, None);
        self.kept.store(position, Ordering::Release);
        let done: Vec<_> = progress.waiting.extract_if(.., |(until, _)| *until <= position).collect();
        drop(progress);
        for (_, waiting) in done {
            // Whoever has gone does not want to know.
            let _ = waiting.send(Ok(()));
        }
    }

    /// Nothing can be kept now. Whoever waits is told so.
    pub(crate) fn has_failed(&self, trouble: &str) {
        let mut progress = lock(&self.progress);
        progress.trouble = Some(trouble.to_owned());
        let waiting = std::mem::take(&mut progress.waiting);
        drop(progress);
        for (_, waiting) in waiting {
            let _ = waiting.send(Err(unavailable(trouble)));
        }
    }

    /// The file is damaged: every call is refused from now on. What has been decided is still written.
    pub(crate) fn is_damaged(&self, damage: &str) {
        lock(&self.progress).damage = Some(damage.to_owned());
    }

    pub(crate) async fn kept(&self, position: u64) -> Result<()> {
        if self.kept.load(Ordering::Acquire) >= position {
            return Ok(());
        }
        let kept = {
            let mut progress = lock(&self.progress);
            if progress.kept >= position {
                return Ok(());
            }
            if let Some(trouble) = &progress.trouble {
                return Err(unavailable(trouble));
            }
            let (tell, kept) = oneshot::channel();
            progress.waiting.push((position, tell));
            kept
        };
        kept.await.unwrap_or_else(|_| Err(unavailable("the farm was closed")))
    }

    pub(crate) fn check(&self) -> Result<()> {
        let progress = lock(&self.progress);
        if let Some(damage) = &progress.damage {
            let (detail, retry_after) = (damage.clone(), Duration::from_mins(1));
            return Err(FarmError::Unavailable { detail, retry_after, source: None });
        }
        progress.trouble.as_deref().map_or(Ok(()), |trouble| Err(unavailable(trouble)))
    }
}

pub(crate) fn unavailable(trouble: &str) -> FarmError {
    let detail = format!("the farm's file cannot be written: {trouble}");
    FarmError::Unavailable { detail, retry_after: Duration::from_secs(1), source: None }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

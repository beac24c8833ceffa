//! The journal: what has been appended, what has been kept, and who waits for it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use botfarm_core::{Error as FarmError, Result};
use botfarm_engine::{Change, Journal, Snapshot};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::{
    error::Error,
    file::Lock,
    inspection::Inspection,
    load,
    seal::Seal,
    writer::{Retention, Writer},
};

/// What is done with the database between two commits.
type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// What callers and the writer share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    /// There is something in the queue.
    work: Condvar,
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

    async fn kept(&self, position: u64) -> Result<()> {
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

    fn check(&self) -> Result<()> {
        let progress = lock(&self.progress);
        if let Some(damage) = &progress.damage {
            let (detail, retry_after) = (damage.clone(), Duration::from_mins(1));
            return Err(FarmError::Unavailable { detail, retry_after, source: None });
        }
        progress.trouble.as_deref().map_or(Ok(()), |trouble| Err(unavailable(trouble)))
    }
}

fn unavailable(trouble: &str) -> FarmError {
    let detail = format!("the farm's file cannot be written: {trouble}");
    FarmError::Unavailable { detail, retry_after: Duration::from_secs(1), source: None }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The journal in a file. The writer, a thread, owns the database from the end of [`load`](Journal::load) on.
#[derive(Debug)]
pub(crate) struct FileJournal {
    shared: Arc<Shared>,
    /// Until it is loaded. No two ever ask for it: the mutex is for the compiler.
    unopened: Mutex<Option<(Connection, Retention, Lock)>>,
    path: PathBuf,
    seal: Seal,
    inspection: Option<Inspection>,
    writer: Option<JoinHandle<()>>,
}

impl FileJournal {
    pub(crate) fn new(path: &Path, connection: Connection, seal: Seal, retention: Retention, lock: Lock) -> Self {
        let unopened = Mutex::new(Some((connection, retention, lock)));
        Self { shared: Arc::default(), unopened, path: path.to_owned(), seal, inspection: None, writer: None }
    }

    pub(crate) fn seal(&self) -> &Seal {
        &self.seal
    }

    /// Does something with the database, after everything that has been appended so far was kept.
    ///
    /// # Errors
    /// `Unavailable` when that cannot be kept; what the work gives.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T> {
        let (tell, done) = oneshot::channel();
        let job: Job = Box::new(move |connection| drop(tell.send(work(connection))));
        lock(&self.shared.queue).jobs.push(job);
        self.shared.work.notify_one();
        match done.await {
            Ok(outcome) => outcome.map_err(FarmError::backend),
            // The writer drops what it cannot do.
            Err(_) => Err(self.shared.check().err().unwrap_or_else(|| unavailable("the farm was closed"))),
        }
    }
}

impl Journal for FileJournal {
    type Error = Error;

    fn load(&mut self) -> Result<Snapshot, Error> {
        let unopened = lock(&self.unopened).take();
        let Some((connection, retention, file_lock)) = unopened else { return Ok(Snapshot::default()) };
        let snapshot = load::snapshot(&connection, &self.seal)?;
        let writer = Writer::new(connection, self.seal.clone(), Arc::clone(&self.shared), retention, file_lock);
        let thread = std::thread::Builder::new().name("botfarm-sqlite".to_owned()).spawn(move || writer.run());
        self.writer = Some(thread.map_err(|error| Error::Damage(format!("the system refuses a thread: {error}")))?);
        self.inspection = Some(Inspection::begin(&self.path, Arc::clone(&self.shared))?);
        Ok(snapshot)
    }

    fn append(&self, changes: Vec<Change>) -> u64 {
        let mut queue = lock(&self.shared.queue);
        if changes.is_empty() {
            return queue.appended;
        }
        queue.appended += changes.len() as u64;
        queue.changes.extend(changes);
        let position = queue.appended;
        drop(queue);
        self.shared.work.notify_one();
        position
    }

    async fn kept(&self, position: u64) -> Result<()> {
        self.shared.kept(position).await
    }

    fn check(&self) -> Result<()> {
        self.shared.check()
    }
}

/// Writes what is still to be written, and lets go of the file, so that it can be opened again at once.
impl Drop for FileJournal {
    fn drop(&mut self) {
        drop(self.inspection.take());
        lock(&self.shared.queue).closing = true;
        self.shared.work.notify_one();
        if let Some(writer) = self.writer.take() {
            // It has said what it has to say.
            let _ = writer.join();
        }
    }
}

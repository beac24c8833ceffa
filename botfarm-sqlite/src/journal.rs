//! The journal in a file.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::JoinHandle,
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
    options::Retention,
    seal::Seal,
    shared::{Job, Shared, lock, unavailable},
    writer::Writer,
};

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

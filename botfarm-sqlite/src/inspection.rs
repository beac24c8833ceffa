//! Looks at the histories of a farm that is in use.

use std::{
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::{InterruptHandle, OpenFlags};

use crate::{database, error::Error, shared::Shared};

/// A thread that looks at all pages of the histories once, on a connection of its own: opening a farm does not wait for
/// it. What it finds damaged is refused from then on, as it would have been when it was opened.
pub(crate) struct Inspection {
    thread: Option<JoinHandle<()>>,
    interrupt: InterruptHandle,
}

impl Inspection {
    /// Begins.
    ///
    /// # Errors
    /// When the file cannot be opened once more.
    pub(crate) fn begin(path: &Path, shared: Arc<Shared>) -> Result<Self, Error> {
        let connection = database::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let (interrupt, path) = (connection.get_interrupt_handle(), path.to_owned());
        let look = move || {
            let found = database::check_histories(&connection);
            // Before anybody hears of it: a farm that was closed is one file.
            drop(connection);
            match found {
                Ok(()) => {}
                Err(Error::Sqlite(error))
                    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) => {}
                Err(error) => {
                    let error = error.at(&path);
                    tracing::error!(%error, "the histories of the farm are damaged");
                    shared.is_damaged(&error.to_string());
                }
            }
        };
        let thread = thread::Builder::new().name("botfarm-inspect".to_owned()).spawn(look);
        let thread = thread.map_err(|error| Error::Damage(format!("the system refuses a thread: {error}")))?;
        Ok(Self { thread: Some(thread), interrupt })
    }
}

impl std::fmt::Debug for Inspection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspection").finish_non_exhaustive()
    }
}

/// Ends it.
impl Drop for Inspection {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // Of one that has not begun yet, an interrupt is lost.
        while !thread.is_finished() {
            self.interrupt.interrupt();
            thread::park_timeout(Duration::from_millis(1));
        }
        // It has said what it has to say.
        let _ = thread.join();
    }
}

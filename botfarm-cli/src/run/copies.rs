//! The command's output, copied with its secrets masked.

use std::{
    fs::File,
    io::{self, IsTerminal, PipeReader},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use botfarm_core::Lease;
use tokio::{process, sync::oneshot};

use super::{
    clock::{Moment, come},
    mask::{self, Mask},
    signals::Signals,
};

/// The masked copies of the command's output.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    ended: Arc<AtomicBool>,
    shown: Vec<oneshot::Receiver<()>>,
}

impl Copies {
    /// Sends what the command writes through a mask, where it does not go to a terminal.
    ///
    /// # Errors
    /// When the system has no more pipes or threads.
    pub(crate) fn masked(command: &mut process::Command, lease: &Lease) -> io::Result<Self> {
        let id = lease.id.as_uuid().to_string();
        let passwords = lease.bots.iter().map(|leased| leased.password.expose());
        let mask = Mask::of(passwords.chain([id.as_str()]));
        let mut copies = Self::default();
        if !io::stdout().is_terminal() {
            let (reader, writer) = io::pipe()?;
            command.stdout(writer);
            copies.copy(reader, io::stdout().as_fd().try_clone_to_owned()?, mask.clone())?;
        }
        if !io::stderr().is_terminal() {
            let (reader, writer) = io::pipe()?;
            command.stderr(writer);
            copies.copy(reader, io::stderr().as_fd().try_clone_to_owned()?, mask)?;
        }
        Ok(copies)
    }

    /// On a thread of its own: whoever reads the output may be slow, and the lease is to be renewed all the same.
    fn copy(&mut self, from: PipeReader, to: OwnedFd, mask: Mask) -> io::Result<()> {
        let (tell, shown) = oneshot::channel();
        let ended = Arc::clone(&self.ended);
        thread::Builder::new().name("mask".to_owned()).spawn(move || {
            // Whoever read the output is gone; the command has learned of it by now.
            let _ = mask::copy(from, File::from(to), mask, &ended);
            let _ = tell.send(());
        })?;
        self.shown.push(shown);
        Ok(())
    }

    /// Resolves when all that the command has written is shown, or at a signal, or at `limit`.
    pub(crate) async fn shown(self, signals: &mut Signals, limit: Option<Moment>) {
        self.ended.store(true, Ordering::Release);
        let shown = async {
            for shown in self.shown {
                let _ = shown.await;
            }
        };
        tokio::select! {
            () = shown => {}
            _ = signals.next() => {}
            () = come(limit) => {}
        }
    }
}

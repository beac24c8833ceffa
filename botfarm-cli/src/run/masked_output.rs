//! The command's output, copied with its secrets masked.

use std::{
    env,
    fs::{self, File},
    io::{self, IsTerminal, PipeReader, Write as _},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileTypeExt as _,
    },
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use botfarm_core::{BootTime, Lease};
use tokio::{process, sync::oneshot};

use super::{
    come,
    mask::{self, Mask},
    says_yes,
    signals::Signals,
};

/// The command's output on its way through the mask.
#[derive(Debug, Default)]
pub(crate) struct MaskedOutput {
    ended: Arc<AtomicBool>,
    shown: Vec<oneshot::Receiver<()>>,
}

impl MaskedOutput {
    /// Sends what the command writes through a mask, where it does not go to a terminal.
    ///
    /// # Errors
    /// When the system has no more pipes or threads.
    pub(crate) fn masked(command: &mut process::Command, lease: &Lease) -> io::Result<Self> {
        let id = lease.id.as_uuid().to_string();
        let passwords = lease.bots.iter().map(|leased| leased.password.expose());
        let secrets = || passwords.clone().chain([id.as_str()]);
        tell_ci(secrets());
        let mask = Mask::of(secrets());
        let mut output = Self::default();
        if !io::stdout().is_terminal() {
            let (reader, writer) = io::pipe()?;
            command.stdout(writer);
            output.copy(reader, io::stdout().as_fd().try_clone_to_owned()?, mask.clone())?;
        }
        if !io::stderr().is_terminal() {
            let (reader, writer) = io::pipe()?;
            command.stderr(writer);
            output.copy(reader, io::stderr().as_fd().try_clone_to_owned()?, mask)?;
        }
        Ok(output)
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
    pub(crate) async fn shown(self, signals: &mut Signals, limit: Option<BootTime>) {
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

/// Has the CI service mask these texts in all that the job logs, where it can be told to. Only when stderr is a pipe, as
/// what reads the commands is: a file would keep the secrets.
fn tell_ci<'a>(secrets: impl Iterator<Item = &'a str>) {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| says_yes(&value));
    let command = match () {
        () if is_set("GITHUB_ACTIONS") => "::add-mask::",
        () if is_set("TF_BUILD") => "##vso[task.setsecret]",
        () => return,
    };
    let is_pipe = fs::metadata("/dev/fd/2").is_ok_and(|stderr| stderr.file_type().is_fifo());
    if is_pipe {
        let _ = io::stderr().write_all(commands(command, secrets).as_bytes());
    }
}

/// A command for each text, line by line as logs are.
fn commands<'a>(command: &str, secrets: impl Iterator<Item = &'a str>) -> String {
    let lines = secrets.flat_map(str::lines).filter(|line| !line.trim().is_empty());
    let commands = lines.map(|line| format!("{command}{}\n", line.replace('%', "%25").replace('\r', "%0D")));
    commands.collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ci_service_is_told_each_line_of_a_secret() {
        let told = commands("::add-mask::", ["hunter2", "100% \n\nsecond line"].into_iter());
        assert_eq!(told, "::add-mask::hunter2\n::add-mask::100%25 \n::add-mask::second line\n");
    }
}

//! The command that is run, and all that it starts.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::ExitStatus,
};

use rustix::{
    process::{Pid, Signal, getpgrp, getpid, getsid, kill_process, kill_process_group},
    termios::tcgetpgrp,
};
use tokio::process;

use super::descendants::{self, Descendant};

/// The command under way.
#[derive(Debug)]
pub(crate) struct Child {
    process: process::Child,
    pid: Pid,
    /// Whether it shares botfarm's process group and so the terminal. Otherwise it leads a group of its own.
    at_terminal: bool,
    /// What it had started when it was first told to end; looked up at a terminal alone.
    descendants: Vec<Descendant>,
}

impl Child {
    /// Starts the command. At a terminal it stays in botfarm's process group, so that it may read from the terminal and
    /// gets the terminal's signals; otherwise it leads a group of its own, which botfarm signals as one.
    ///
    /// # Errors
    /// Those of the system, such as `NotFound` and `PermissionDenied`.
    pub(crate) fn start(mut command: process::Command) -> io::Result<Self> {
        let at_terminal = in_foreground();
        if !at_terminal {
            command.process_group(0);
        }
        let child = command.spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let pid = pid.ok_or_else(|| io::Error::other("the command has no process id"))?;
        Ok(Self { process: child, pid, at_terminal, descendants: Vec::new() })
    }

    /// Waits for its end. Cancel safety: may be dropped and called again.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Whether the terminal is its own, to deal with Ctrl-C as it likes.
    pub(crate) fn at_terminal(&self) -> bool {
        self.at_terminal
    }

    /// Passes on a signal that botfarm got, unless the command got it, too.
    pub(crate) fn pass_on(&self, signal: Signal) {
        // Whoever is gone needs no signal, hence no look at the results.
        if !self.at_terminal {
            let _ = kill_process_group(self.pid, signal);
        } else if !sent_to_all(signal) {
            self.signal_child(signal);
        }
    }

    /// Signals the command and all that it has started.
    pub(crate) fn signal_all(&mut self, signal: Signal) {
        if !self.at_terminal {
            let _ = kill_process_group(self.pid, signal);
            return;
        }
        if self.process.id().is_some() {
            self.descendants = descendants::of(self.pid);
        }
        self.signal_child(signal);
        for member in &self.descendants {
            member.signal(signal);
        }
    }

    /// Whether something of it is still there, the command itself or what it has started.
    pub(crate) fn is_there(&self) -> bool {
        self.process.id().is_some()
            || if self.at_terminal {
                self.descendants.iter().any(Descendant::is_there)
            } else {
                descendants::group_is_there(self.pid)
            }
    }

    fn signal_child(&self, signal: Signal) {
        // Once it was waited for, the process id may be somebody else's.
        if self.process.id().is_some() {
            let _ = kill_process(self.pid, signal);
        }
    }
}

/// Whether botfarm is in the terminal's foreground: then Ctrl-C reaches the whole process group.
fn in_foreground() -> bool {
    terminal().is_some_and(|terminal| tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp()))
}

/// Whether the whole process group, and not botfarm alone, got this signal, as far as one can tell.
fn sent_to_all(signal: Signal) -> bool {
    match signal {
        Signal::INT | Signal::QUIT => in_foreground(),
        // A terminal that hangs up is gone. The kernel tells the leader of its session, and that one, usually a shell,
        // the others.
        Signal::HUP => terminal().is_none() && getsid(None) != Ok(getpid()),
        _ => false,
    }
}

fn terminal() -> Option<File> {
    File::open("/dev/tty").ok()
}

/// Looks whether there is such a command, so that nobody queues for a bot only to learn of a typing error.
///
/// # Errors
/// `NotFound`, or `PermissionDenied` when it is there, but not for running.
pub(crate) fn look_up(program: &OsStr) -> io::Result<()> {
    let runs = |path: &Path| -> io::Result<()> {
        let file = fs::metadata(path)?;
        if file.is_file() && file.permissions().mode() & 0o111 != 0 {
            return Ok(());
        }
        Err(io::ErrorKind::PermissionDenied.into())
    };
    if program.as_encoded_bytes().contains(&b'/') {
        return runs(Path::new(program));
    }
    let Some(path) = env::var_os("PATH") else { return Ok(()) };
    let mut found = Err(io::ErrorKind::NotFound.into());
    for folder in env::split_paths(&path) {
        match runs(&folder.join(program)) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {}
            Ok(()) => return Ok(()),
            denied => found = denied,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_looked_up_as_the_system_does() {
        let look_up = |program: &str| super::look_up(OsStr::new(program)).map_err(|error| error.kind());
        assert_eq!(look_up("sh"), Ok(()));
        assert_eq!(look_up("/bin/sh"), Ok(()));
        assert_eq!(look_up("no-such-command"), Err(io::ErrorKind::NotFound));
        assert_eq!(look_up("./no/such/command"), Err(io::ErrorKind::NotFound));
        assert_eq!(look_up("/etc/passwd"), Err(io::ErrorKind::PermissionDenied));
        assert_eq!(look_up("/etc"), Err(io::ErrorKind::PermissionDenied));
    }
}

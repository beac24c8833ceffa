//! A server process that does not outlive the test process.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    account::{Account, Storage},
    template::run,
};

/// How often to look whether a process has come up, or has ended.
pub(super) const LOOK: Duration = Duration::from_millis(5);

/// What can be sent to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// It ends at once, and can do nothing about it. Of PostgreSQL's processes one is enough for all to end, and for the
    /// server to recover as from a crash.
    Kill,
    /// It stands still, with its sockets open.
    Stop,
    /// It goes on.
    Continue,
    /// A PostgreSQL server rolls back what runs, and ends; a backend gives up its statement.
    Interrupt,
    /// A PostgreSQL server ends without a checkpoint, and recovers at the next start.
    Quit,
    /// A backend ends its connection.
    Terminate,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
            Self::Interrupt => "INT",
            Self::Quit => "QUIT",
            Self::Terminate => "TERM",
        }
    }

    /// Sends it to one process.
    pub(super) fn send(self, process: u32) -> io::Result<()> {
        // By the shell's own `kill`: a small system has no other.
        run(Command::new("sh").args(["-c", r#"kill "-$1" "$2""#, "sh", self.name(), &process.to_string()]))
    }

    /// Sends it to a process and its children. The process is stopped first, so that no child is born meanwhile.
    pub(super) fn send_to_group(self, process: u32) -> io::Result<()> {
        let script = r#"
            kill -STOP "$2"
            kill "-$1" $(cat "/proc/$2/task/$2/children" 2>/dev/null || pgrep -P "$2") "$2" || : # a child may be gone
        "#;
        run(Command::new("sh").args(["-c", script, "sh", self.name(), &process.to_string()]))
    }
}

/// A server process, its directory, and the shell that ends the one and removes the other when the test process ends,
/// however it ends. Until the shell knows of the process, a millisecond after its start, nobody would end it; a
/// PostgreSQL whose files are gone then ends itself within a minute.
#[derive(Debug)]
pub(super) struct Daemon {
    account: Account,
    directory: PathBuf,
    server: Option<Child>,
    watchdog: Child,
    /// Closed, it makes the watchdog act. Nobody else has it: std opens pipes such that children do not inherit them.
    line: Option<ChildStdin>,
}

impl Daemon {
    /// A directory without a process yet. `end` is what makes the process end at once.
    pub(super) fn new(storage: Storage, end: Signal) -> io::Result<Self> {
        let account = Account::find()?;
        let directory = account.new_directory(storage)?;
        let mut watchdog = account
            .command("sh")
            .args(["-c", include_str!("watchdog.sh"), "sh"])
            .arg(&directory)
            .arg(end.name())
            .current_dir("/")
            .stdin(Stdio::piped())
            // A test runner waits until nobody has the test's output open any more.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Test runners kill by group, and so does Ctrl-C.
            .process_group(0)
            .spawn()?;
        let line = watchdog.stdin.take();
        Ok(Self { account, directory, server: None, watchdog, line })
    }

    pub(super) fn account(&self) -> Account {
        self.account
    }

    pub(super) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes a file for the server.
    pub(super) fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text)?;
        self.account.give(&path)?;
        Ok(path)
    }

    /// `program`, to run as the server's user in the server's directory.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.account.command(program);
        command.current_dir(&self.directory);
        command
    }

    /// Starts the server. What it says goes to the [log](Self::log).
    pub(super) fn start(&mut self, command: &mut Command) -> io::Result<u32> {
        let log = OpenOptions::new().create(true).append(true).open(self.path("log"))?;
        let server = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0).spawn()?;
        let process = server.id();
        self.server = Some(server);
        self.tell(&process.to_string())?;
        Ok(process)
    }

    /// The process, while it runs.
    pub(super) fn process(&mut self) -> io::Result<Option<u32>> {
        let Some(server) = &mut self.server else { return Ok(None) };
        if server.try_wait()?.is_none() {
            return Ok(Some(server.id()));
        }
        self.server = None;
        self.tell("")?;
        Ok(None)
    }

    /// Waits for the process to end.
    pub(super) async fn ended(&mut self, patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        while self.process()?.is_some() {
            if Instant::now() > deadline {
                return Err(io::Error::other(format!(
                    "the server did not end within {patience:?}; {}",
                    self.last_words()
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// What the server has said.
    pub(super) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("log")).unwrap_or_default()).into_owned()
    }

    /// The end of it.
    pub(super) fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        format!("its log ends with: {}", lines[lines.len().saturating_sub(5)..].join(" | "))
    }

    fn tell(&mut self, process: &str) -> io::Result<()> {
        match &mut self.line {
            Some(line) => writeln!(line, "{process}"),
            None => Ok(()),
        }
    }
}

impl Drop for Daemon {
    /// Leaves nothing behind: neither process, directory, nor port. Takes 0.1 s, of a server that hangs 3 s.
    fn drop(&mut self) {
        self.line = None;
        if let Some(server) = &mut self.server {
            let _ = server.wait();
        }
        let _ = self.watchdog.wait();
    }
}

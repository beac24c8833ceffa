//! A service with bots, and the commands that are run against it.

use std::{ffi::OsStr, fs, process::Stdio, thread, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::{NamedTempFile, TempDir};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::secrets::{has_none, is_secret};

/// Far more than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(50);

pub(crate) const PROJECT: &str = "5f0c7e0a-0000-4000-8000-000000000001";

const BOTFARM: &str = env!("CARGO_BIN_EXE_botfarm");

/// How the password of each bot begins.
const BOTS_PASSWORD: &str = "s3cret of ";

/// A service that is running, on a free port and a farm in a file. When it ends, all that it has logged, at the finest
/// level, is searched for secrets.
pub(crate) struct Service {
    process: Child,
    folder: TempDir,
    log: NamedTempFile,
    pub(crate) url: String,
}

impl Service {
    /// With these bots of stage, each with its labels: `("qa-1", "role=admin;plan=pro")`. The password of `qa-1` is
    /// `s3cret of qa-1`.
    pub(crate) async fn with(bots: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut file = "login,password,project_id,env,labels\n".to_owned();
        for (login, labels) in bots {
            let labels = labels.replace('"', "\"\"");
            file.extend([login, ",", BOTS_PASSWORD, login, ",", PROJECT, ",stage,\"", &labels, "\"\n"]);
        }
        fs::write(folder.path().join("bots.csv"), file).unwrap();
        let mut command = bare(&folder);
        command.args(["serve", "--listen", "127.0.0.1:0", "--bots", "bots.csv"]);
        Self::start(folder, command).await
    }

    /// The one that this command starts in this folder.
    pub(crate) async fn start(folder: TempDir, mut command: Command) -> Self {
        is_secret(BOTS_PASSWORD);
        for (name, value) in command.as_std().get_envs() {
            if matches!(name.to_str(), Some("BOTFARM_KEY" | "BOTFARM_ADMIN_PASSWORD" | "BOTFARM_TOKEN")) {
                is_secret(value.unwrap().to_str().unwrap());
            }
        }
        let log = NamedTempFile::new().unwrap();
        command.env("RUST_LOG", "trace").stdout(Stdio::piped()).stderr(log.reopen().unwrap()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        timeout(PATIENCE, stdout.read_line(&mut line)).await.expect("the service starts").unwrap();
        let url = line.trim().strip_prefix("listening on ").expect("an address").to_owned();
        Self { process, folder, log, url }
    }

    /// A command for this service, without a terminal and with nothing else in its environment.
    pub(crate) fn botfarm(&self, arguments: &[&str]) -> Command {
        let mut command = bare(&self.folder);
        command.env("BOTFARM_URL", &self.url).args(arguments);
        command
    }

    /// The same, at a terminal of its own. What is written to its stdin is typed there; what it prints on the terminal
    /// comes out of its stdout, after a line with its process id.
    pub(crate) fn at_terminal(&self, arguments: &[&str]) -> Command {
        let mut command = at_terminal(&self.folder, arguments);
        command.env("BOTFARM_URL", &self.url);
        command
    }

    /// What a command prints that succeeds.
    pub(crate) async fn output(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = finish(self.botfarm(arguments)).await;
        assert_eq!(code, 0, "{arguments:?}: {stderr}");
        stdout
    }

    /// What a command prints as JSON.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.output(&[arguments, &["--format", "json"]].concat()).await).unwrap()
    }

    /// The bot with this login, as the HTTP API has it.
    pub(crate) async fn bot(&self, login: &str) -> Value {
        self.json(&["users", "--login", login]).await[0].take()
    }

    /// Waits until the bot with this login is as `expected` says.
    pub(crate) async fn until_bot(&self, login: &str, expected: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let bot = self.bot(login).await;
            if expected(&bot) {
                return bot;
            }
            assert!(start.elapsed() < PATIENCE, "still {bot}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Which process it is: `setsid` and `env` have become botfarm.
    pub(crate) fn process_id(&self) -> u32 {
        self.process.id().unwrap()
    }

    /// Kills it; gives all that it has logged, when it has ended.
    pub(crate) async fn end(mut self) -> String {
        self.process.kill().await.unwrap();
        fs::read_to_string(self.log.path()).unwrap()
    }

    /// Writes a file into the folder that the commands run in.
    pub(crate) fn file(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Reads a file of that folder.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.start_kill();
        if thread::panicking() {
            return;
        }
        let log = fs::read_to_string(self.log.path()).unwrap();
        assert!(!log.is_empty(), "a service says something when it starts");
        has_none("the log of the service", &log);
    }
}

/// The command without a terminal, whatever the test was started from, and with no signal ignored.
pub(crate) fn bare(folder: &TempDir) -> Command {
    let mut command = Command::new("setsid");
    command.args(["env", "--default-signal", BOTFARM]);
    surround(&mut command, folder);
    command
}

/// The command at a terminal of its own.
pub(crate) fn at_terminal(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.args(["-c", TERMINAL, BOTFARM]).args(arguments);
    surround(&mut command, folder);
    command
}

fn surround(command: &mut Command, folder: &TempDir) {
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).current_dir(folder);
}

/// Runs a command in a pseudo-terminal, and is the person before it.
const TERMINAL: &str = r#"
import os, pty, select, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv("/usr/bin/env", ["env", "--default-signal"] + sys.argv[1:])
print(pid, flush=True)
inputs = [0, terminal]
while terminal in inputs:
    for ready in select.select(inputs, [], [])[0]:
        try:
            data = os.read(ready, 65536)
        except OSError:
            data = b""
        if ready == 0 and not data:
            inputs.remove(0)
        elif ready == 0:
            os.write(terminal, data)
        elif data:
            os.write(1, data)
        else:
            inputs.remove(terminal)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.exit(code if code >= 0 else 128 - code)
"#;

/// The exit code, and what was printed on stdout and stderr. That is searched for secrets.
pub(crate) async fn finish(mut command: Command) -> (i32, String, String) {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.expect("it ends").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    said(&command, &stdout, &stderr);
    (output.status.code().unwrap(), stdout, stderr)
}

/// Searches what a command has printed for secrets, apart from what it is there to print.
fn said(command: &Command, stdout: &str, stderr: &str) {
    let mut arguments = command.as_std().get_args().filter_map(OsStr::to_str);
    let name = arguments.by_ref().skip_while(|argument| *argument != BOTFARM).nth(1).unwrap_or_default();
    if name == "run" {
        let own = stderr.lines().filter(|line| line.starts_with("botfarm:"));
        return has_none("what `botfarm run` says itself", &own.collect::<Vec<_>>().join("\n"));
    }
    has_none(&format!("what `botfarm {name}` says on stderr"), stderr);
    if !matches!(name, "key" | "token") {
        has_none(&format!("what `botfarm {name}` prints"), stdout);
    }
}

/// A command under way.
pub(crate) struct Running {
    process: Child,
    command: Command,
    pub(crate) stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: JoinHandle<String>,
    said: tokio::sync::watch::Receiver<String>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut stderr = BufReader::new(process.stderr.take().unwrap()).lines();
        let (tell, said) = tokio::sync::watch::channel(String::new());
        let stderr = tokio::spawn(async move {
            while let Some(line) = stderr.next_line().await.unwrap() {
                tell.send_modify(|said| said.extend([&line, "\n"]));
            }
            tell.borrow().clone()
        });
        Self { stdin: process.stdin.take(), process, command, stdout, stderr, said }
    }

    /// The next line on stdout; `None` at its end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let line = timeout(PATIENCE, self.stdout.next_line()).await.expect("a line or the end").unwrap();
        line.map(|line| line.trim_end_matches('\r').to_owned())
    }

    /// Skips lines on stdout up to one that is `expected`.
    pub(crate) async fn until_line(&mut self, expected: &str) {
        while let Some(line) = self.line().await {
            if line == expected {
                return;
            }
        }
        panic!("no line {expected:?}, but on stderr: {}", *self.said.borrow());
    }

    /// Waits at a terminal until this has been printed, which need not be a whole line.
    pub(crate) async fn until_prompt(&mut self, expected: &str) {
        let mut printed = Vec::new();
        let reading = async {
            while !printed.ends_with(expected.as_bytes()) {
                printed.push(self.stdout.get_mut().read_u8().await.unwrap());
            }
        };
        timeout(PATIENCE, reading).await.expect("it asks");
        has_none("what is shown at the terminal", &String::from_utf8_lossy(&printed));
    }

    /// Waits until stderr has `expected` in it `times` times.
    pub(crate) async fn until_said(&mut self, expected: &str, times: usize) {
        let enough = |said: &String| said.matches(expected).count() >= times;
        let said = matches!(timeout(PATIENCE, self.said.wait_for(enough)).await, Ok(Ok(_)));
        assert!(said, "{expected:?} is not among: {}", *self.said.borrow());
    }

    pub(crate) async fn write(&mut self, text: &str) {
        self.stdin.as_mut().unwrap().write_all(text.as_bytes()).await.unwrap();
    }

    /// Types this again and again at a terminal until the command has ended.
    pub(crate) async fn write_until_it_ends(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        let writing = async {
            while stdin.write_all(text.as_bytes()).await.is_ok() {
                sleep(Duration::from_millis(200)).await;
            }
        };
        timeout(PATIENCE, writing).await.expect("it ends");
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().unwrap().cast_signed()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Closes its stdin, and waits for its end: the exit code, the rest of stdout, and all of stderr.
    pub(crate) async fn end(mut self) -> (i32, String, String) {
        drop(self.stdin.take());
        let mut rest = String::new();
        let ended = async {
            let mut stdout = self.stdout.into_inner();
            stdout.read_to_string(&mut rest).await.unwrap();
            (self.process.wait().await.unwrap().code().unwrap(), self.stderr.await.unwrap())
        };
        let (code, stderr) = timeout(PATIENCE, ended).await.expect("it ends");
        said(&self.command, &rest, &stderr);
        (code, rest, stderr)
    }
}

/// Whether there is a process with this id that has not ended.
pub(crate) fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

//! `botfarm run -- cmd`: leases bots, runs a command with them in its environment, and gives them back.

mod child;
mod clock;
mod environment;
mod family;
mod keeper;
mod mask;
mod queue;
mod signals;

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt,
    fs::File,
    io::{self, IsTerminal, PipeReader, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    process::{ExitCode, ExitStatus},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use botfarm_core::{BotFarm, Ending, Error, Lease, LeaseRequest};
use clap::Args;
use rustix::process::Signal;
use tokio::{process, sync::oneshot};

use self::{
    child::Child,
    clock::Moment,
    environment::Mapping,
    keeper::{GRACE, Keeper, Loss},
    mask::Mask,
    signals::Signals,
};
use crate::{client, config::Config, failure::Failure, holder::HeldBy, output::lasting, wanted::Wanted};

/// Everything is over so long after the signal that ended it: CI services kill after 7.5 seconds and more.
const CANCELLED: Duration = Duration::from_millis(6_500);

/// How long what was killed may take to be gone.
const DYING: Duration = Duration::from_millis(200);

/// How soon to try again to release.
const RETRY: Duration = Duration::from_millis(250);

/// How long the release may take when nobody is in a hurry.
const RELEASE: Duration = Duration::from_secs(5);

/// How long the account stays locked after botfarm was killed, unless told otherwise.
const TTL: Duration = Duration::from_mins(1);

/// How long to wait in the queue on CI unless told otherwise.
const CI_WAIT: Duration = Duration::from_mins(10);

/// Exit codes of botfarm's own, beside those of the command.
const LOST: u8 = 123;
pub(crate) const OWN_FAULT: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

const MORE_HELP: &str = "\
Everything after -- is the command and its arguments; no shell is involved.

Environment of the command:
  BOTFARM_USER_LOGIN, _PASSWORD, _ID, _PROJECT_ID, _ENV, _DOMAIN, _LABEL_<KEY>
             the account; with --user admin:… they are BOTFARM_USER_ADMIN_LOGIN and so on
  BOTFARM_LEASE_ID, BOTFARM_URL
             for a command that releases with an outcome itself
  BOTFARM_TOKEN and the other secrets of botfarm's own are taken out.

Exit codes:
  the command's own, or 128 + n when signal n killed it
  123  the lease was lost, so the command was stopped: its result is not valid
  124  no account was free in time
  125  botfarm itself failed
  126  the command cannot be executed
  127  there is no such command

Signals:
  INT, TERM, HUP and QUIT reach the command once, and what is left of it after 5 seconds is
  killed; but after Ctrl-C at a terminal the command takes its time. A second Ctrl-C kills it.

  When botfarm itself is killed (kill -9), the command goes on; its account becomes free after
  the TTL and a rest.

  In CI, write `exec botfarm run …` as the last line of a step, so that a cancelled job reaches
  botfarm at once.";

/// Runs a command with a test account of its own
///
/// The account is given back when the command ends.
#[derive(Debug, Args)]
#[command(after_long_help = MORE_HELP)]
pub(crate) struct Run {
    #[command(flatten)]
    wanted: Wanted,

    /// How long to wait for an account, such as 90s or 5m [default: 10m when CI is set, otherwise 0]
    #[arg(long, value_name = "TIME", env = "BOTFARM_WAIT", value_parser = humantime::parse_duration)]
    wait: Option<Duration>,

    /// How long the account stays locked after botfarm was killed; it is renewed all the time [default: 60s]
    #[arg(long, value_name = "TIME", env = "BOTFARM_TTL", value_parser = humantime::parse_duration)]
    ttl: Option<Duration>,

    #[arg(
        long = "map",
        value_name = "FIELD=VARIABLE",
        help = "A further variable with one of BOTFARM_USER_…, such as LOGIN=CYPRESS_USERNAME; may be repeated"
    )]
    mappings: Vec<Mapping>,

    /// Do not replace passwords in the command's output by ***, as is done on CI where the output is not a terminal
    #[arg(long)]
    no_mask: bool,

    #[command(flatten)]
    held_by: HeldBy,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Run {
    /// Runs the command, and gives its exit code.
    pub(crate) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let roles = self.wanted.roles();
        environment::check_roles(&roles).map_err(Failure::new)?;
        for mapping in &self.mappings {
            mapping.check(&roles).map_err(Failure::new)?;
        }
        let selectors = self.wanted.or(&config.file).selectors().map_err(Failure::new)?;
        let (program, arguments) = self.command.split_first().ok_or_else(|| Failure::new("there is no command"))?;
        child::look_up(program).map_err(|error| unstarted(program, &error))?;

        let mut signals = Signals::listen().map_err(|error| Failure::new(format!("signals: {error}")))?;
        let farm = client::connect(&config).await?;
        let ttl = self.ttl.or(config.file.ttl).unwrap_or(TTL);
        let request = self.held_by.apply(LeaseRequest::many(self.held_by.holder(), selectors).ttl(ttl));
        let wait = self.wait.or(config.file.wait).unwrap_or(if on_ci() { CI_WAIT } else { Duration::ZERO });
        let (lease, asked) = queue::acquire(&*farm, request, wait, &mut signals).await?;

        let mut command = process::Command::new(program);
        command.args(arguments);
        for name in environment::withheld() {
            command.env_remove(name);
        }
        if let Some(url) = Some(client::url(&config)?).filter(|url| url.starts_with("http")) {
            command.env("BOTFARM_URL", url);
        }
        let leased = Leased { farm: &*farm, lease: &lease, signals };
        match environment::variables(&lease, &self.mappings) {
            Ok(variables) => {
                command.envs(variables);
                leased.run(command, asked, !self.no_mask && on_ci()).await
            }
            Err(fault) => leased.give_up(Failure::new(fault)).await,
        }
    }
}

/// Bots that were leased for the command.
struct Leased<'a> {
    farm: &'a dyn BotFarm,
    lease: &'a Lease,
    signals: Signals,
}

impl Leased<'_> {
    /// Runs the command for as long as the lease lives, and gives the bots back.
    async fn run(mut self, mut command: process::Command, asked: Moment, mask: bool) -> Result<ExitCode, Failure> {
        let keeper = Keeper::of(self.lease, asked);
        let program = command.as_std().get_program().to_owned();
        let output = if mask { Output::masked(&mut command, self.lease) } else { Ok(Output::default()) };
        let output = match output {
            Ok(output) => output,
            Err(error) => return self.give_up(Failure::new(format!("the command's output: {error}"))).await,
        };
        // The command is dropped with the ends of the pipes that are the child's.
        let child = match Child::start(command) {
            Ok(child) => child,
            Err(error) => return self.give_up(unstarted(&program, &error)).await,
        };
        let End { status, lost, cancelled } = self.supervise(child, keeper).await;

        let limit = match cancelled {
            Some(at) => at.after(CANCELLED),
            None => Moment::now().after(RELEASE),
        };
        let limit = lost.as_ref().map_or(limit, |Loss { kill_at, .. }| limit.min(*kill_at));
        let Self { farm, lease, signals } = &mut self;
        let released = release(*farm, lease, lost, limit);
        let (lost, ()) = tokio::join!(released, output.shown(signals, cancelled.map(|_| limit)));
        if let Some(why) = lost {
            return Err(Failure::coded(LOST, format!("the result is not valid: {why}")));
        }
        let status = status.map_err(|error| Failure::new(format!("the command's end: {error}")))?;
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        Ok(ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(OWN_FAULT)))
    }

    /// Waits for the end of the command, passes signals on to it, and stops it when it must not go on.
    async fn supervise(&mut self, mut child: Child, keeper: Keeper) -> End {
        let keeping = keeper.keep(self.farm);
        tokio::pin!(keeping);
        let mut status = None;
        let (mut lost, mut cancelled, mut interrupted) = (None, None, false);
        // When to kill what is left of a command that was told to end.
        let mut kill_at: Option<Moment> = None;
        // Until when to wait for those who were killed.
        let mut killed: Option<Moment> = None;
        loop {
            let all_of_it = lost.is_some() || cancelled.is_some() || killed.is_some();
            let given_up = killed.is_some_and(|until| until.left().is_zero());
            if let Some(status) = status.take_if(|_| !all_of_it || given_up || !child.is_there()) {
                return End { status, lost, cancelled };
            }
            tokio::select! {
                ended = child.ended(), if status.is_none() => status = Some(ended),
                // What the command has started is not botfarm's child, and nobody tells of its end.
                () = tokio::time::sleep(Duration::from_millis(10)), if status.is_some() => {}
                signal = self.signals.next() => {
                    if signal == Signal::INT && std::mem::replace(&mut interrupted, true) {
                        kill_at = Some(Moment::now());
                    } else {
                        child.pass_on(signal);
                        // At a terminal the command may do with Ctrl-C as it likes, and for as long as it likes.
                        if !(child.at_terminal() && matches!(signal, Signal::INT | Signal::QUIT)) {
                            let now = Moment::now();
                            cancelled.get_or_insert(now);
                            kill_at.get_or_insert(now.after(GRACE));
                        }
                    }
                }
                gone = &mut keeping, if lost.is_none() => {
                    say(format_args!("stopping the command: {}", gone.why));
                    kill_at = Some(kill_at.map_or(gone.kill_at, |before| before.min(gone.kill_at)));
                    lost = Some(gone);
                    child.signal_all(Signal::TERM);
                }
                () = come(kill_at), if killed.is_none() => {
                    killed = Some(Moment::now().after(DYING));
                    child.signal_all(Signal::KILL);
                }
            }
        }
    }

    /// Gives the bots back unused, because of `failure`.
    async fn give_up(self, failure: Failure) -> Result<ExitCode, Failure> {
        release(self.farm, self.lease, None, Moment::now().after(RELEASE)).await;
        Err(failure)
    }
}

/// Gives the bots back before `limit`. Tells why the lease was lost, if it was.
async fn release(farm: &dyn BotFarm, lease: &Lease, lost: Option<Loss>, limit: Moment) -> Option<String> {
    let released = async {
        loop {
            match farm.release(lease.id, Ending::clean()).await {
                // A service that is being restarted is back in a moment.
                Err(Error::Unavailable { .. }) if limit.left() > RETRY => tokio::time::sleep(RETRY).await,
                released => return released,
            }
        }
    };
    let released = tokio::time::timeout(limit.left(), released).await;
    if let Some(Loss { why, .. }) = lost {
        return Some(why);
    }
    let trouble = match released {
        Ok(Ok(())) => return None,
        Ok(Err(error @ (Error::LeaseLost(_) | Error::NoSuchLease))) => return Some(error.to_string()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the farm does not answer".to_owned(),
    };
    let ttl = lasting(lease.ttl);
    say(format_args!("the lease could not be released ({trouble}); it ends by itself within {ttl}"));
    None
}

/// How the command ended.
struct End {
    status: io::Result<ExitStatus>,
    /// Why the lease was lost, if it was.
    lost: Option<Loss>,
    /// When a signal told the command to end, if one did.
    cancelled: Option<Moment>,
}

/// The masked copies of the command's output.
#[derive(Default)]
struct Output {
    ended: Arc<AtomicBool>,
    shown: Vec<oneshot::Receiver<()>>,
}

impl Output {
    /// Sends what the command writes through a mask, where it does not go to a terminal.
    fn masked(command: &mut process::Command, lease: &Lease) -> io::Result<Self> {
        let id = lease.id.as_uuid().to_string();
        let passwords = lease.bots.iter().map(|leased| leased.password.expose());
        let mask = Mask::of(passwords.chain([id.as_str()]));
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
    async fn shown(self, signals: &mut Signals, limit: Option<Moment>) {
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

/// Resolves when the moment has come; never without one.
async fn come(moment: Option<Moment>) {
    match moment {
        Some(moment) => moment.come().await,
        None => std::future::pending().await,
    }
}

/// Tells why a command was not started.
fn unstarted(program: &OsStr, error: &io::Error) -> Failure {
    let program = program.display();
    match error.kind() {
        io::ErrorKind::NotFound => Failure::coded(NOT_FOUND, format!("{program}: there is no such command")),
        _ => Failure::coded(NOT_EXECUTABLE, format!("{program} cannot be executed: {error}")),
    }
}

/// Whether this is a CI job.
fn on_ci() -> bool {
    env::var_os("CI").is_some_and(|ci| !matches!(ci.as_encoded_bytes(), b"" | b"0" | b"false"))
}

/// Says something to whoever looks at stderr: stdout is the command's. In one write, since it is the command's, too.
fn say(text: impl fmt::Display) {
    let _ = io::stderr().write_all(format!("botfarm: {text}\n").as_bytes());
}

//! The command under its lease, from start to end.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use botfarm_core::{BootTime, BotFarm, Ending, Error, Heartbeat, Lease};
use rustix::process::Signal;
use tokio::process;

use super::{
    LOST, OWN_FAULT,
    child::Child,
    come,
    loss::{BEAT, GRACE, Loss, loss},
    masked_output::MaskedOutput,
    say,
    signals::Signals,
    unstarted,
};
use crate::{failure::Failure, output::lasting};

/// Everything is over so long after the signal that ended it: CI services kill after 7.5 seconds and more.
const CANCELLED: Duration = Duration::from_millis(6_500);

/// How long what was killed may take to be gone.
const DYING: Duration = Duration::from_millis(200);

/// How soon to try again to release.
const RETRY: Duration = Duration::from_millis(250);

/// How long the release may take when nobody is in a hurry.
const RELEASE: Duration = Duration::from_secs(5);

/// Bots that were leased for the command.
pub(crate) struct Leased<'a> {
    pub(crate) farm: &'a dyn BotFarm,
    pub(crate) lease: &'a Lease,
    pub(crate) signals: Signals,
}

impl Leased<'_> {
    /// Runs the command for as long as the lease lives, and gives the bots back.
    ///
    /// # Errors
    /// When the command could not be started, or the lease was lost.
    pub(crate) async fn run(
        mut self,
        mut command: process::Command,
        asked: BootTime,
        mask: bool,
    ) -> Result<ExitCode, Failure> {
        let heartbeat = Heartbeat::of(self.lease, asked).at_least_every(BEAT);
        let program = command.as_std().get_program().to_owned();
        let output = if mask { MaskedOutput::masked(&mut command, self.lease) } else { Ok(MaskedOutput::default()) };
        let output = match output {
            Ok(output) => output,
            Err(error) => return self.give_up(Failure::new(format!("the command's output: {error}"))).await,
        };
        // The command is dropped with the ends of the pipes that are the child's.
        let child = match Child::start(command) {
            Ok(child) => child,
            Err(error) => return self.give_up(unstarted(&program, &error)).await,
        };
        let End { status, lost, cancelled } = self.supervise(child, heartbeat).await;

        let limit = match cancelled {
            Some(at) => at.after(CANCELLED),
            None => BootTime::now().after(RELEASE),
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
    async fn supervise(&mut self, mut child: Child, heartbeat: Heartbeat) -> End {
        let keeping = loss(heartbeat, self.farm);
        tokio::pin!(keeping);
        let mut status = None;
        let (mut lost, mut cancelled, mut interrupted) = (None, None, false);
        // When to kill what is left of a command that was told to end.
        let mut kill_at: Option<BootTime> = None;
        // Until when to wait for those who were killed.
        let mut killed: Option<BootTime> = None;
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
                        kill_at = Some(BootTime::now());
                    } else {
                        child.pass_on(signal);
                        // At a terminal the command may do with Ctrl-C as it likes, and for as long as it likes.
                        if !(child.at_terminal() && matches!(signal, Signal::INT | Signal::QUIT)) {
                            let now = BootTime::now();
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
                    killed = Some(BootTime::now().after(DYING));
                    child.signal_all(Signal::KILL);
                }
            }
        }
    }

    /// Gives the bots back unused.
    ///
    /// # Errors
    /// Always: it is the given one.
    pub(crate) async fn give_up(self, failure: Failure) -> Result<ExitCode, Failure> {
        release(self.farm, self.lease, None, BootTime::now().after(RELEASE)).await;
        Err(failure)
    }
}

/// Gives the bots back before `limit`. Tells why the lease was lost, if it was.
async fn release(farm: &dyn BotFarm, lease: &Lease, lost: Option<Loss>, limit: BootTime) -> Option<String> {
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
    cancelled: Option<BootTime>,
}

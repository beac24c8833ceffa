//! The signals that botfarm passes on.

use std::{fs, io};

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};

/// What people and supervisors end programs with.
const PASSED_ON: [Signal; 4] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];

/// Listens to INT, TERM, HUP and QUIT, so that they do not end botfarm itself.
#[derive(Debug)]
pub(crate) struct Signals {
    streams: Vec<(Signal, unix::Signal)>,
}

impl Signals {
    /// Starts to listen. A signal that botfarm was started to ignore, as `nohup` and `sh`'s `&` do, stays ignored, and
    /// so it does for the command.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub(crate) fn listen() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mut streams = Vec::new();
        for signal in PASSED_ON {
            if !ignored(signal, &status) {
                streams.push((signal, unix::signal(SignalKind::from_raw(signal.as_raw()))?));
            }
        }
        Ok(Self { streams })
    }

    /// The next signal. Cancel safety: none is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            for (signal, stream) in &mut self.streams {
                if stream.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*signal);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// Whether the process with this `/proc/…/status` ignores `signal`: bit n - 1 of the mask `SigIgn` stands for signal n.
fn ignored(signal: Signal, status: &str) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal.as_raw() - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_status() {
        // As under nohup: HUP is signal 1.
        let status = "Name:\tbotfarm\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\nSigCgt:\t0\n";
        let found: Vec<_> = PASSED_ON.into_iter().filter(|signal| ignored(*signal, status)).collect();
        assert_eq!(found, [Signal::HUP]);
        assert!(!ignored(Signal::HUP, ""));
    }
}

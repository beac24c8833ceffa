//! How a farm in a file is opened.

use std::{path::PathBuf, time::Duration};

use botfarm_core::LeasePolicy;

/// How a farm in a file is opened.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    pub(crate) path: PathBuf,
    pub(crate) policy: LeasePolicy,
    pub(crate) grace: Duration,
    pub(crate) keep_history: Duration,
    pub(crate) keep_hand_outs: u32,
}

impl SqliteOptions {
    /// The farm in the file at `path`, with the default policy. It is made when it is not there, and so is its folder.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            policy: LeasePolicy::default(),
            grace: Duration::from_secs(15),
            keep_history: Duration::from_hours(90 * 24),
            keep_hand_outs: 100,
        }
    }

    /// What the farm allows.
    #[must_use]
    pub fn policy(self, policy: LeasePolicy) -> Self {
        Self { policy, ..self }
    }

    /// How long leases live at least after the farm was opened, when they expired while it was not: their holders had
    /// nobody to renew them with. 15 seconds.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// How long ended hand-outs are kept, at least a day, and how many of each bot are kept however old they are, at
    /// least 100. 90 days and 100.
    #[must_use]
    pub fn history(self, keep: Duration, of_each_bot: u32) -> Self {
        Self { keep_history: keep.max(Duration::from_hours(24)), keep_hand_outs: of_each_bot.max(100), ..self }
    }
}

/// Which ended hand-outs are kept: those of this long, and so many of each bot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    pub(crate) keep: Duration,
    pub(crate) of_each_bot: u32,
}

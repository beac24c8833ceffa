//! The in-memory farm: deterministic, without I/O, and with nothing kept across restarts. Unit tests use it as the fake,
//! CI jobs and trials as their farm; it is the reference for those who write another one.
//!
//! ```
//! # use botfarm_core::{BotFarm, Env, LeaseRequest, NewBot, ProjectId, Selector};
//! # use botfarm_memory::MemoryFarm;
//! # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
//! let bot = NewBot::new("ada@test".parse()?, "pw".try_into()?, ProjectId::new(), Env::STAGE);
//! let farm = MemoryFarm::with_bots([bot])?;
//! let lease = farm.acquire(LeaseRequest::new("my test".parse()?, Selector::any().env(Env::STAGE))).await?;
//! assert_eq!(lease.password.expose(), "pw");
//! # Ok(())
//! # }
//! ```
//!
//! It is [`botfarm_engine`], with a journal that keeps nothing.
//!
//! Where this crate stands among the others: [docs/architecture.md](https://github.com/botfarm/botfarm/blob/main/docs/architecture.md).

mod journal;
#[cfg(test)]
mod model;

use std::fmt;

use botfarm_core::{BotId, LeasePolicy, NewBot, Result};
use botfarm_engine::EngineFarm;

use self::journal::Nowhere;

/// A farm that keeps everything in memory, and nothing across restarts.
///
/// A clone is another handle to the same farm. It needs no background task and, unless a call has to wait, no runtime;
/// its clock is tokio's, so that tests may pause it. A call that waits needs a runtime with its timers on.
///
/// It remembers the latest 100,000 hand-outs that have ended, and tells the latest 100 of a bot.
#[derive(Clone)]
pub struct MemoryFarm(EngineFarm<Nowhere>);

impl MemoryFarm {
    /// An empty farm with the default policy.
    #[must_use]
    pub fn new() -> Self {
        Self::with_policy(LeasePolicy::default())
    }

    /// An empty farm.
    #[must_use]
    pub fn with_policy(policy: LeasePolicy) -> Self {
        Self(EngineFarm::new(policy, Nowhere))
    }

    /// A farm of these bots with the default policy: what a unit test wants.
    ///
    /// # Errors
    /// `Invalid` when two of them are the same account.
    pub fn with_bots(bots: impl IntoIterator<Item = NewBot>) -> Result<Self> {
        let farm = Self::new();
        farm.0.turn(|engine| engine.import(bots.into_iter().collect(), false, BotId::new)).0?;
        Ok(farm)
    }
}

impl Default for MemoryFarm {
    fn default() -> Self {
        Self::new()
    }
}

/// How many bots, leases and waiters it has.
impl fmt::Debug for MemoryFarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("MemoryFarm", f)
    }
}

botfarm_core::delegate!(BotFarm for MemoryFarm, farm => farm.0);
botfarm_core::delegate!(Operators for MemoryFarm, farm => farm.0);

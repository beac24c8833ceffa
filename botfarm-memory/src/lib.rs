//! The in-memory farm: deterministic, without I/O, and with nothing kept across restarts. Unit tests use it as the fake,
//! a service without a database as its farm; it is the reference for those who write another one.
//!
//! ```
//! # use botfarm_core::{BotFarm, Env, LeaseRequest, NewBot, ProjectId, Selector};
//! # use botfarm_memory::MemoryFarm;
//! # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
//! let bot = NewBot::new("ada@test".parse()?, "pw".try_into()?, ProjectId::new(), Env::Stage);
//! let farm = MemoryFarm::with_bots([bot])?;
//! let lease = farm.acquire(LeaseRequest::new("my test".parse()?, Selector::any().env(Env::Stage))).await?;
//! assert_eq!(lease.bot().password.expose(), "pw");
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//! Everything is one `State` behind one mutex, and every call is one turn at it: settle what is due by the
//! clock, do the work, ring whoever was served.
//!
//! | file | what it is |
//! |---|---|
//! | `clock` | what time it is, and the timeline of what is due |
//! | `bots` | every bot, with what the farm is doing with it |
//! | `view` | the bots of one selector, on shelves by what the farm is doing with them |
//! | `line` | a sorted map for what comes mostly in order |
//! | `lease` | the leases in force, and those that have ended |
//! | `state` | all of these together; how a bot goes from shelf to shelf, and what is seen of it |
//! | `choice` | which bots a request gets, and what it is told when it gets none |
//! | `queue` | who waits, what is kept for them, and how a freed bot finds the first whom it fits |
//! | `ending` | how leases end |
//! | `roster` | how bots come, change and go |
//! | `place` | one waiter's task: its future, and who looks at the clock for all |
//! | `farm` | [`MemoryFarm`] |
//! | `operators` | who may use a service of it |
//!
//! # Cost
//! The first request of a selector looks at every bot, to make its view; the 256 selectors used last keep theirs. From
//! then on an operation costs O(log n) for each view that its bots are in, whatever the share that is leased and however
//! many wait for other bots.

#[cfg(test)]
mod audit;
mod bots;
mod choice;
mod clock;
mod ending;
mod farm;
mod lease;
mod line;
#[cfg(test)]
mod model;
mod operators;
mod place;
mod queue;
mod roster;
mod state;
mod view;

pub use farm::MemoryFarm;

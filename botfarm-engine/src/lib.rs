//! The state machine of a farm that one process owns. Everything that a farm means is decided here once: the queue,
//! matching, fences, expiry, sticky, twins. Where its changes go is the business of a journal: nowhere in memory, or into
//! a file that has to say "kept" before an answer leaves.
//!
//! [`Engine`] is synchronous and deterministic, and knows no clock, no runtime and no I/O. Time goes in with each turn;
//! out come the answer, who is to be woken, when something is due next, and what has changed.
//!
//! ```
//! use botfarm_core::{BotId, Env, LeasePolicy, LeaseRequest, NewBot, ProjectId, Selector};
//! use botfarm_engine::{Acquired, Engine, Moment};
//!
//! let mut engine = Engine::new(LeasePolicy::default());
//! engine.settle(Moment::from_micros(1_795_555_555_000_000));
//! let bot = NewBot::new("ada@test".parse()?, "pw".try_into()?, ProjectId::new(), Env::STAGE);
//! let bot = engine.create(BotId::new(), bot)?;
//! let request = LeaseRequest::new("my test".parse()?, Selector::any());
//! let Acquired::Granted { lease, .. } = engine.acquire(request)? else { panic!("it is free") };
//! assert_eq!(lease.bot().bot.id, bot.id);
//! assert_eq!(engine.next_due().map(|due| due.timestamp()), Some(lease.expires_at));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! The feature `farm` (on by default) adds [`EngineFarm`]: the engine behind one lock, with tokio's clock and a
//! [`Journal`].
//!
//! # Layout
//! A module imports those above it alone, and its parent or children.
//!
//! | module | what it is |
//! |---|---|
//! | `number`, `moment`, `line` | what is numbered; a point in time; a sorted map for what comes mostly in order |
//! | `timeline` | what will happen by itself |
//! | `assignment`, `bucket` | which bot for which selector; where a bot stands in an index |
//! | `kept` | what a journal keeps: the changes, and what they add up to |
//! | `pools` | the bots of each project, env and domain, counted |
//! | `bots` | every bot, with what the farm is doing with it |
//! | `selector_index` | the bots of one selector, in buckets by what the farm is doing with them |
//! | `lease`, `past` | the leases in force, and those that have ended |
//! | `queue` | who waits, and what is kept for them |
//! | `directory` | who may use a service of the farm |
//! | `engine` | all of these together. `acquire`: how a request gets its lease or a place; `choice`: which bots, and what it is told when there are none; `grant`: how bots find their way to those who wait; `ending`; `inventory`: how bots come, change and go; `list`: what is seen; `operators`; `restore`: a farm as its journal kept it |
//! | `farm` | the engine behind a lock. `clock`, `alarm`: what time it is, and when to look again; `journal`; `place`: one waiter's task |
//!
//! # Cost
//! The first request of a selector looks at every bot, to make its index; the 256 selectors used last keep theirs. From
//! then on an operation costs O(log n) for each index that its bots are in, whatever the share that is leased and
//! however many wait for other bots. Changes cost nothing unless somebody wants to know them.
//!
//! Where this crate stands among the others: [docs/architecture.md](https://github.com/botfarm/botfarm/blob/main/docs/architecture.md).
#![cfg_attr(docsrs, feature(doc_cfg))]

mod assignment;
mod bots;
mod bucket;
mod directory;
mod engine;
#[cfg(feature = "farm")]
mod farm;
mod kept;
mod lease;
mod line;
mod moment;
mod number;
mod past;
mod pools;
mod queue;
mod selector_index;
mod timeline;

pub use engine::{Acquired, Contradiction, Engine};
#[cfg(feature = "farm")]
pub use farm::{EngineFarm, Journal};
pub use kept::{Change, KeptBot, KeptHandOut, KeptLease, KeptLeasedBot, KeptStatus, Snapshot};
pub use moment::Moment;
pub use past::REMEMBERED;

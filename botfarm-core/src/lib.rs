//! The heart of botfarm: what a farm is, what it promises, and the words for it.
//!
//! Five words carry the whole program:
//!
//! | word | meaning |
//! |---|---|
//! | **bot** | one real test account: login, password, project, env, domain, labels |
//! | **farm** | a place that keeps bots and leases them: whatever implements [`BotFarm`] |
//! | **lease** | the exclusive, timed right to use one or more bots: an id (a secret), a holder, an expiry, a fence per bot |
//! | **selector** | which bot is wanted: by id or login, or by project, env, domain, labels, condition |
//! | **backend** | a farm that stores things itself |
//!
//! # Layout
//! `id`, `name`, `text`, `labels`, `secret` are values that cannot be built with a fault in them. `error`, `location` and
//! `faults` are what can go wrong. `bot`, `selector`, `lease`, `terms`, `origin`, `run`, `hand_out`, `queue`, `page`,
//! `stats`, `policy` are what a farm takes and gives. `farm` is the trait with its contract. `heartbeat` keeps a lease alive, on the clock of `boot_time`;
//! `guard` also gives it back. `operators`, `idempotency` and `audit` are what a service keeps besides. `rules` are what all
//! farms decide in the same way. `allowed` says where accounts may be created; `meant` is what somebody may have meant.
//! `keyring` (a feature) seals the passwords of farms that store them. `schema` (a feature) describes values to those who
//! describe an API. `conformance` (a feature) proves a farm.
//!
//! Where this crate stands among the others: [docs/architecture.md](https://github.com/botfarm/botfarm/blob/main/docs/architecture.md).
#![cfg_attr(docsrs, feature(doc_cfg))]

mod allowed;
pub mod audit;
pub mod background;
mod boot_time;
mod bot;
mod condition;
#[cfg(feature = "conformance")]
pub mod conformance;
mod delegate;
mod ending;
mod error;
mod farm;
mod farm_ext;
mod faults;
mod guard;
mod hand_out;
mod heartbeat;
mod id;
pub mod idempotency;
#[cfg(feature = "keyring")]
mod keyring;
mod labels;
mod lease;
mod location;
mod meant;
mod name;
pub mod operators;
mod origin;
mod page;
mod policy;
mod queue;
pub mod rules;
mod run;
#[cfg(feature = "schema")]
pub mod schema;
mod secret;
mod selector;
mod stats;
mod terms;
mod text;
mod time;
mod words;

pub use allowed::AllowedNames;
/// For [`delegate!`] alone.
#[doc(hidden)]
pub use async_trait::async_trait as __async_trait;
pub use boot_time::BootTime;
pub use bot::{Bot, BotChanges, Holding, ImportReport, NewBot};
pub use condition::{BotState, Condition};
pub use ending::{EndReason, Ending, Outcome};
pub use error::{BoxError, Busy, Error, Fault, LostLease, Oldest, Result, Shortage};
pub use farm::BotFarm;
pub use farm_ext::BotFarmExt;
pub use faults::Faults;
pub use guard::LeaseGuard;
pub use hand_out::{HandOut, HandOutFilter, LOOKED_AT};
pub use heartbeat::{Beat, Heartbeat, Stopped};
pub use id::{BotId, Fence, LeaseId};
#[cfg(feature = "keyring")]
pub use keyring::{KeyError, KeyId, Keyring, MasterKey, Pepper, SealedFor, Unreadable};
pub use labels::Labels;
pub use lease::{
    ActiveLease, BotRelease, Fingerprint, Lease, LeaseEnd, LeaseRecord, LeaseRequest, LeasedBot, Revocation,
};
pub use location::{Field, Location, Step};
pub use meant::meant_by;
pub use name::{Domain, Env, ProjectId};
pub use origin::Origin;
pub use page::{BotFilter, Cursor, Page, PageRequest};
pub use policy::{AfterExpiry, EnvPolicy, LeasePolicy};
pub use queue::QueuedRequest;
pub use rules::{Place, nearest};
pub use run::{EndedRun, RunEnding};
pub use secret::Secret;
pub use selector::Selector;
pub use stats::{PoolStats, Stats};
pub use terms::Terms;
pub use text::{Alias, BadText, Holder, JobUrl, Login, Note, Owner, RequestId, Run, StickyKey, Subject};
pub use time::Timestamp;

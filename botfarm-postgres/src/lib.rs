//! The Postgres farm: many processes, one database, no lost and no shared account.
//!
//! # Layout
//! `farm` is the trait, call by call. `claim` takes bots, `queue` serves those who wait, `lease` ends what they hold.
//! `bots`, `import`, `history`, `stats` keep the books. `connection` finds the way to the database and `pool` keeps it
//! open, `schema` and `keys` see to it that it is the right one. `operators` keeps those who may use a service of it.
//! The queue's matching function and the tables are in `migrations/`.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod bots;
mod claim;
mod connection;
mod error;
mod farm;
mod history;
mod import;
mod keys;
mod lease;
mod operators;
mod options;
mod pool;
mod queue;
mod rows;
mod schema;
mod stats;
#[cfg(all(feature = "testing", unix))]
pub mod testing;

pub use farm::PostgresFarm;
pub use options::PostgresOptions;

//! The Postgres farm: many processes, one database, no lost and no shared account.
//!
//! # Layout
//! `farm` is the trait, call by call. `acquire` gets leases, `shortage` says why there is none, `lease` renews and ends
//! them. `queue` looks after the calls that wait in this process, `listener` hears of grants made elsewhere. `bots`,
//! `import`, `history`, `stats` keep the books, `prune` clears away what is old. `connection` finds the way to the database
//! and `pool` keeps it open, `schema` and `keys` see to it that it is the right one. `operators` keeps those who may use a
//! service of it, `changes` what became of those that came with an idempotency key.
//!
//! What happens to a lease is decided in the database, by the functions in `sql/`; the tables are in `migrations/`.
//! docs/postgres.md has the life of a lease and of a waiter, with the locks.
//!
//! Where this crate stands among the others: [docs/architecture.md](https://github.com/botfarm/botfarm/blob/main/docs/architecture.md).
#![cfg_attr(docsrs, feature(doc_cfg))]

mod acquire;
mod aside;
mod audit;
mod bots;
mod calls;
mod changes;
mod connection;
mod error;
mod farm;
mod hints;
mod history;
mod import;
mod keys;
mod lease;
mod listener;
mod operators;
mod options;
mod pool;
mod postgres_farm;
mod prune;
mod queue;
mod rows;
mod runs;
mod schema;
mod seals;
mod seen;
mod selector;
mod shortage;
mod stats;
mod unreadable;

pub use options::PostgresOptions;
pub use postgres_farm::PostgresFarm;

#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod connect;
mod store;
mod variables;

/// What is needed to lease bots, to keep a farm, and to put a service in front of one. What else is in `botfarm_core` is for
/// those who write a farm of their own.
pub use botfarm_core::{
    ActiveLease, AfterExpiry, Alias, AllowedNames, BadText, Bot, BotChanges, BotFarm, BotFarmExt, BotFilter, BotId,
    BotRelease, BotState, BoxError, Busy, Condition, Cursor, Domain, EndReason, Ending, Env, EnvPolicy, Error, Fault,
    Fence, Field, Holder, Holding, ImportReport, JobUrl, Labels, Lease, LeaseEnd, LeaseGuard, LeaseId, LeasePolicy,
    LeaseRecord, LeaseRequest, LeasedBot, Location, Login, LostLease, NewBot, Note, Oldest, Origin, Outcome, Owner,
    Page, PageRequest, PoolStats, ProjectId, RequestId, Result, Revocation, Run, Secret, Selector, Shortage, Stats,
    Step, StickyKey, Subject, Terms, Timestamp, audit, delegate, idempotency, meant_by, operators,
};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use botfarm_core::{KeyError, KeyId, Keyring, MasterKey};
#[cfg(feature = "http")]
pub use botfarm_http::{HttpFarm, HttpFarmBuilder};
#[cfg(feature = "memory")]
pub use botfarm_memory::MemoryFarm;
#[cfg(feature = "postgres")]
pub use botfarm_postgres::{PostgresFarm, PostgresOptions};
#[cfg(feature = "sqlite")]
pub use botfarm_sqlite::{SqliteFarm, SqliteOptions};
#[cfg(feature = "http")]
pub use connect::http_options;
pub use connect::{connect, connect_from_env};
#[cfg(feature = "postgres")]
pub use store::database::postgres_options;
#[cfg(feature = "sqlite")]
pub use store::file::open_sqlite;
pub use store::{Store, StoreOptions};
pub use variables::env_or_file;

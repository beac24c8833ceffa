#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod connect;

pub use botfarm_core::*;
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
#[cfg(feature = "sqlite")]
pub use connect::open_sqlite;
#[cfg(feature = "postgres")]
pub use connect::postgres_options;
pub use connect::{connect, connect_from_env, env_or_file};

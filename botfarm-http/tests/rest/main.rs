//! The service, path by path.

mod access;
mod audit;
mod document;
mod failures;
mod hang_up;
mod headers;
mod health;
mod imports;
mod leases;
mod limits;
mod lists;
mod locks;
mod logins;
mod logs;
mod metrics;
mod names;
mod open;
mod operators;
mod passwords;
mod principals;
mod repeats;
mod runs;
mod scopes;
#[path = "../searched/mod.rs"]
mod searched;
mod seen;
mod service;
mod shutdown;
mod store;
mod users;
mod waits;

//! The service, path by path.

mod failures;
mod hang_up;
mod health;
mod imports;
mod leases;
mod lists;
mod locks;
mod logs;
mod service;
mod shutdown;
mod users;

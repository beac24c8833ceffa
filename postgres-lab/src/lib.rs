//! A real PostgreSQL for tests, wherever they run: as root, in a container, in parallel, and killed half-way.
//!
//! [`Server::shared`] finds or starts a server, once per process: the one that `BOTFARM_TEST_DATABASE_URL` names, else
//! one of the machine's own server binaries, else one in Docker; else the test fails, and says what to install.
//! [`Database::new`] gives each test a database of its own on it.
//!
//! For the failures: [`Cluster`] is a server that may be killed, paused, restarted and replicated; [`Proxy`] is a
//! connection that may be cut, frozen, delayed, or stopped between a commit and its reply; [`Pgbouncer`] is a pooler
//! in between.
//!
//! Everything here panics when it cannot do what it should: a test that lacks its server has failed. Nothing that it
//! starts outlives the test process, even one that is killed: a small shell beside each server waits for the end of the
//! process, ends the server, and removes its files.
//!
//! ```no_run
//! # async fn test() {
//! use postgres_lab::{Database, Point, Proxy};
//!
//! let database = Database::new().await;
//! let proxy = Proxy::to(&database.url()).await;
//! let stop = proxy.cut_at(Point::Reply, "botfarm_acquire(");
//! // … connect to proxy.url(), and lease a bot: it is leased, but the answer is lost.
//! stop.reached().await;
//! # }
//! ```

#![cfg(unix)]

mod account;
mod binaries;
mod cluster;
mod container;
mod daemon;
mod database;
mod pgbouncer;
mod port;
mod proxy;
mod server;
mod shared;
mod template;

pub use self::{
    cluster::Cluster,
    daemon::Signal,
    database::Database,
    pgbouncer::Pgbouncer,
    proxy::{Direction, Point, Proxy, Stop},
    server::Server,
};

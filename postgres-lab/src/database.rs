//! A database of a test's own.

use std::{sync::mpsc, time::Duration};

use botfarm_core::background;
use uuid::Uuid;

use crate::server::Server;

/// An empty database of a test's own, so that all tests run in parallel. Made in 0.1 s.
///
/// Dropping it removes it, with the connections that are still open. A test process that is killed leaves it behind on a
/// server that was given; it is called `botfarm_test_…`, and may be removed by hand.
#[derive(Debug)]
pub struct Database {
    server: Server,
    name: String,
}

impl Database {
    /// A new one on the [shared server](Server::shared).
    ///
    /// # Panics
    /// When there is no server, or it lets nobody make a database.
    pub async fn new() -> Self {
        Self::on(Server::shared().await).await
    }

    /// A new one on this server.
    ///
    /// # Panics
    /// When the server does not let us.
    pub async fn on(server: &Server) -> Self {
        let name = format!("botfarm_test_{}", Uuid::new_v4().simple());
        // Nobody can be connected to template0, which would make this fail.
        let statement = format!("create database {name} template template0");
        if let Err(error) = server.tell(server.home(), statement).await {
            panic!("cannot make a database for the test: {error}");
        }
        Self { server: server.clone(), name }
    }

    /// Its name on the server.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// The server that it is on.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        let lasting = server.is_lasting();
        let (done, removed) = mpsc::channel::<()>();
        background::handle().spawn(async move {
            let statement = format!("drop database if exists {name} with (force)");
            // Whoever has broken the server cannot remove the database; it then goes with the server.
            let _ = server.tell(server.home(), statement).await;
            drop(done);
        });
        // A server of ours goes with its databases; but the process may be about to end.
        if lasting {
            let _ = removed.recv_timeout(Duration::from_secs(5));
        }
    }
}

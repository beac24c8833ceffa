//! A connection pooler between a farm and its server.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use sqlx::ConnectOptions;
use tokio::net::TcpStream;

use crate::{
    account::Storage,
    binaries::output,
    daemon::{Daemon, LOOK, Signal},
    port::free_port,
    server::Server,
};

/// A pgbouncer in transaction mode, with prepared statements, on 127.0.0.1.
#[derive(Debug)]
pub struct Pgbouncer {
    port: u16,
    user: String,
    _daemon: Daemon,
}

impl Pgbouncer {
    /// Starts one before a server.
    ///
    /// # Errors
    /// In words that say what to install, when there is no pgbouncer, or none that knows prepared statements in
    /// transaction mode: that takes 1.21.
    ///
    /// # Panics
    /// When it is there, but does not start.
    pub async fn start(server: &Server) -> Result<Self, String> {
        let program = find()?;
        match Self::try_start(&program, server).await {
            Ok(bouncer) => Ok(bouncer),
            Err(error) => panic!("cannot start pgbouncer: {error}"),
        }
    }

    async fn try_start(program: &Path, server: &Server) -> io::Result<Self> {
        let mut daemon = Daemon::new(Storage::Disk, Signal::Terminate)?;
        let options = server.options("postgres");
        let url = options.to_url_lossy();
        let (host, database_port, user) = (options.get_host(), options.get_port(), options.get_username());
        let password = url.password().map(|password| format!(" password={password}")).unwrap_or_default();
        let port = free_port()?;
        let settings = format!(
            "[databases]\n\
             * = host={host} port={database_port} user={user}{password}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             unix_socket_dir =\n\
             auth_type = any\n\
             pool_mode = transaction\n\
             max_client_conn = 1000\n\
             default_pool_size = 40\n\
             max_prepared_statements = 200\n\
             ignore_startup_parameters = extra_float_digits\n"
        );
        let file = daemon.write("pgbouncer.ini", &settings)?;
        let mut command = daemon.command(program);
        daemon.start(command.arg(file))?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if daemon.process()?.is_none() || Instant::now() > deadline {
                return Err(io::Error::other(daemon.last_words()));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(Self { port, user: user.to_owned(), _daemon: daemon })
    }

    /// The URL of a database through it.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{}@127.0.0.1:{}/{database}?sslmode=disable", self.user, self.port)
    }
}

fn find() -> Result<PathBuf, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Packages put it where only root's PATH looks.
    let program = env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|directory| directory.join("pgbouncer"))
        .find(|program| program.exists())
        .ok_or("there is no pgbouncer; install version 1.21 or later")?;
    let said = output(Command::new(&program).arg("--version")).map_err(|error| error.to_string())?;
    match version(&said) {
        Some(version) if version >= (1, 21) => Ok(program),
        _ => {
            let said = said.lines().next().unwrap_or("this pgbouncer");
            Err(format!("{said} has no prepared statements in transaction mode; install version 1.21 or later"))
        }
    }
}

/// The (1, 18) of `PgBouncer 1.18.0`.
fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.lines().next()?.rsplit(' ').next()?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(version("PgBouncer 1.18.0\nlibevent 2.1.12-stable\n"), Some((1, 18)));
        assert!(version("PgBouncer 1.9.0") < Some((1, 21)));
        assert_eq!(version(""), None);
    }
}

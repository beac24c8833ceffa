//! A server of one's own.

use std::{
    fs, io,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use crate::{
    account::Storage,
    binaries::{Binaries, OLDEST},
    daemon::{Daemon, LOOK, Signal},
    port::free_port,
    server::Server,
    template,
};

/// How long a server may take to start or to stop, such as one that recovers on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Speed before safety: nobody reads the files after the test.
const SETTINGS: [(&str, &str); 7] = [
    ("listen_addresses", "127.0.0.1"),
    ("max_connections", "300"),
    ("fsync", "off"),
    ("full_page_writes", "off"),
    // Not to fill the memory.
    ("max_wal_size", "256MB"),
    // In the directory, and thus removed with it, also after SIGKILL.
    ("dynamic_shared_memory_type", "mmap"),
    ("log_line_prefix", "%m [%p] "),
];

/// A throw-away PostgreSQL server on 127.0.0.1, of the machine's own binaries, that a test may break as it likes.
///
/// It starts in 0.3 s. Dropping it ends it and removes its files, in 0.1 s, during which the thread is blocked.
/// The methods panic when the server does not do within 30 seconds what it should.
#[derive(Debug)]
pub struct Cluster {
    server: Server,
    address: SocketAddr,
    directory: PathBuf,
    binaries: &'static Binaries,
    settings: Vec<String>,
    daemon: Mutex<Daemon>,
}

impl Cluster {
    /// Starts a server with these settings, such as `("fsync", "on")`, in addition to those that make it fast. Its files
    /// are in memory where there is enough of it, unless fsync is on.
    ///
    /// # Panics
    /// When there are no binaries, in words that say what to install.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        done(Self::try_start(needed(), settings).await, "start a server")
    }

    /// Starts a streaming replica of the server at `primary`, which may be a [`Proxy`](crate::Proxy) before it, and waits
    /// until it answers queries.
    ///
    /// # Panics
    /// When there are no binaries, or no server at the address.
    pub async fn standby_of(primary: SocketAddr, settings: &[(&str, &str)]) -> Self {
        done(Self::try_standby(needed(), primary, settings).await, "start a replica")
    }

    pub(super) async fn try_start(binaries: &'static Binaries, settings: &[(&str, &str)]) -> io::Result<Self> {
        let daemon = Daemon::new(storage(settings), Signal::Quit)?;
        let (data, account) = (daemon.path("data"), daemon.account());
        blocking(move || template::copy_to(&data, binaries, account)).await?;
        Self::boot(daemon, binaries, settings).await
    }

    async fn try_standby(
        binaries: &'static Binaries,
        primary: SocketAddr,
        settings: &[(&str, &str)],
    ) -> io::Result<Self> {
        let daemon = Daemon::new(storage(settings), Signal::Quit)?;
        let mut backup = daemon.command(binaries.program("pg_basebackup"));
        backup
            .args(["--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--no-sync", "--no-password"])
            .args(["--username=postgres", &format!("--host={}", primary.ip()), &format!("--port={}", primary.port())])
            .arg("--pgdata")
            .arg(daemon.path("data"));
        blocking(move || template::run(&mut backup)).await?;
        Self::boot(daemon, binaries, settings).await
    }

    async fn boot(mut daemon: Daemon, binaries: &'static Binaries, settings: &[(&str, &str)]) -> io::Result<Self> {
        let directory = daemon.path("");
        let settings: Vec<_> = SETTINGS.iter().chain(settings).map(|(name, value)| format!("{name}={value}")).collect();
        // The port may be taken between the look and the start.
        let mut failure = io::Error::other("it was not tried");
        for _ in 0..3 {
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
            match run_server(&mut daemon, binaries, &settings, address).await {
                Ok(()) => {
                    let server = Server::throw_away(address);
                    return Ok(Self { server, address, directory, binaries, settings, daemon: Mutex::new(daemon) });
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Where to make databases.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Where it listens. It keeps its port when it is restarted.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The directory of its Unix socket, for `host=` in a URL.
    #[must_use]
    pub fn socket_directory(&self) -> &std::path::Path {
        &self.directory
    }

    /// What it has logged.
    pub async fn log(&self) -> String {
        self.daemon.lock().await.log()
    }

    /// Kills the server and all its connections with SIGKILL, as a machine that fails does. Does nothing when it does not
    /// run.
    pub async fn kill(&self) {
        let mut daemon = self.daemon.lock().await;
        done(end(&mut daemon, Signal::Kill).await, "kill the server");
    }

    /// Stops the server: statements that run are rolled back, connections closed, everything written. Does nothing when
    /// it does not run.
    pub async fn stop(&self) {
        let mut daemon = self.daemon.lock().await;
        done(end(&mut daemon, Signal::Interrupt).await, "stop the server");
    }

    /// [Stops](Self::stop) the server if it runs, and starts it. After [`kill`](Self::kill) it recovers from its log of
    /// writes: what was committed is there again.
    pub async fn restart(&self) {
        let mut daemon = self.daemon.lock().await;
        done(self.try_restart(&mut daemon).await, "restart the server");
    }

    async fn try_restart(&self, daemon: &mut Daemon) -> io::Result<()> {
        end(daemon, Signal::Interrupt).await?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match run_server(daemon, self.binaries, &self.settings, self.address).await {
                // While the last process of a killed server dies, the new one refuses the shared memory of the old one.
                Err(_) if Instant::now() < deadline => tokio::time::sleep(LOOK).await,
                result => return result,
            }
        }
    }

    /// Stops all its processes with SIGSTOP: its sockets stay open, and nobody answers.
    pub async fn pause(&self) {
        self.signal(Signal::Stop).await;
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub async fn resume(&self) {
        self.signal(Signal::Continue).await;
    }

    async fn signal(&self, signal: Signal) {
        let mut daemon = self.daemon.lock().await;
        let process = done(daemon.process(), "look for the server").expect("the server does not run");
        done(signal.send_to_group(process), "signal the server");
    }

    /// Sends a signal to one of its backends, by its `pg_backend_pid()`.
    ///
    /// # Panics
    /// When there is no such process.
    pub fn signal_backend(&self, backend: i32, signal: Signal) {
        let process = u32::try_from(backend).expect("the id of a process is positive");
        done(signal.send(process), "signal a backend");
    }

    /// Makes a replica a primary, on a timeline of its own, and waits until it takes writes.
    pub async fn promote(&self) {
        let promoted: io::Result<bool> = self.server.ask("postgres", "select pg_promote(true, 30)").await;
        let promoted = promoted
            .and_then(|promoted| promoted.then_some(()).ok_or_else(|| io::Error::other("it takes longer than 30 s")));
        done(promoted, "promote the replica");
    }
}

/// Starts the server, and waits until it is ready.
async fn run_server(
    daemon: &mut Daemon,
    binaries: &Binaries,
    settings: &[String],
    address: SocketAddr,
) -> io::Result<()> {
    let mut command = daemon.command(binaries.program("postgres"));
    command
        .arg("-D")
        .arg(daemon.path("data"))
        .arg("-k")
        .arg(daemon.path(""))
        .args(["-p", &address.port().to_string()])
        .args(settings.iter().flat_map(|setting| ["-c", setting]));
    let process = daemon.start(&mut command)?;
    let deadline = Instant::now() + PATIENCE;
    while !ready(daemon, process) {
        if daemon.process()?.is_none() {
            return Err(io::Error::other(format!("the server ended; {}", daemon.last_words())));
        }
        if Instant::now() > deadline {
            end(daemon, Signal::Kill).await?;
            return Err(io::Error::other(format!(
                "the server was not ready within {PATIENCE:?}; {}",
                daemon.last_words()
            )));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// The server writes so into the last line; in the first it writes who it is, for the file of a killed one stays.
fn ready(daemon: &Daemon, process: u32) -> bool {
    let text = fs::read_to_string(daemon.path("data/postmaster.pid")).unwrap_or_default();
    text.lines().next() == Some(&process.to_string()) && text.lines().next_back().is_some_and(|it| it.trim() == "ready")
}

/// Where fsync matters, so does the disk.
fn storage(settings: &[(&str, &str)]) -> Storage {
    if settings.contains(&("fsync", "on")) { Storage::Disk } else { Storage::Memory }
}

async fn end(daemon: &mut Daemon, signal: Signal) -> io::Result<()> {
    let Some(process) = daemon.process()? else { return Ok(()) };
    match signal {
        Signal::Kill => signal.send_to_group(process)?,
        _ => signal.send(process)?,
    }
    daemon.ended(PATIENCE).await
}

fn needed() -> &'static Binaries {
    Binaries::find().unwrap_or_else(|found| {
        panic!("this test needs a PostgreSQL server of its own, and {found}; install PostgreSQL {OLDEST} or later")
    })
}

fn done<T>(result: io::Result<T>, what: &str) -> T {
    result.unwrap_or_else(|error| panic!("cannot {what}: {error}"))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

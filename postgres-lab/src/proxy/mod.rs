//! A connection that fails on demand.

mod connection;
mod message;
mod stop;
mod traffic;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use botfarm_core::background;
use parking_lot::Mutex;
use sqlx::{
    ConnectOptions,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

pub use self::{
    connection::Direction,
    stop::{Point, Stop},
};
use self::{
    connection::{Connection, Frozen},
    stop::Stops,
};
use super::{daemon::LOOK, port::free_port};

/// A TCP proxy on 127.0.0.1 before a PostgreSQL server (or a pgbouncer), with which tests play the failures of a
/// network. It runs on [`botfarm_core::background`], and ends when it is dropped.
///
/// It understands PostgreSQL's protocol as far as to find a statement by its text and to stop a connection at a
/// [`Point`] of its way. It refuses encryption, as a server without a certificate does.
#[derive(Debug)]
pub struct Proxy {
    options: PgConnectOptions,
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Mutex<Option<JoinHandle<()>>>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    target: (String, u16),
    delay: AtomicU64,
    open: Mutex<Open>,
    stops: Stops,
    statements: Mutex<Vec<Arc<str>>>,
}

/// The open connections, and what the next one begins as.
#[derive(Debug, Default)]
struct Open {
    connections: Vec<(JoinHandle<()>, watch::Sender<Frozen>)>,
    frozen: Frozen,
}

impl Proxy {
    /// A proxy before the server of this URL, which must be reached by TCP.
    ///
    /// # Panics
    /// When it is no URL of a database, or there is no port to be had.
    pub async fn to(url: &str) -> Self {
        let Ok(options) = url.parse::<PgConnectOptions>() else { panic!("this is not the URL of a database") };
        assert!(options.get_socket().is_none(), "a proxy reaches its server by TCP, not by a socket");
        let target = (options.get_host().to_owned(), options.get_port());
        let shared = Arc::new(Shared {
            target,
            delay: AtomicU64::default(),
            open: Mutex::default(),
            stops: Stops::default(),
            statements: Mutex::default(),
        });
        let port = free_port().unwrap_or_else(|error| panic!("no port for a proxy: {error}"));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let options = options.host("127.0.0.1").port(port).ssl_mode(PgSslMode::Disable);
        let proxy = Self { options, address, shared, listener: Mutex::default() };
        proxy.accept().await;
        proxy
    }

    /// The URL that it was made with, through the proxy.
    #[must_use]
    pub fn url(&self) -> String {
        self.options.to_url_lossy().into()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.open.lock().connections.iter().filter(|(task, _)| !task.is_finished()).count()
    }

    /// The text of every statement that was carried out through it (that a client has bound or sent), in their order.
    #[must_use]
    pub fn statements(&self) -> Vec<Arc<str>> {
        self.shared.statements.lock().clone()
    }

    /// Cuts all connections that are open. New ones may come.
    pub async fn cut(&self) {
        let connections = std::mem::take(&mut self.shared.open.lock().connections);
        for (task, _) in connections {
            task.abort();
            // Its sockets are closed when it has ended.
            let _ = task.await;
        }
    }

    /// Refuses new connections, as a machine on which nothing listens does. Those that are open stay.
    pub async fn refuse(&self) {
        let listener = self.listener.lock().take();
        if let Some(listener) = listener {
            listener.abort();
            let _ = listener.await;
        }
    }

    /// Takes connections again after [`refuse`](Self::refuse).
    ///
    /// # Panics
    /// When somebody else listens on the port by now.
    pub async fn accept(&self) {
        let (address, shared) = (self.address, self.shared.clone());
        // On the runtime of the background, since a socket belongs to the runtime that it was opened on.
        let listening = background::handle().spawn(async move {
            let listener = TcpListener::bind(address).await?;
            io::Result::Ok(tokio::spawn(shared.listen(listener)))
        });
        match listening.await {
            Ok(Ok(listener)) => *self.listener.lock() = Some(listener),
            failure => panic!("the proxy cannot listen on {address}: {failure:?}"),
        }
    }

    /// Everything takes this much longer, in both directions.
    pub fn delay(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.shared.delay.store(micros, Ordering::Relaxed);
    }

    /// Keeps back whatever is sent in a direction, on all connections and on new ones, as a firewall does that has
    /// forgotten them: the sockets stay open, and nobody hears that the other side has closed its own. What is kept back
    /// comes through at a [`thaw`](Self::thaw), or is lost at a [`cut`](Self::cut).
    pub fn freeze(&self, direction: Direction) {
        let mut open = self.shared.open.lock();
        open.frozen = open.frozen.and(direction);
        for (_, frozen) in &open.connections {
            frozen.send_modify(|frozen| *frozen = frozen.and(direction));
        }
    }

    /// As [`freeze`](Self::freeze), but new connections are sound.
    pub fn strand(&self, direction: Direction) {
        for (_, frozen) in &self.shared.open.lock().connections {
            frozen.send_modify(|frozen| *frozen = frozen.and(direction));
        }
    }

    /// Ends [`freeze`](Self::freeze) and [`strand`](Self::strand).
    pub fn thaw(&self) {
        let mut open = self.shared.open.lock();
        open.frozen = Frozen::default();
        for (_, frozen) in &open.connections {
            frozen.send_replace(Frozen::default());
        }
    }

    /// Stops a connection at this point of the next statement whose text contains `text`, until the [`Stop`] is told how
    /// to go on. Others pass.
    pub fn stop_at(&self, point: Point, text: &str) -> Stop {
        self.stop_at_nth(point, text, 0)
    }

    /// As [`stop_at`](Self::stop_at), but `before` such statements pass first. Those that other stops take do not count.
    pub fn stop_at_nth(&self, point: Point, text: &str, before: usize) -> Stop {
        self.shared.stops.add(point, text, before, None)
    }

    /// Cuts the connection at this point of the next statement whose text contains `text`. Once: the next one passes.
    pub fn cut_at(&self, point: Point, text: &str) -> Stop {
        self.shared.stops.add(point, text, 0, Some(stop::Verdict::Cut))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.lock().take() {
            listener.abort();
        }
        for (task, _) in self.shared.open.lock().connections.drain(..) {
            task.abort();
        }
    }
}

impl Shared {
    async fn listen(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok((client, _)) = listener.accept().await else {
                // The client has given up already, or the process has no file left to open.
                tokio::time::sleep(LOOK).await;
                continue;
            };
            let mut open = self.open.lock();
            open.connections.retain(|(task, _)| !task.is_finished());
            let (sender, frozen) = watch::channel(open.frozen);
            let connection = Connection::new(self.clone(), frozen);
            // Its end is what both sides see; how it came to it does not matter.
            let task = tokio::spawn(async move { drop(connection.run(client).await) });
            open.connections.push((task, sender));
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let (host, port) = &self.target;
        let server = TcpStream::connect((host.as_str(), *port)).await?;
        server.set_nodelay(true)?;
        Ok(server)
    }

    async fn wait(&self) {
        match self.delay.load(Ordering::Relaxed) {
            0 => {}
            micros => tokio::time::sleep(Duration::from_micros(micros)).await,
        }
    }
}

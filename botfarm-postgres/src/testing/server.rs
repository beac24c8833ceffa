//! The server on which the databases of tests are made.

use std::{
    env, fmt, io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Decode, PgConnection, Postgres, Type,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::sync::OnceCell;

use super::{
    binaries::{Binaries, OLDEST},
    cluster::Cluster,
    container::Container,
};

const GIVEN: &str = "BOTFARM_TEST_DATABASE_URL";

/// A PostgreSQL server on which databases can be made.
#[derive(Clone)]
pub struct Server {
    options: PgConnectOptions,
    /// Whether it is there after the tests, so that what was made on it must be removed.
    lasting: bool,
}

/// The shared server, with what keeps it alive: it ends with the process.
#[derive(Debug)]
enum Shared {
    Given(Server),
    Cluster(Cluster),
    Container(Container),
}

impl Server {
    /// The server that all tests of this process share, found or started at the first call:
    /// 1. the one that `BOTFARM_TEST_DATABASE_URL` names, as a user who may create databases;
    /// 2. a throw-away one of the machine's own binaries (0.3 s);
    /// 3. a throw-away one in Docker.
    ///
    /// # Panics
    /// When there is none of them, in one line that says what to install.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Shared> = OnceCell::const_new();
        match SHARED.get_or_try_init(Shared::find).await {
            Ok(Shared::Given(server)) => server,
            Ok(Shared::Cluster(cluster)) => cluster.server(),
            Ok(Shared::Container(container)) => container.server(),
            Err(failure) => panic!("{failure}"),
        }
    }

    pub(super) fn throw_away(address: SocketAddr) -> Self {
        let options = PgConnectOptions::new_without_pgpass()
            .host(&address.ip().to_string())
            .port(address.port())
            .username("postgres")
            .ssl_mode(PgSslMode::Disable);
        Self { options, lasting: false }
    }

    /// With the password that a container was given.
    pub(super) fn in_container(host: &str, port: u16, password: &str) -> Self {
        let options = PgConnectOptions::new_without_pgpass()
            .host(host)
            .port(port)
            .username("postgres")
            .password(password)
            .ssl_mode(PgSslMode::Disable);
        Self { options, lasting: false }
    }

    /// The URL of a database on it.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.options(database).to_url_lossy().into()
    }

    pub(super) fn options(&self, database: &str) -> PgConnectOptions {
        self.options.clone().database(database).disable_statement_logging()
    }

    /// Whether it is there after the tests.
    pub(super) const fn is_lasting(&self) -> bool {
        self.lasting
    }

    /// The database to connect to for making others.
    pub(super) fn home(&self) -> &str {
        self.options.get_database().unwrap_or("postgres")
    }

    /// Carries out a statement on a connection of its own.
    pub(super) async fn tell(&self, database: &str, statement: String) -> io::Result<()> {
        let mut connection = self.connect(database).await?;
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.map_err(io::Error::other)?;
        connection.close().await.map_err(io::Error::other)
    }

    /// The one value that a statement gives.
    pub(super) async fn ask<T>(&self, database: &str, statement: &'static str) -> io::Result<T>
    where
        T: for<'a> Decode<'a, Postgres> + Type<Postgres> + Send + Unpin,
    {
        let mut connection = self.connect(database).await?;
        let value = sqlx::query_scalar(statement).fetch_one(&mut connection).await.map_err(io::Error::other)?;
        connection.close().await.map_err(io::Error::other)?;
        Ok(value)
    }

    async fn connect(&self, database: &str) -> io::Result<PgConnection> {
        PgConnection::connect_with(&self.options(database)).await.map_err(io::Error::other)
    }

    /// Waits until it lets one in.
    pub(super) async fn answers(&self, patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            match self.connect(self.home()).await {
                Ok(connection) => return connection.close().await.map_err(io::Error::other),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({}:{})", self.options.get_host(), self.options.get_port())
    }
}

impl Shared {
    async fn find() -> Result<Self, String> {
        if let Some(url) = env::var(GIVEN).ok().filter(|url| !url.is_empty()) {
            return given(&url).await.map(Self::Given).map_err(|error| format!("{GIVEN}: {error}"));
        }
        let no_binaries = match Binaries::find() {
            Ok(binaries) => {
                let cluster = Cluster::try_start(binaries, &[]).await;
                return cluster.map(Self::Cluster).map_err(|error| format!("cannot start PostgreSQL: {error}"));
            }
            Err(found) => found,
        };
        Container::start().await.map(Self::Container).map_err(|no_docker| {
            format!(
                "there is no PostgreSQL to test on: install PostgreSQL {OLDEST} or later (such as `apt-get install \
                 postgresql`), or start Docker, or set {GIVEN} to the URL of a server where databases may be created \
                 ({no_binaries}; {no_docker})"
            )
        })
    }
}

async fn given(url: &str) -> io::Result<Server> {
    // The error of a faulty URL would repeat it, and its password.
    let options = url.parse().map_err(|_| io::Error::other("this is not a URL like postgres://user@host/database"))?;
    let server = Server { options, lasting: true };
    let version: String = server.ask(server.home(), "show server_version_num").await?;
    if version.parse::<u32>().is_ok_and(|version| version / 10_000 >= OLDEST) {
        return Ok(server);
    }
    Err(io::Error::other(format!("the server is too old; it must be PostgreSQL {OLDEST} or later")))
}

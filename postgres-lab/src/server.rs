//! The server on which the databases of tests are made.

use std::{
    fmt, io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Decode, PgConnection, Postgres, Type,
    postgres::{PgConnectOptions, PgSslMode},
};
/// A PostgreSQL server on which databases can be made.
#[derive(Clone)]
pub struct Server {
    options: PgConnectOptions,
    /// Whether it is there after the tests, so that what was made on it must be removed.
    lasting: bool,
}

impl Server {
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

    /// One that is there after the tests.
    pub(super) const fn lasting(options: PgConnectOptions) -> Self {
        Self { options, lasting: true }
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

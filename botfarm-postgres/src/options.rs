//! How to reach the database, and how patient to be with it.

use std::time::Duration;

use botfarm_core::{Error, Field, LeasePolicy, Result};
use sqlx::postgres::PgConnectOptions;
use tokio::runtime::Handle;

/// How to reach the database, and how patient to be with it.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    pub(crate) hosts: Vec<PgConnectOptions>,
    pub(crate) listen: ListenFrom,
    pub(crate) policy: LeasePolicy,
    pub(crate) max_connections: u32,
    pub(crate) connect_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    pub(crate) migrate: bool,
    pub(crate) takeover_grace: Duration,
    pub(crate) keep_history: Duration,
    pub(crate) runtime: Option<Handle>,
}

/// Where notifications come from.
#[derive(Debug, Clone)]
pub(crate) enum ListenFrom {
    /// The same hosts.
    Same,
    /// Hosts of its own: past a connection pooler.
    Direct(Vec<PgConnectOptions>),
    /// Nowhere: look often instead.
    Nowhere,
}

impl PostgresOptions {
    /// Reads a URL `postgres://user:password@host:5432,other:5432/database?sslmode=…`.
    ///
    /// Of several hosts the one that takes writes is used, and found again after a failover; `target_session_attrs` may
    /// be given, and must then be `read-write` or `primary`.
    ///
    /// # Errors
    /// `Invalid` when it is no such URL. The error does not repeat it.
    pub fn new(url: &str) -> Result<Self> {
        Ok(Self {
            hosts: hosts(url)?,
            listen: ListenFrom::Same,
            policy: LeasePolicy::default(),
            max_connections: 10,
            connect_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(5),
            migrate: true,
            takeover_grace: Duration::from_secs(15),
            keep_history: Duration::from_hours(24 * 90),
            runtime: None,
        })
    }

    /// What the farm allows, and how long bots rest.
    #[must_use]
    pub fn policy(self, policy: LeasePolicy) -> Self {
        Self { policy, ..self }
    }

    /// At most this many connections, beside one that listens. 10.
    #[must_use]
    pub fn max_connections(self, max_connections: u32) -> Self {
        Self { max_connections: max_connections.max(2), ..self }
    }

    /// How long to wait for a connection before answering `Unavailable`. 3 seconds.
    #[must_use]
    pub fn connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// How long the server works on one statement before it gives it up; it waits for a lock for at most half of that.
    /// 5 seconds.
    #[must_use]
    pub fn statement_timeout(self, statement_timeout: Duration) -> Self {
        Self { statement_timeout, ..self }
    }

    /// Listens for notifications under this URL. For when the other one leads through a connection pooler in
    /// transaction mode, through which LISTEN does not work. Migrations use it, too.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn listen_url(self, url: &str) -> Result<Self> {
        Ok(Self { listen: ListenFrom::Direct(hosts(url)?), ..self })
    }

    /// Does not listen for notifications, and looks every 200 ms instead. For a connection pooler without a way past it.
    #[must_use]
    pub fn without_listen(self) -> Self {
        Self { listen: ListenFrom::Nowhere, ..self }
    }

    /// Whether to bring the schema up to date when connecting. It does.
    #[must_use]
    pub fn migrate(self, migrate: bool) -> Self {
        Self { migrate, ..self }
    }

    /// After a restart or promotion of the server, expired leases are left alone for this long, so that their holders
    /// can learn of it first. 15 seconds.
    #[must_use]
    pub fn takeover_grace(self, takeover_grace: Duration) -> Self {
        Self { takeover_grace, ..self }
    }

    /// How long histories are kept, beside the last hundred hand-outs of each bot, which stay. 90 days; a day at least, so
    /// that a request that is asked again is not taken for a new one.
    #[must_use]
    pub fn keep_history(self, keep_history: Duration) -> Self {
        Self { keep_history: keep_history.max(Duration::from_hours(24)), ..self }
    }

    /// Runs all I/O on this runtime instead of [`botfarm_core::background`]: for a service, whose runtime outlives the
    /// farm.
    #[must_use]
    pub fn runtime(self, runtime: Handle) -> Self {
        Self { runtime: Some(runtime), ..self }
    }
}

/// The options of each host of a URL that may name several.
fn hosts(url: &str) -> Result<Vec<PgConnectOptions>> {
    let bad = |detail: &str| {
        Error::invalid(Field::other("farm"), format!("{detail}; a farm on Postgres is postgres://user@host/database"))
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(|| bad("is not a URL"))?;
    if !matches!(scheme, "postgres" | "postgresql") {
        return Err(bad("is not a postgres:// URL"));
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut parameters: Vec<&str> = query.split('&').filter(|parameter| !parameter.is_empty()).collect();
    for parameter in &parameters {
        if let Some(attrs) = parameter.strip_prefix("target_session_attrs=")
            && !matches!(attrs, "read-write" | "primary")
        {
            return Err(bad("asks for target_session_attrs other than read-write, but the farm has to write"));
        }
    }
    parameters.retain(|parameter| !parameter.starts_with("target_session_attrs="));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (credentials, names) = match authority.rsplit_once('@') {
        Some((credentials, names)) => (format!("{credentials}@"), names),
        None => (String::new(), authority),
    };
    let query = if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) };
    names
        .split(',')
        .map(|host| {
            let options: PgConnectOptions = format!("{scheme}://{credentials}{host}/{path}{query}")
                .parse()
                .map_err(|_| {
                    bad("cannot be read as a Postgres URL: @ : / ? # and % within a password are written %40 %3A %2F %3F \
                         %23 %25")
                })?;
            // Start-up parameters that a connection pooler does not know are refused by it; none is needed.
            Ok(options.application_name("botfarm").extra_float_digits(None))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_hosts_become_several_ways() {
        let ways = hosts("postgres://me:pw@a:1,b:2/db?target_session_attrs=read-write&sslmode=disable").unwrap();
        let ways: Vec<_> = ways.iter().map(|way| (way.get_host().to_owned(), way.get_port())).collect();
        assert_eq!(ways, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    }

    #[test]
    fn a_bad_url_is_refused_without_being_repeated() {
        for url in ["nonsense", "mysql://me:hunter2@a/db", "postgres://me:hunter2@a/db?target_session_attrs=any"] {
            let error = hosts(url).unwrap_err();
            assert_eq!(error.code(), "invalid");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}

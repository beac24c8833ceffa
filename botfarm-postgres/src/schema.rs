//! The tables: made and brought up to date under a lock, so that many processes can start together.

use sqlx::{Connection, PgConnection, migrate::Migrator};

use crate::connection::repeat;
use crate::{
    connection::{Database, writable},
    error::{Error, Result},
    options::{ListenFrom, PostgresOptions},
};

static MIGRATOR: Migrator = sqlx::migrate!();

/// Brings the schema up to date, waiting for whoever is at it already. Returns how many migrations it lacked.
///
/// # Errors
/// `Unavailable` when no host takes writes.
pub(crate) async fn migrate(options: &PostgresOptions) -> Result<usize> {
    // Past a connection pooler: the lock belongs to a session.
    let hosts = match &options.listen {
        ListenFrom::Direct(hosts) => hosts,
        _ => &options.hosts,
    };
    let host = writable(hosts, options.connect_timeout).await?;
    let mut connection = PgConnection::connect_with(&host).await?;
    let pending = pending(&mut connection).await?;
    if !pending.is_empty() {
        MIGRATOR.run_direct(None, &mut connection, false).await.map_err(Error::corrupt)?;
        tracing::info!(migrations = pending.len(), "the schema is up to date now");
    }
    connection.close().await?;
    Ok(pending.len())
}

/// Refuses a schema that lacks migrations.
pub(crate) async fn check(database: &Database) -> Result<()> {
    let pending = repeat!(database, |connection| pending(&mut *connection).await)?;
    if pending.is_empty() {
        return Ok(());
    }
    let detail = format!("the database lacks the migrations {pending:?}; run `botfarm migrate`");
    Err(botfarm_core::Error::invalid("/farm", detail).into())
}

/// The migrations that the database lacks.
async fn pending(connection: &mut PgConnection) -> Result<Vec<i64>> {
    let known = sqlx::query_scalar!(r#"select to_regclass('_sqlx_migrations') is not null as "known!""#)
        .fetch_one(&mut *connection)
        .await?;
    let applied: Vec<i64> = if known {
        // Not checked at compile time: the table is sqlx's own.
        sqlx::query_scalar("select version from _sqlx_migrations where success").fetch_all(&mut *connection).await?
    } else {
        Vec::new()
    };
    Ok(MIGRATOR.iter().map(|migration| migration.version).filter(|version| !applied.contains(version)).collect())
}

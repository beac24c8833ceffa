//! The tables and functions: made and brought up to date under a lock, so that many processes can start together.

use botfarm_core::Field;
use sqlx::{Connection, PgConnection, migrate::Migrator};

use crate::connection::repeat;
use crate::{
    connection::{Database, writable},
    error::{Error, Result},
    options::{ListenFrom, PostgresOptions},
};

static MIGRATOR: Migrator = sqlx::migrate!();

/// The functions, in an order in which each finds those that it needs.
const FUNCTIONS: &str = concat!(
    include_str!("../sql/epochs.sql"),
    include_str!("../sql/selectors.sql"),
    include_str!("../sql/queue.sql"),
    include_str!("../sql/leases.sql"),
    include_str!("../sql/runs.sql"),
    include_str!("../sql/take.sql"),
    include_str!("../sql/acquire.sql"),
    include_str!("../sql/look.sql"),
    include_str!("../sql/standing.sql"),
    include_str!("../sql/seen.sql"),
    include_str!("../sql/bots.sql"),
    include_str!("../sql/changes.sql"),
    include_str!("../sql/prune.sql"),
);

/// Counted up with each release that changes a function. Programs of two releases may work on one database for a while:
/// the functions of the newer one serve both, so one whose parameters or results change gets another name.
const FUNCTIONS_VERSION: i32 = 1;

/// Brings the schema up to date, waiting for whoever is at it already. Returns how many migrations it lacked.
///
/// # Errors
/// `Unavailable` when no host takes writes; `Invalid` when the database is not one for this program.
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
        MIGRATOR.run_direct(None, &mut connection, false).await.map_err(|error| match error {
            sqlx::migrate::MigrateError::Execute(error) => Error::from(error),
            error => Error::corrupt(error),
        })?;
        tracing::info!(migrations = pending.len(), "the schema is up to date now");
    }
    lay_functions(&mut connection).await?;
    connection.close().await?;
    Ok(pending.len())
}

/// Lays the functions, unless they are there, or those of a newer program are.
async fn lay_functions(connection: &mut PgConnection) -> Result<()> {
    if functions_are_laid(&mut *connection).await? {
        return Ok(());
    }
    let mut transaction = connection.begin().await?;
    sqlx::query!("select pg_advisory_xact_lock(7238463)").fetch_one(&mut *transaction).await?;
    // Somebody else may have been quicker.
    if !functions_are_laid(&mut transaction).await? {
        sqlx::raw_sql(FUNCTIONS).execute(&mut *transaction).await?;
        sqlx::query!(
            "insert into functions (version, digest)
            values ($1, sha256(convert_to($2, 'UTF8')))
            on conflict (one) do update
            set version = excluded.version,
                digest = excluded.digest",
            FUNCTIONS_VERSION,
            FUNCTIONS,
        )
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn functions_are_laid(connection: &mut PgConnection) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"select exists (
            select from functions
            where version > $1
                or version = $1 and digest = sha256(convert_to($2, 'UTF8'))
        ) as "laid!""#,
        FUNCTIONS_VERSION,
        FUNCTIONS,
    )
    .fetch_one(connection)
    .await?)
}

/// Refuses a schema that is not up to date.
pub(crate) async fn check(database: &Database) -> Result<()> {
    let detail = repeat!(database, |connection| {
        let pending = pending(&mut *connection).await?;
        if !pending.is_empty() {
            return Ok(Some(format!("the database lacks the migrations {pending:?}; run `botfarm migrate`")));
        }
        let laid = functions_are_laid(&mut *connection).await?;
        Ok((!laid).then(|| "the database lacks the functions of this program; run `botfarm migrate`".to_owned()))
    })?;
    match detail {
        Some(detail) => Err(botfarm_core::Error::invalid(Field::other("farm"), detail).into()),
        None => Ok(()),
    }
}

/// The migrations that the farm's schema lacks: the first of the search path, whatever other schemas have.
async fn pending(connection: &mut PgConnection) -> Result<Vec<i64>> {
    let refused = |detail: String| Err(botfarm_core::Error::invalid(Field::other("farm"), detail).into());
    let Some(schema) = sqlx::query_scalar!("select current_schema()::text").fetch_one(&mut *connection).await? else {
        return refused("no schema of the database user's search_path exists; create one, or set another path".into());
    };
    let known = sqlx::query_scalar!(
        r#"select to_regclass(format('%I._sqlx_migrations', $1::text)) is not null as "known!""#,
        schema,
    )
    .fetch_one(&mut *connection)
    .await?;
    let applied: Vec<i64> = if known {
        // Not checked at compile time: the table is sqlx's own.
        sqlx::query_scalar("select version from _sqlx_migrations where success").fetch_all(&mut *connection).await?
    } else {
        Vec::new()
    };
    if let Some(newer) = applied.iter().find(|version| !MIGRATOR.version_exists(**version)) {
        return refused(format!("the database has migration {newer}, which this program is too old for; update it"));
    }
    Ok(MIGRATOR.iter().map(|migration| migration.version).filter(|version| !applied.contains(version)).collect())
}

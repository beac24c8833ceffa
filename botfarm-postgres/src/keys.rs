//! The farm's key: found out at start when it is wrong, and replaced while the farm is in use.

use botfarm_core::{BotId, Error as FarmError, KeyError, Keyring};
use uuid::Uuid;

use crate::connection::repeat;
use crate::{
    connection::Database,
    error::{Error, Result},
    farm::Farm,
};

/// Passwords sealed anew in one statement.
const BATCH: i64 = 500;

/// Refuses a key that is not the farm's, before it seals anything. The first key that a farm sees becomes its own.
pub(crate) async fn check(database: &Database, keyring: &Keyring) -> Result<()> {
    let sealed = repeat!(database, |connection| {
        Ok(sqlx::query_scalar!(
            r#"with first as (
                    insert into key_check (sealed)
                    values ($1)
                    on conflict do nothing
                    returning sealed
                )
                select sealed as "sealed!" from first
                union all
                select sealed from key_check
                limit 1"#,
            keyring.seal_check(),
        )
        .fetch_optional(&mut *connection)
        .await?)
    })?;
    // None: another process was first, by a moment.
    let sealed = match sealed {
        Some(sealed) => sealed,
        None => stored(database).await?,
    };
    keyring.open_check(&sealed).map_err(|error| wrong_key(&error))
}

async fn stored(database: &Database) -> Result<Vec<u8>> {
    repeat!(database, |connection| Ok(sqlx::query_scalar!("select sealed from key_check")
        .fetch_one(&mut *connection)
        .await?))
}

fn wrong_key(error: &KeyError) -> Error {
    FarmError::Forbidden { detail: format!("the key is not that of this farm: {error}") }.into()
}

/// Seals anew whatever is not sealed under the current key.
pub(crate) async fn rekey(farm: &Farm) -> Result<u64> {
    let mut resealed = 0;
    let mut after = Uuid::nil();
    loop {
        let rows = repeat!(farm.database, |connection| {
            Ok(sqlx::query!("select id, sealed from bots where id > $1 order by id limit $2", after, BATCH)
                .fetch_all(&mut *connection)
                .await?)
        })?;
        let Some(last) = rows.last() else { break };
        after = last.id;
        let (mut ids, mut old, mut new) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            if farm.keyring.is_current(&row.sealed) {
                continue;
            }
            let bot = BotId::from(row.id);
            let password = farm.keyring.open(&row.sealed, bot).map_err(|error| wrong_key(&error))?;
            ids.push(row.id);
            new.push(farm.keyring.seal(&password, bot));
            old.push(row.sealed);
        }
        resealed += repeat!(farm.database, |connection| {
            Ok(sqlx::query!(
                "update bots b
                    set sealed = n.new
                    from unnest($1::uuid[], $2::bytea[], $3::bytea[]) n (id, old, new)
                    where b.id = n.id
                        -- Unless the password was changed meanwhile: then it was sealed under the current key.
                        and b.sealed = n.old",
                &ids,
                &old,
                &new,
            )
            .execute(&mut *connection)
            .await?
            .rows_affected())
        })?;
    }
    repeat!(farm.database, |connection| {
        sqlx::query!("update key_check set sealed = $1", farm.keyring.seal_check()).execute(&mut *connection).await?;
        Ok(())
    })?;
    Ok(resealed)
}

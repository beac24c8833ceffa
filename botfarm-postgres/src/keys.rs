//! The farm's key: found out at start when it is wrong, and replaced while the farm is in use.

use botfarm_core::{Error as FarmError, KeyError, Keyring, Pepper, SealedFor, Unreadable};
use uuid::Uuid;

use crate::connection::repeat;
use crate::{
    connection::Database,
    error::{Error, Result},
    farm::Farm,
};

/// Passwords sealed anew in one statement.
const BATCH: i64 = 500;

/// Refuses a key that is not the farm's, before it seals anything. The first key that a farm sees becomes its own. Gives
/// the farm's pepper.
pub(crate) async fn check(database: &Database, keyring: &Keyring) -> Result<Pepper> {
    repeat!(database, |connection| {
        sqlx::query!(
            "insert into key_check (sealed, pepper)
            values ($1, $2)
            on conflict do nothing",
            keyring.seal_check(),
            Pepper::generate().seal(keyring),
        )
        .execute(&mut *connection)
        .await?;
        Ok(())
    })?;
    let kept = repeat!(database, |connection| {
        Ok(sqlx::query!("select sealed, pepper from key_check").fetch_one(&mut *connection).await?)
    })?;
    keyring.open_check(&kept.sealed).map_err(|error| wrong_key(&error))?;
    Pepper::open(&kept.pepper, keyring).map_err(|error| wrong_key(&error))
}

fn wrong_key(error: &KeyError) -> Error {
    FarmError::Forbidden { detail: format!("the key is not that of this farm: {error}") }.into()
}

/// Seals anew whatever is not sealed under the current key.
pub(crate) async fn rekey(farm: &Farm) -> Result<u64> {
    let keyring = &farm.seals.keyring;
    let (mut resealed, mut unreadable) = (0, Unreadable::default());
    let mut after = Uuid::nil();
    loop {
        let rows = repeat!(farm.database, |connection| {
            Ok(sqlx::query!(
                "select b.id, b.sealed, b.generation, b.login, p.env, p.project
                from bots b
                join bot_slots s on s.bot_id = b.id
                join pools p on p.id = s.pool_id
                where b.id > $1
                order by b.id
                limit $2",
                after,
                BATCH,
            )
            .fetch_all(&mut *connection)
            .await?)
        })?;
        let Some(last) = rows.last() else { break };
        after = last.id;
        let (mut ids, mut old, mut new) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            if keyring.is_current(&row.sealed) {
                continue;
            }
            let of = SealedFor {
                bot: row.id.into(),
                env: &row.env,
                login: &row.login,
                project: &row.project,
                generation: row.generation,
            };
            match keyring.open(&row.sealed, &of) {
                Ok(password) => {
                    ids.push(row.id);
                    new.push(keyring.seal(&password, &of));
                    old.push(row.sealed);
                }
                // One that was tampered with keeps no other from its new key.
                Err(error) => unreadable.push(of.bot, &error),
            }
        }
        resealed += repeat!(farm.database, |connection| {
            Ok(sqlx::query!(
                "update bots b
                    set sealed = n.new
                    from unnest($1::uuid[], $2::bytea[], $3::bytea[]) n (id, old, new)
                    where b.id = n.id
                        -- Unless it was sealed anew meanwhile: then it was under the current key.
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
        sqlx::query!("update key_check set sealed = $1, pepper = $2", keyring.seal_check(), farm.pepper.seal(keyring),)
            .execute(&mut *connection)
            .await?;
        Ok(())
    })?;
    Ok(unreadable.or_resealed(resealed)?)
}

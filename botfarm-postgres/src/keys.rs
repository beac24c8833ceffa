//! The farm's key: found out at start when it is wrong, and replaced while the farm is in use.

use botfarm_core::{BotId, Error as FarmError, KeyError, Keyring, Pepper};
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
    let (mut resealed, mut unreadable) = (0, Unreadable::default());
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
            match farm.keyring.open(&row.sealed, bot) {
                Ok(password) => {
                    ids.push(row.id);
                    new.push(farm.keyring.seal(&password, bot));
                    old.push(row.sealed);
                }
                // One that was tampered with keeps no other from its new key.
                Err(error) => unreadable.push(bot, &error),
            }
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
        sqlx::query!(
            "update key_check set sealed = $1, pepper = $2",
            farm.keyring.seal_check(),
            farm.pepper.seal(&farm.keyring),
        )
        .execute(&mut *connection)
        .await?;
        Ok(())
    })?;
    if unreadable.count == 0 { Ok(resealed) } else { Err(unreadable.error(resealed)) }
}

/// So many accounts are named whose password could not be read.
const NAMED: usize = 20;

/// The accounts whose password could not be read.
#[derive(Debug, Default)]
struct Unreadable {
    count: usize,
    named: Vec<String>,
}

impl Unreadable {
    fn push(&mut self, bot: BotId, error: &KeyError) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(format!("{bot} ({error})"));
        }
    }

    fn error(&self, resealed: u64) -> Error {
        let more = match self.count - self.named.len() {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let detail = format!(
            "the password of {} accounts could not be read: {}{more}; {resealed} others are sealed under the current key \
             now; keep a key that is missing here, and give the accounts that were changed their passwords again",
            self.count,
            self.named.join(", ")
        );
        FarmError::Forbidden { detail }.into()
    }
}

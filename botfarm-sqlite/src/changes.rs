//! What became of changes that came with an idempotency key.

use async_trait::async_trait;
use botfarm_core::{
    Result,
    idempotency::{ChangeEnd, Idempotency, KEPT, KeyedChange, Known, LONGEST, OWN},
};
use chrono::Utc;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::{error::Error, farm::SqliteFarm};

#[async_trait]
impl Idempotency for SqliteFarm {
    async fn begin(&self, change: &KeyedChange) -> Result<Known> {
        let change = *change;
        self.between_commits(move |connection| begin(connection, &change, Utc::now().timestamp_micros())).await
    }

    async fn end(&self, change: &KeyedChange, how: ChangeEnd) -> Result<()> {
        let change = *change;
        self.between_commits(move |connection| end(connection, &change, how)).await
    }
}

fn begin(connection: &mut Connection, change: &KeyedChange, now: i64) -> Result<Known, Error> {
    let KeyedChange { caller, key, request, attempt } = change;
    let micros = |span: std::time::Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    let transaction = connection.transaction()?;
    transaction.prepare_cached("delete from changes where begun_at < ?1")?.execute([now - micros(KEPT)])?;
    let known = transaction
        .prepare_cached(
            "select request, attempt, begun_at, answer, unknown from changes where caller = ?1 and key = ?2",
        )?
        .query_row(params![caller, key], |row| {
            let (of, by, since): ([u8; 32], [u8; 16], i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let (answer, unknown): (Option<Vec<u8>>, bool) = (row.get(3)?, row.get(4)?);
            Ok(match answer {
                _ if of != *request => Known::Reused,
                Some(answer) => Known::Answered(answer),
                None if unknown => Known::Unknown,
                None if by == *attempt.as_bytes() => Known::New,
                None if now - since >= micros(LONGEST) => Known::Unknown,
                None => Known::UnderWay,
            })
        })
        .optional()?;
    if let Some(known) = known {
        transaction.commit()?;
        return Ok(known);
    }
    transaction
        .prepare_cached("insert into changes (caller, key, request, attempt, begun_at) values (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![caller, key, request, attempt.as_bytes(), now])?;
    transaction
        .prepare_cached(
            "delete from changes
             where caller = ?1
               and key in (select key from changes where caller = ?1 order by begun_at desc limit -1 offset ?2)",
        )?
        .execute(params![caller, i64::try_from(OWN).unwrap_or(i64::MAX)])?;
    transaction.commit()?;
    Ok(Known::New)
}

fn end(connection: &Connection, change: &KeyedChange, how: ChangeEnd) -> Result<(), Error> {
    let KeyedChange { caller, key, attempt, .. } = change;
    let of = "where caller = ?1 and key = ?2 and attempt = ?3";
    match how {
        ChangeEnd::Refused => connection.prepare_cached(&format!("delete from changes {of}"))?.execute(params![
            caller,
            key,
            attempt.as_bytes()
        ])?,
        ChangeEnd::Answered(answer) => connection
            .prepare_cached(&format!("update changes set answer = ?4 {of}"))?
            .execute(params![caller, key, attempt.as_bytes(), answer])?,
        ChangeEnd::Unknown => connection
            .prepare_cached(&format!("update changes set unknown = 1 {of}"))?
            .execute(params![caller, key, attempt.as_bytes()])?,
    };
    Ok(())
}

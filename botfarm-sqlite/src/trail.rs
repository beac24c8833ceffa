//! The rows of the audit trail.

use botfarm_core::{
    Page,
    audit::{Act, AuditEntry, AuditFilter, EntryId, LOOKED_AT, page_of},
};
use rusqlite::{Connection, OptionalExtension as _, params};
use uuid::Uuid;

use crate::{
    error::Error,
    load::{id, optional, origin, text, timestamp},
};

pub(crate) fn record(connection: &mut Connection, acts: &[Act], now: i64) -> Result<(), Error> {
    let transaction = connection.transaction()?;
    for act in acts {
        transaction
            .prepare_cached(
                "insert into audit (id, at, principal, name, action, object, address, request, result, count)
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 on conflict (id) do nothing",
            )?
            .execute(params![
                act.id.0.as_bytes(),
                now,
                act.principal.as_deref(),
                act.name.as_deref(),
                act.action.as_str(),
                act.object.as_deref(),
                act.origin.address.map(|address| address.to_string()),
                act.origin.request.as_deref(),
                act.result.as_str(),
                act.count,
            ])?;
    }
    transaction.commit()?;
    Ok(())
}

pub(crate) fn recorded(
    connection: &Connection,
    filter: &AuditFilter,
    before: Option<EntryId>,
    limit: usize,
) -> Result<Page<AuditEntry>, Error> {
    // Down to where it looks, unless that is the end.
    let until: Option<[u8; 16]> = connection
        .prepare_cached("select id from audit where ?1 is null or id < ?1 order by id desc limit 1 offset ?2")?
        .query_row(params![before.map(|before| *before.0.as_bytes()), number(LOOKED_AT - 1)], |row| row.get(0))
        .optional()?;
    let mut statement = connection.prepare_cached(
        "select *
         from audit
         where (?1 is null or id < ?1)
           and (?2 is null or ?2 in (principal, name))
           and (?3 is null or action = ?3)
           and (?4 is null or object = ?4)
           and (?5 is null or at >= ?5)
           and (?7 is null or id >= ?7)
         order by id desc
         limit ?6",
    )?;
    let mut rows = statement.query(params![
        before.map(|before| *before.0.as_bytes()),
        filter.principal.as_deref(),
        filter.action.as_deref(),
        filter.object.as_deref(),
        filter.since.map(|since| since.timestamp_micros()),
        number(limit + 1),
        until,
    ])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let act = Act {
            id: EntryId(id(row, "id")?),
            principal: optional(row, "principal")?,
            name: optional(row, "name")?,
            object: optional(row, "object")?,
            origin: origin(row)?,
            count: row.get("count")?,
            ..Act::new(text(row, "action")?, text(row, "result")?)
        };
        entries.push(AuditEntry { at: timestamp(row.get("at")?), act });
    }
    Ok(page_of(entries, limit, until.map(|until| EntryId(Uuid::from_bytes(until)))))
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Forgets so many entries from before a time at most. Tells whether there may be more.
pub(crate) fn prune(connection: &Connection, before: i64, most: u16) -> Result<bool, Error> {
    let gone = connection
        .prepare_cached("delete from audit where id in (select id from audit where at < ?1 order by at limit ?2)")?
        .execute(params![before, most])?;
    Ok(gone == usize::from(most))
}

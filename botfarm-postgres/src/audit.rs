//! The audit trail.

use async_trait::async_trait;
use botfarm_core::{
    Cursor, Origin, Page, PageRequest, Result as FarmResult,
    audit::{Act, Audit, AuditEntry, AuditFilter, EntryId, LOOKED_AT, page_of},
};

use crate::connection::repeat;
use crate::{
    error::{Error, Result},
    farm::Farm,
    postgres_farm::PostgresFarm,
    rows,
};

impl Farm {
    async fn record(&self, acts: &[Act]) -> Result<()> {
        // An act has an id of its own: a statement that is repeated, since its answer was lost, records it once.
        let rows: Vec<_> = acts.iter().map(row).collect();
        let rows = serde_json::Value::Array(rows);
        repeat!(self.database, |connection| {
            sqlx::query!(
                "insert into audit (id, at, principal, name, action, object, address, request, result, count)
                select
                    r.id, clock_timestamp(), r.principal, r.name, r.action, r.object, r.address, r.request, r.result,
                    r.count
                from jsonb_to_recordset($1) r (
                    id uuid, principal text, name text, action text, object text, address text, request text,
                    result text, count integer
                )
                on conflict (id) do nothing",
                &rows,
            )
            .execute(&mut *connection)
            .await?;
            Ok(())
        })
    }

    async fn recorded(&self, filter: &AuditFilter, page: &PageRequest) -> Result<Page<AuditEntry>> {
        let limit = page.checked_limit()?;
        let before = page.cursor.as_ref().map(Cursor::entry).transpose()?;
        let before = before.map(|before| before.0);
        // Down to where it looks, unless that is the end.
        let until = repeat!(self.database, |connection| {
            Ok(sqlx::query_scalar!(
                "select id
                from audit
                where ($1::uuid is null or id < $1)
                order by id desc
                limit 1
                offset $2",
                before,
                number(LOOKED_AT - 1),
            )
            .fetch_optional(&mut *connection)
            .await?)
        })?;
        let rows = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                "select *
                from audit
                where ($1::uuid is null or id < $1)
                    and ($2::text is null or $2 in (principal, name))
                    and ($3::text is null or action = $3)
                    and ($4::text is null or object = $4)
                    and ($5::timestamptz is null or at >= $5)
                    and ($7::uuid is null or id >= $7)
                order by id desc
                limit $6",
                before,
                filter.principal.as_deref(),
                filter.action.as_deref(),
                filter.object.as_deref(),
                filter.since,
                number(limit + 1),
                until,
            )
            .fetch_all(&mut *connection)
            .await?)
        })?;
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            let address = row.address.as_deref().map(str::parse).transpose().map_err(Error::corrupt)?;
            let act = Act {
                id: EntryId(row.id),
                principal: row.principal.as_deref().map(rows::text).transpose()?,
                name: row.name.as_deref().map(rows::text).transpose()?,
                object: row.object.as_deref().map(rows::text).transpose()?,
                origin: Origin { address, request: row.request.as_deref().map(rows::text).transpose()? },
                count: u32::try_from(row.count).map_err(Error::corrupt)?,
                ..Act::new(rows::text(&row.action)?, rows::text(&row.result)?)
            };
            entries.push(AuditEntry { at: row.at, act });
        }
        Ok(page_of(entries, limit, until.map(EntryId)))
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn row(act: &Act) -> serde_json::Value {
    let Act { id, principal, name, action, object, origin, result, count } = act;
    serde_json::json!({
        "id": id.0,
        "principal": principal,
        "name": name,
        "action": action,
        "object": object,
        "address": origin.address,
        "request": origin.request,
        "result": result,
        "count": count,
    })
}

#[async_trait]
impl Audit for PostgresFarm {
    async fn record(&self, acts: Vec<Act>) -> FarmResult<()> {
        self.run(async move |farm| farm.record(&acts).await).await
    }

    async fn recorded(&self, filter: &AuditFilter, page: &PageRequest) -> FarmResult<Page<AuditEntry>> {
        let (filter, page) = (filter.clone(), page.clone());
        self.run(async move |farm| farm.recorded(&filter, &page).await).await
    }
}

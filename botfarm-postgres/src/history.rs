//! Who had a bot, and when.

use botfarm_core::{BotId, Cursor, Error as FarmError, Fence, LeaseEnd, LeaseRecord, Page, PageRequest};

use crate::connection::repeat;
use crate::{error::Result, farm::Farm, rows};

impl Farm {
    pub(crate) async fn history(&self, bot: BotId, page: &PageRequest) -> Result<Page<LeaseRecord>> {
        let limit = page.checked_limit()?;
        let before = page.cursor.as_ref().map(Cursor::fence).transpose()?.map_or(i64::MAX, |fence| fence.0);
        let rows = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                r#"select
                        fence as "fence!",
                        terms as "terms!",
                        -- That of the next move after it; where there is none, the bot has stayed.
                        coalesce(
                            (
                                select m.project
                                from moves m
                                where m.bot_id = $1
                                    and m.fence >= r.fence
                                order by m.fence
                                limit 1
                            ),
                            (select p.project from bots b join pools p on p.id = b.pool_id where b.id = $1)
                        ) as project,
                        leased_at as "leased_at!",
                        ended_at,
                        reason as "reason!",
                        outcome,
                        ended_by,
                        end_note
                    from (
                        select
                            fence,
                            terms,
                            leased_at,
                            -- A lease that has expired without anybody having noticed is over all the same.
                            case when expires_at > now() then null else expires_at end as ended_at,
                            'expired' as reason,
                            null as outcome,
                            null as ended_by,
                            null as end_note
                        from bot_slots
                        where bot_id = $1
                            and lease_id is not null
                            and phase <> 'offered'
                            and fence < $2
                        union all
                        (
                            select fence, terms, leased_at, ended_at, reason, outcome, ended_by, end_note
                            from history
                            where bot_id = $1
                                and fence < $2
                                and reason <> 'undone'
                            order by fence desc
                            limit $3
                        )
                        order by 1 desc
                        limit $3
                    ) r
                    order by fence desc"#,
                bot.as_uuid(),
                before,
                i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1),
            )
            .fetch_all(&mut *connection)
            .await?)
        })?;
        let exists = repeat!(self.database, |connection| {
            Ok(sqlx::query_scalar!(r#"select exists (select from bots where id = $1) as "exists!""#, bot.as_uuid())
                .fetch_one(&mut *connection)
                .await?)
        })?;
        if !exists {
            return Err(FarmError::NoSuchBot { id: bot }.into());
        }
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            let end = match row.ended_at {
                Some(at) => Some(LeaseEnd {
                    at,
                    reason: rows::reason(&row.reason)?,
                    outcome: row.outcome.as_deref().map(rows::outcome).transpose()?,
                    by: row.ended_by.as_deref().map(rows::text).transpose()?,
                    note: row.end_note.as_deref().map(rows::text).transpose()?,
                }),
                None => None,
            };
            // The bot was there when the history was read, and is gone by now.
            let Some(project) = row.project else { return Err(FarmError::NoSuchBot { id: bot }.into()) };
            records.push(LeaseRecord {
                bot,
                fence: Fence(row.fence),
                project: rows::text(&project)?,
                terms: rows::terms(row.terms)?.into(),
                from: row.leased_at,
                end,
            });
        }
        Ok(Page::of(records, limit, |record| Cursor::before_fence(record.fence)))
    }
}

//! What is seen of all bots together: the hand-outs that have ended, and the queue.

use std::sync::Arc;

use botfarm_core::{
    BotId, Cursor, Fence, HandOut, HandOutFilter, LOOKED_AT, LeaseEnd, LeaseRecord, Oldest, Page, PageRequest,
    QueuedRequest, Selector, Shortage, Timestamp,
};
use serde::Deserialize;
use uuid::Uuid;

use crate::connection::repeat;
use crate::{
    error::{Error, Result},
    farm::Farm,
    rows::{self, interval},
};

/// For so many requests of a page it is told what keeps them waiting.
const LOOKED_INTO: i32 = 50;

impl Farm {
    pub(crate) async fn hand_outs(&self, filter: &HandOutFilter, page: &PageRequest) -> Result<Page<HandOut>> {
        let limit = page.checked_limit()?;
        let before = page.cursor.as_ref().map(Cursor::end).transpose()?;
        let (at, bot, fence) =
            before.unwrap_or((Timestamp::from_timestamp_nanos(i64::MAX), Uuid::max().into(), Fence(i64::MAX)));
        let rows = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                r#"with looked as materialized (
                        select * from botfarm_ended($1, $2, $3, $4, $5, $6, $7, $8)
                    ),
                    found as (
                        select
                            l.*,
                            b.login,
                            b.env,
                            -- That of the next move after it; where there is none, the bot has stayed.
                            coalesce(
                                (
                                    select m.project
                                    from moves m
                                    where m.bot_id = l.bot_id
                                        and m.fence >= l.fence
                                    order by m.fence
                                    limit 1
                                ),
                                p.project
                            ) as project
                        from looked l
                        join bots b on b.id = l.bot_id
                        join pools p on p.id = b.pool_id
                        where l.reason <> 'undone'
                    ),
                    passed as (
                        select *
                        from found f
                        where ($9::text is null or f.project = $9)
                            and ($10::text is null or f.env = $10)
                            and ($11::timestamptz is null or f.leased_at < $11)
                            and ($12::text is null or f.outcome = $12)
                            and ($3::text is null or f.terms->>'holder' = $3)
                            and ($2::text is null or f.terms->>'run' = $2)
                        order by f.ended_at desc, f.bot_id desc, f.fence desc
                        limit $13
                    ),
                    -- Where to go on when too few passed: after the last that was looked at, unless that were all.
                    last as (
                        select ended_at, bot_id, fence
                        from looked
                        order by ended_at desc, bot_id desc, fence desc
                        limit 1
                        offset $8 - 1
                    )
                    select
                        r.login as "login?",
                        r.env as "env?",
                        r.project as "project?",
                        r.bot_id as "bot_id?",
                        r.fence as "fence?",
                        r.terms as "terms?",
                        r.leased_at as "leased_at?",
                        r.ended_at as "ended_at?",
                        r.reason as "reason?",
                        r.outcome as "outcome?",
                        r.ended_by as "ended_by?",
                        r.end_note as "end_note?",
                        l.ended_at as "last_at?",
                        l.bot_id as "last_bot?",
                        l.fence as "last_fence?"
                    from (select) one
                    left join passed r on true
                    left join last l on true
                    order by r.ended_at desc, r.bot_id desc, r.fence desc"#,
                filter.bot.map(|bot| bot.as_uuid()),
                filter.run.as_deref(),
                filter.holder.as_deref(),
                filter.since.unwrap_or(Timestamp::UNIX_EPOCH),
                at,
                bot.as_uuid(),
                fence.0,
                i32::try_from(LOOKED_AT).unwrap_or(i32::MAX),
                filter.project.as_deref(),
                filter.env.as_deref(),
                filter.until,
                filter.outcome.map(botfarm_core::Outcome::as_str),
                i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1),
            )
            .fetch_all(&mut *connection)
            .await?)
        })?;
        let last =
            rows.first().and_then(|row| Some((row.last_at?, BotId::from(row.last_bot?), Fence(row.last_fence?))));
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let (
                Some(login),
                Some(env),
                Some(project),
                Some(bot),
                Some(fence),
                Some(terms),
                Some(from),
                Some(at),
                Some(reason),
            ) = (
                row.login,
                row.env,
                row.project,
                row.bot_id,
                row.fence,
                row.terms,
                row.leased_at,
                row.ended_at,
                row.reason,
            )
            else {
                continue;
            };
            let end = LeaseEnd {
                at,
                reason: rows::reason(&reason)?,
                outcome: row.outcome.as_deref().map(rows::outcome).transpose()?,
                by: row.ended_by.as_deref().map(rows::text).transpose()?,
                note: row.end_note.as_deref().map(rows::text).transpose()?,
            };
            let record = LeaseRecord {
                bot: bot.into(),
                fence: Fence(fence),
                project: rows::text(&project)?,
                terms: rows::terms(terms)?.into(),
                from,
                end: Some(end),
            };
            found.push((at, HandOut { login: rows::text(&login)?, env: rows::text(&env)?, record }));
        }
        let page = Page::of(found, limit, |(at, hand_out)| {
            Cursor::before_end(*at, hand_out.record.bot, hand_out.record.fence)
        });
        let next = page.next.clone().or_else(|| last.map(|(at, bot, fence)| Cursor::before_end(at, bot, fence)));
        Ok(Page { next, ..page.map(|(_, hand_out)| hand_out) })
    }

    pub(crate) async fn queue(&self, page: &PageRequest) -> Result<Page<QueuedRequest>> {
        let limit = page.checked_limit()?;
        let after = page.cursor.as_ref().map(Cursor::ticket).transpose()?.unwrap_or_default();
        let rows = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                r#"select
                        ticket as "ticket!",
                        place as "place!",
                        terms as "terms!",
                        since as "since!",
                        alive as "alive!",
                        wanted as "wanted!",
                        holds as "holds!",
                        reason
                    from botfarm_queue($1, $2, $3, $4)"#,
                i64::try_from(after).unwrap_or(i64::MAX),
                i32::try_from(limit).unwrap_or(i32::MAX).saturating_add(1),
                LOOKED_INTO,
                interval(self.takeover_grace),
            )
            .fetch_all(&mut *connection)
            .await?)
        })?;
        let mut queued = Vec::with_capacity(rows.len());
        for row in rows {
            let wanted: Vec<Written> = serde_json::from_value(row.wanted).map_err(Error::corrupt)?;
            let reason: Option<Reason> = row.reason.map(serde_json::from_value).transpose().map_err(Error::corrupt)?;
            let request = QueuedRequest {
                place: number(row.place),
                terms: Arc::new(rows::terms(row.terms)?),
                since: row.since,
                alive: row.alive,
                selectors: wanted.into_iter().map(Written::selector).collect::<Result<_>>()?,
                reason: reason.map(Reason::shortage).transpose()?.map(|shortage| shortage.reason()),
                holds: number(row.holds),
            };
            queued.push((number(row.ticket), request));
        }
        let page = Page::of(queued, limit, |(ticket, _)| Cursor::after_ticket(*ticket));
        Ok(page.map(|(_, request)| request))
    }
}

/// A selector, as `botfarm_written` writes it.
#[derive(Debug, Deserialize)]
struct Written {
    project: Option<String>,
    env: Option<String>,
    domain: Option<String>,
    labels: Vec<String>,
    condition: String,
    bot: Option<Uuid>,
    /// Folded.
    login: Option<String>,
    alias: Option<String>,
}

impl Written {
    fn selector(self) -> Result<Selector> {
        Ok(Selector {
            alias: self.alias.as_deref().map(rows::text).transpose()?,
            id: self.bot.map(BotId::from),
            login: self.login.as_deref().map(rows::text).transpose()?,
            project: self.project.as_deref().map(rows::text).transpose()?,
            env: self.env.as_deref().map(rows::text).transpose()?,
            domain: self.domain.as_deref().map(rows::text).transpose()?,
            labels: rows::labels(&self.labels)?,
            condition: rows::text(&self.condition)?,
        })
    }
}

/// What keeps a request waiting, as `botfarm_queue` writes it.
#[derive(Debug, Deserialize)]
struct Reason {
    selector: usize,
    matching: u64,
    leased: u64,
    cooling: u64,
    out_of_service: u64,
    waiting: u64,
    place: Option<u64>,
    holder: Option<String>,
    since: Option<Timestamp>,
}

impl Reason {
    fn shortage(self) -> Result<Shortage> {
        let holder = self.holder.as_deref().map(rows::text).transpose()?;
        let mut shortage = Shortage::new(self.selector);
        (shortage.matching, shortage.leased, shortage.cooling) = (self.matching, self.leased, self.cooling);
        (shortage.out_of_service, shortage.place, shortage.waiting) = (self.out_of_service, self.place, self.waiting);
        shortage.oldest = holder.zip(self.since).map(|(holder, since)| Oldest::new(holder, since));
        Ok(shortage)
    }
}

fn number(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

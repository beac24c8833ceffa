//! Leases in force, and how they end.

use std::time::Duration;

use botfarm_core::{
    ActiveLease, BotId, BotRelease, Cursor, EndReason, Ending, Error as FarmError, Fingerprint, Holder, Lease, LeaseId,
    LostLease, Outcome, Page, PageRequest, Revocation,
};
use uuid::Uuid;

use crate::connection::repeat;
use crate::{
    error::Result,
    farm::Farm,
    rows::{self, BotRow, interval},
};

/// A statement on leases. `$changed` defines the common table `changed` of slots; the rows are those of a lease.
macro_rules! lease_rows {
    ($changed:literal, $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            $crate::rows::LeaseRow,
            $changed
                + r#"
                select
                    b.id,
                    b.login,
                    b.sealed,
                    p.project_id,
                    p.env,
                    p.domain,
                    b.labels,
                    c.condition as "condition!",
                    b.created_at,
                    c.holder as "holder!",
                    c.note,
                    c.url,
                    c.role,
                    c.fence as "fence!",
                    c.ttl as "ttl!",
                    c.leased_at as "leased_at!",
                    c.expires_at as "expires_at!",
                    c.expires_at - clock_timestamp() as "remaining!"
                from changed c
                join bots b on b.id = c.bot_id
                join pools p on p.id = b.pool_id
                order by c.ord"#,
            $($argument),+
        )
    };
}
pub(crate) use lease_rows;

/// What has become of a lease.
#[derive(Debug)]
pub(crate) enum LeaseStatus {
    /// Nobody has heard of it.
    Unknown,
    /// It is in force, or offered to its waiter.
    Live { fingerprint: Option<Fingerprint> },
    /// It has ended.
    Lost(Box<LostLease>),
}

/// How a lease is ended from outside.
struct End<'a> {
    reason: EndReason,
    outcome: Option<Outcome>,
    by: Option<&'a Holder>,
    note: Option<&'a str>,
    rest: Duration,
}

impl<'a> End<'a> {
    fn release(ending: &'a Ending, rest: Duration) -> Self {
        let Ending { outcome, note } = ending;
        Self { reason: EndReason::Released, outcome: Some(*outcome), by: None, note: note.as_deref(), rest }
    }

    /// The condition that the bots are left in; `None` leaves it as it is.
    fn condition(&self) -> Option<&'static str> {
        self.outcome.map(|outcome| match outcome {
            Outcome::Clean => "ready",
            Outcome::Dirty => "dirty",
            Outcome::Broken => "broken",
        })
    }
}

impl Farm {
    pub(crate) async fn status(&self, id: LeaseId) -> Result<LeaseStatus> {
        let rows = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                r#"select
                        expires_at > clock_timestamp() as "live!",
                        fingerprint,
                        'expired' as "reason!",
                        expires_at as "at!",
                        null as by,
                        null as note
                    from bot_slots
                    where lease_id = $1
                        and (expires_at > clock_timestamp() or not offered)
                    union all
                    select false, null, reason, ended_at, ended_by, end_note
                    from history
                    where lease_id = $1
                    order by 1 desc
                    limit 1"#,
                id.as_uuid(),
            )
            .fetch_optional(&mut *connection)
            .await?)
        })?;
        let Some(row) = rows else { return Ok(LeaseStatus::Unknown) };
        if row.live {
            return Ok(LeaseStatus::Live { fingerprint: rows::fingerprint(row.fingerprint.as_deref()) });
        }
        Ok(LeaseStatus::Lost(Box::new(LostLease {
            reason: rows::reason(&row.reason)?,
            at: row.at,
            by: row.by.as_deref().map(rows::text).transpose()?,
            note: row.note.as_deref().map(rows::text).transpose()?,
        })))
    }

    /// The error that says why there is no such lease in force.
    async fn ended(&self, id: LeaseId) -> Result<FarmError> {
        Ok(match self.status(id).await? {
            LeaseStatus::Lost(lost) => FarmError::LeaseLost(lost),
            // A live one was granted a moment ago, after the statement that did not find it.
            LeaseStatus::Unknown | LeaseStatus::Live { .. } => FarmError::NoSuchLease,
        })
    }

    pub(crate) async fn lookup(&self, id: LeaseId) -> Result<Lease> {
        let rows = repeat!(self.database, |connection| {
            Ok(lease_rows!(
                "with changed as (
                        select *
                        from bot_slots
                        where lease_id = $1
                            and expires_at > clock_timestamp()
                            and not offered
                    )",
                id.as_uuid(),
            )
            .fetch_all(&mut *connection)
            .await?)
        })?;
        match rows::lease(id, rows, &self.keyring)? {
            Some(lease) => Ok(lease),
            None => Err(self.ended(id).await?.into()),
        }
    }

    pub(crate) async fn renew(&self, id: LeaseId, ttl: Option<Duration>) -> Result<Lease> {
        let ttl = ttl.map(|ttl| self.policy.ttl(Some(ttl))).transpose()?.map(interval);
        let rows = repeat!(self.database, |connection| {
            Ok(lease_rows!(
                "with held as materialized (
                        select bot_id
                        from bot_slots
                        where lease_id = $1
                            and expires_at > clock_timestamp()
                            and not offered
                        order by bot_id
                        for no key update
                    ),
                    -- Read after the locks have been got, and the same for all bots.
                    clock as materialized (select clock_timestamp() as time from (select count(*) from held) c),
                    changed as (
                        update bot_slots s
                        set ttl = coalesce($2, s.ttl),
                            expires_at = c.time + coalesce($2, s.ttl),
                            free_at = c.time + coalesce($2, s.ttl) + $3
                        from held h, clock c
                        where s.bot_id = h.bot_id
                        returning s.*
                    )",
                id.as_uuid(),
                ttl.clone() as _,
                interval(self.policy.cooling),
            )
            .fetch_all(&mut *connection)
            .await?)
        })?;
        match rows::lease(id, rows, &self.keyring)? {
            Some(lease) => Ok(lease),
            None => Err(self.ended(id).await?.into()),
        }
    }

    pub(crate) async fn release(&self, id: LeaseId, ending: &Ending) -> Result<()> {
        if self.end(id, &End::release(ending, self.policy.reuse_delay)).await? {
            return Ok(());
        }
        match self.ended(id).await? {
            FarmError::LeaseLost(lost) if lost.reason == EndReason::Released => Ok(()),
            error => Err(error.into()),
        }
    }

    pub(crate) async fn release_bot(&self, bot: BotId, release: &BotRelease) -> Result<()> {
        loop {
            let Some((id, owner, holder)) = self.holding(bot).await? else {
                return match release.lease {
                    Some(lease) => Err(self.not_current(lease).await?.into()),
                    None => Ok(()),
                };
            };
            if let Some(lease) = release.lease.filter(|lease| *lease != id) {
                return Err(self.not_current(lease).await?.into());
            }
            if release.owner.as_ref().is_some_and(|wanted| owner.as_deref() != Some(wanted.as_str())) {
                return Err(FarmError::NotHolder { bot, holder }.into());
            }
            // Fenced by the id: should the bot have changed hands meanwhile, its new holder is looked at anew.
            if self.end(id, &End::release(&release.ending, self.policy.reuse_delay)).await? {
                return Ok(());
            }
        }
    }

    /// Why a lease that was named does not hold the bot.
    async fn not_current(&self, id: LeaseId) -> Result<FarmError> {
        match self.status(id).await? {
            LeaseStatus::Lost(lost) => Ok(FarmError::LeaseLost(lost)),
            _ => Ok(FarmError::lost(EndReason::Released, chrono::Utc::now(), None, None)),
        }
    }

    pub(crate) async fn revoke(&self, bot: BotId, revocation: &Revocation) -> Result<()> {
        while let Some((id, ..)) = self.holding(bot).await? {
            let end = End {
                reason: EndReason::Revoked,
                outcome: None,
                by: Some(&revocation.by),
                note: Some(revocation.reason.as_str()),
                rest: self.policy.cooling,
            };
            if self.end(id, &end).await? {
                break;
            }
        }
        Ok(())
    }

    /// The lease that holds a bot, its owner and its holder.
    async fn holding(&self, bot: BotId) -> Result<Option<(LeaseId, Option<String>, Holder)>> {
        let row = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                    r#"select lease_id, owner, holder, coalesce(expires_at > clock_timestamp() and not offered, false) as "held!"
                    from bot_slots
                    where bot_id = $1"#,
                    bot.as_uuid(),
                )
                .fetch_optional(&mut *connection)
                .await?)
        })?;
        let Some(row) = row else { return Err(FarmError::NoSuchBot { id: bot }.into()) };
        match (row.held, row.lease_id, row.holder) {
            (true, Some(id), Some(holder)) => Ok(Some((id.into(), row.owner, rows::text(&holder)?))),
            _ => Ok(None),
        }
    }

    /// Ends a lease in force; false when it is not.
    async fn end(&self, id: LeaseId, end: &End<'_>) -> Result<bool> {
        let row = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                r#"with held as materialized (
                        select *
                        from bot_slots
                        where lease_id = $1
                            and expires_at > clock_timestamp()
                            and not offered
                        order by bot_id
                        for no key update
                    ),
                    clock as materialized (select clock_timestamp() as time from (select count(*) from held) c),
                    freed as (
                        update bot_slots s
                        set lease_id = null,
                            free_at = c.time + $2,
                            condition = coalesce($3, s.condition)
                        from held h, clock c
                        where s.bot_id = h.bot_id
                        returning s.bot_id
                    ),
                    kept as (
                        insert into history (
                            bot_id, fence, lease_id, holder, note, url, leased_at, ended_at, reason, outcome, ended_by,
                            end_note
                        )
                        select h.bot_id, h.fence, $1, h.holder, h.note, h.url, h.leased_at, c.time, $4, $5, $6, $7
                        from held h, clock c
                    )
                    select
                        (select count(*) from freed) as "freed!",
                        exists (select from waiters where not granted) as "waiters!""#,
                id.as_uuid(),
                interval(end.rest),
                end.condition(),
                end.reason.as_str(),
                end.outcome.map(Outcome::as_str),
                end.by.map(Holder::as_str),
                end.note,
            )
            .fetch_one(&mut *connection)
            .await?)
        })?;
        if row.freed > 0 && row.waiters {
            self.queue.want_pass();
        }
        Ok(row.freed > 0)
    }

    pub(crate) async fn leases(&self, page: &PageRequest) -> Result<Page<ActiveLease>> {
        let limit = page.checked_limit()?;
        let after = page.cursor.as_ref().map(Cursor::bot).transpose()?.map(|bot| bot.as_uuid());
        let rows = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                r#"with live as (
                        select
                            lease_id,
                            -- The least of its bots: uuids have no min().
                            (array_agg(bot_id order by bot_id))[1] as first_bot
                        from bot_slots
                        where lease_id is not null
                            and expires_at > now()
                            and not offered
                        group by lease_id
                    ),
                    page as (
                        select *
                        from live
                        where first_bot > coalesce($1, '00000000-0000-0000-0000-000000000000'::uuid)
                        order by first_bot
                        limit $2
                    )
                    select
                        g.first_bot as "first_bot!",
                        s.role,
                        b.id,
                        b.login,
                        p.project_id,
                        p.env,
                        p.domain,
                        b.labels,
                        s.condition,
                        b.created_at,
                        s.holder as "holder!",
                        s.note,
                        s.url,
                        s.leased_at as "leased_at!",
                        s.expires_at as "expires_at!"
                    from page g
                    join bot_slots s on s.lease_id = g.lease_id
                    join bots b on b.id = s.bot_id
                    join pools p on p.id = b.pool_id
                    order by g.first_bot, s.ord"#,
                after,
                i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1),
            )
            .fetch_all(&mut *connection)
            .await?)
        })?
        .into_iter()
        .peekable();
        let mut leases: Vec<(Uuid, ActiveLease)> = Vec::new();
        for row in rows {
            let bot = BotRow {
                id: row.id,
                login: row.login,
                project_id: row.project_id,
                env: row.env,
                domain: row.domain,
                labels: row.labels,
                condition: row.condition,
                created_at: row.created_at,
                cooling_until: None,
                holder: Some(row.holder.clone()),
                note: row.note.clone(),
                url: row.url.clone(),
                leased_at: Some(row.leased_at),
                expires_at: Some(row.expires_at),
            }
            .bot()?;
            let role = row.role.as_deref().map(rows::text).transpose()?;
            match leases.last_mut() {
                Some((first_bot, lease)) if *first_bot == row.first_bot => lease.bots.push((role, bot)),
                _ => leases.push((
                    row.first_bot,
                    ActiveLease {
                        holder: rows::text(&row.holder)?,
                        note: row.note.as_deref().map(rows::text).transpose()?,
                        url: row.url.as_deref().map(rows::text).transpose()?,
                        acquired_at: row.leased_at,
                        expires_at: row.expires_at,
                        bots: vec![(role, bot)],
                    },
                )),
            }
        }
        let page = Page::of(leases, limit, |(first_bot, _)| Cursor::after_bot((*first_bot).into()));
        Ok(page.map(|(_, lease)| lease))
    }
}

//! Leases in force, and how they end.

use std::{sync::Arc, time::Duration};

use botfarm_core::{
    ActiveLease, BotId, BotRelease, Busy, Condition, Cursor, EndReason, Ending, Env, Error as FarmError, Holder, Lease,
    LeaseId, LostLease, Outcome, Page, PageRequest, Revocation, Run, Terms,
    rules::{self, Aftermath},
};
use sqlx::postgres::types::PgInterval;
use uuid::Uuid;

use crate::connection::repeat;
use crate::{
    error::{Error, Result},
    farm::Farm,
    rows::{self, BotRow, interval},
    unreadable::Unreadable,
};

/// What has become of a lease that does not live.
#[derive(Debug)]
enum LeaseStatus {
    /// Nobody has heard of it.
    Unknown,
    /// It has ended.
    Lost(Box<LostLease>),
}

/// How a lease is ended.
struct End<'a> {
    reason: EndReason,
    outcome: Option<Outcome>,
    by: Option<&'a Holder>,
    note: Option<&'a str>,
    aftermath: Aftermath,
}

impl<'a> End<'a> {
    fn release(ending: &'a Ending, aftermath: Aftermath) -> Self {
        let Ending { outcome, note } = ending;
        Self { reason: EndReason::Released, outcome: Some(*outcome), by: None, note: note.as_deref(), aftermath }
    }

    /// What nobody but the farm's policy says of how it leaves the bots.
    fn unasked(reason: EndReason, aftermath: Aftermath) -> Self {
        Self { reason, outcome: None, by: None, note: None, aftermath }
    }
}

impl Farm {
    /// What has become of a lease that was not found in force.
    async fn status(&self, id: LeaseId) -> Result<LeaseStatus> {
        let row = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                r#"select reason as "reason!", ended_at as "at!", ended_by as by, end_note as note
                    from (
                        select 'expired' as reason, expires_at as ended_at, null as ended_by, null as end_note
                        from bot_slots
                        where lease_id = $1
                            and phase <> 'offered'
                            and expires_at <= clock_timestamp()
                        union all
                        select reason, ended_at, ended_by, end_note
                        from history
                        where lease_id = $1
                        union all
                        select 'taken', ended_at, ended_by, end_note
                        from waiters
                        where lease_id = $1
                            and ended_at is not null
                    ) e
                    -- What was undone may have been granted and have ended since.
                    order by reason = 'undone', ended_at desc
                    limit 1"#,
                id.as_uuid(),
            )
            .fetch_optional(&mut *connection)
            .await?)
        })?;
        let Some(row) = row else { return Ok(LeaseStatus::Unknown) };
        if row.reason == "undone" {
            return Ok(LeaseStatus::Lost(Box::new(rules::nobody_received(row.at))));
        }
        let (reason, note) = (rows::reason(&row.reason)?, row.note.as_deref().map(rows::text).transpose()?);
        let by = row.by.as_deref().map(rows::text).transpose()?;
        let mut lost = LostLease::new(reason, row.at);
        (lost.by, lost.note) = (by, note);
        Ok(LeaseStatus::Lost(Box::new(lost)))
    }

    /// The error that says why there is no such lease in force.
    pub(crate) async fn ended(&self, id: LeaseId) -> Result<FarmError> {
        Ok(match self.status(id).await? {
            LeaseStatus::Lost(lost) => FarmError::LeaseLost(lost),
            LeaseStatus::Unknown => FarmError::NoSuchLease,
        })
    }

    pub(crate) async fn lookup(&self, id: LeaseId) -> Result<Lease> {
        self.receive(id, None, false).await
    }

    pub(crate) async fn renew(&self, id: LeaseId, ttl: Option<Duration>) -> Result<Lease> {
        self.receive(id, ttl, true).await
    }

    /// The envs of the bots of a lease in force, where it matters. They stay as they are: a bot does not change its env.
    async fn envs(&self, id: LeaseId) -> Result<Vec<Env>> {
        if !self.policy.varies() {
            return Ok(Vec::new());
        }
        let envs = repeat!(self.database, |connection| {
            Ok(sqlx::query_scalar!(
                "select distinct b.env
                from bot_slots s
                join bots b on b.id = s.bot_id
                where s.lease_id = $1",
                id.as_uuid(),
            )
            .fetch_all(&mut *connection)
            .await?)
        })?;
        envs.iter().map(|env| rows::text(env)).collect()
    }

    pub(crate) fn dirty_envs(&self) -> Vec<String> {
        self.policy.dirty_after_expiry().map(ToString::to_string).collect()
    }

    async fn receive(&self, id: LeaseId, ttl: Option<Duration>, renews: bool) -> Result<Lease> {
        let envs = self.envs(id).await?;
        let ttl = ttl.map(|ttl| self.policy.ttl_in(&envs, ttl)).transpose()?.map(interval);
        loop {
            match self.try_receive(id, ttl, renews, &envs).await {
                Err(Error::Sealed(unreadable)) if unreadable.source.is_tampering() => {
                    if self.set_aside(&unreadable).await? {
                        self.take_unreadable(id, &unreadable).await?;
                    }
                    // What it says now: that it has ended, or the password that was written meanwhile.
                }
                received => return received,
            }
        }
    }

    /// Takes a lease away of which a password cannot be read.
    pub(crate) async fn take_unreadable(&self, id: LeaseId, unreadable: &Unreadable) -> Result<()> {
        let by = rows::text::<Holder>("botfarm")?;
        let note = format!("{unreadable}: {}", unreadable.source);
        let (by, note) = (Some(&by), Some(note.as_str()));
        // What cannot be read is set aside: it needs no rest.
        let aftermath = Aftermath { condition: None, rest: Duration::ZERO };
        let end = End { by, note, ..End::unasked(EndReason::Revoked, aftermath) };
        self.end(id, &end).await.map(drop)
    }

    async fn try_receive(&self, id: LeaseId, ttl: Option<PgInterval>, renews: bool, envs: &[Env]) -> Result<Lease> {
        let given = repeat!(self.database, |connection| {
            Ok(sqlx::query_scalar!(
                "select botfarm_receive($1, null, $2, $3, $4, $5)",
                id.as_uuid(),
                ttl as _,
                renews,
                interval(self.policy.cooling_in(envs)),
                &self.dirty_envs(),
            )
            .fetch_one(&mut *connection)
            .await?)
        })?;
        match given {
            Some(given) => rows::lease(id, given, &self.seals),
            None => Err(self.ended(id).await?.into()),
        }
    }

    pub(crate) async fn release(&self, id: LeaseId, ending: &Ending) -> Result<()> {
        let aftermath = self.policy.aftermath(Some(ending.outcome), &self.envs(id).await?);
        if self.end(id, &End::release(ending, aftermath)).await? {
            return Ok(());
        }
        match self.ended(id).await? {
            FarmError::LeaseLost(lost) if lost.reason == EndReason::Released => Ok(()),
            error => Err(error.into()),
        }
    }

    pub(crate) async fn release_bot(&self, bot: BotId, release: &BotRelease) -> Result<()> {
        let holding = self.holding(bot).await?;
        if let Some(named) = release.lease
            && holding.as_ref().is_none_or(|(id, _)| *id != named)
        {
            return Err(self.not_current(bot, named).await?.into());
        }
        let Some((id, terms)) = holding else { return Ok(()) };
        if !release.means(bot, &terms)? {
            return self.held_by_another(bot).await;
        }
        // The lease that was seen, or none: by now the bot may be somebody else's.
        let aftermath = self.policy.aftermath(Some(release.ending.outcome), &self.envs(id).await?);
        let ended = self.end(id, &End::release(&release.ending, aftermath)).await?;
        match release.lease {
            Some(named) if !ended => match self.not_current(bot, named).await? {
                // By this very call, whose first answer was lost.
                FarmError::LeaseLost(lost) if lost.reason == EndReason::Released => Ok(()),
                error => Err(error.into()),
            },
            _ => Ok(()),
        }
    }

    /// What a release is told that names another holder; nothing when the bot has become free meanwhile.
    async fn held_by_another(&self, bot: BotId) -> Result<()> {
        let bot = self.get(bot).await?;
        if bot.holding.is_none() {
            return Ok(());
        }
        Err(FarmError::Busy(Box::new(Busy::of(&bot))).into())
    }

    /// Why a lease that was named does not hold the bot.
    async fn not_current(&self, bot: BotId, id: LeaseId) -> Result<FarmError> {
        let held = repeat!(self.database, |connection| {
            Ok(sqlx::query_scalar!(
                r#"select exists (select from history where lease_id = $1 and bot_id = $2)
                    or exists (select from bot_slots where lease_id = $1 and bot_id = $2) as "held!""#,
                id.as_uuid(),
                bot.as_uuid(),
            )
            .fetch_one(&mut *connection)
            .await?)
        })?;
        match self.status(id).await? {
            LeaseStatus::Lost(lost) if held => Ok(FarmError::LeaseLost(lost)),
            _ => Ok(rules::never_held(chrono::Utc::now())),
        }
    }

    pub(crate) async fn revoke(&self, bot: BotId, revocation: &Revocation) -> Result<()> {
        let Some((id, terms)) = self.holding(bot).await? else { return Ok(()) };
        if !revocation.means(&terms) {
            return Ok(());
        }
        let aftermath = self.policy.aftermath(None, &self.envs(id).await?);
        let end = End {
            by: Some(&revocation.by),
            note: Some(revocation.reason.as_str()),
            ..End::unasked(EndReason::Revoked, aftermath)
        };
        // The lease that was seen, or none: whoever has the bot since came after this call began.
        self.end(id, &end).await?;
        Ok(())
    }

    /// The lease that holds a bot, and what it carries along.
    async fn holding(&self, bot: BotId) -> Result<Option<(LeaseId, Terms)>> {
        let row = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                r#"select
                        lease_id,
                        terms,
                        coalesce(expires_at > clock_timestamp() and lease_id is not null, false) as "held!"
                    from bot_slots
                    where bot_id = $1
                    order by version desc
                    limit 1"#,
                bot.as_uuid(),
            )
            .fetch_optional(&mut *connection)
            .await?)
        })?;
        let Some(row) = row else { return Err(FarmError::NoSuchBot { id: bot }.into()) };
        match (row.held, row.lease_id, row.terms) {
            (true, Some(id), Some(terms)) => Ok(Some((id.into(), rows::terms(terms)?))),
            _ => Ok(None),
        }
    }

    /// Ends a lease in force; false when it is not.
    async fn end(&self, id: LeaseId, end: &End<'_>) -> Result<bool> {
        let awaited = repeat!(self.database, |connection| {
            Ok(sqlx::query_scalar!(
                "select botfarm_end($1, $2, $3, $4, $5, $6, $7)",
                id.as_uuid(),
                end.reason.as_str(),
                interval(end.aftermath.rest),
                end.aftermath.condition.map(Condition::as_str),
                end.outcome.map(Outcome::as_str),
                end.by.map(Holder::as_str),
                end.note,
            )
            .fetch_one(&mut *connection)
            .await?)
        })?;
        let Some(awaited) = awaited else { return Ok(false) };
        self.serve(awaited);
        Ok(true)
    }

    /// Those of a run, or all.
    pub(crate) async fn leases(&self, run: Option<&Run>, page: &PageRequest) -> Result<Page<ActiveLease>> {
        let limit = page.checked_limit()?;
        let after = page.cursor.as_ref().map(Cursor::bot).transpose()?.map(|bot| bot.as_uuid());
        let rows = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                r#"with held as (
                        select lease_id, bot_id, phase, expires_at
                        from bot_slots
                        where lease_id is not null
                            and $3::text is null
                        union all
                        select lease_id, bot_id, phase, expires_at
                        from bot_slots
                        where lease_id is not null
                            and terms->>'run' = $3
                    ),
                    live as (
                        select
                            lease_id,
                            -- The least of its bots: uuids have no min().
                            (array_agg(bot_id order by bot_id))[1] as first_bot
                        from held
                        where expires_at > now()
                            and phase <> 'offered'
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
                        s.alias,
                        b.id,
                        b.login,
                        p.project,
                        p.env,
                        p.domain,
                        b.labels,
                        botfarm_condition(s) as "condition!",
                        b.created_at,
                        s.terms as "terms!",
                        s.leased_at as "leased_at!",
                        s.expires_at as "expires_at!"
                    from page g
                    join bot_slots s on s.lease_id = g.lease_id
                    join bots b on b.id = s.bot_id
                    join pools p on p.id = b.pool_id
                    order by g.first_bot, s.ord"#,
                after,
                i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1),
                run.map(Run::as_str),
            )
            .fetch_all(&mut *connection)
            .await?)
        })?;
        let mut leases: Vec<(Uuid, ActiveLease)> = Vec::new();
        for row in rows {
            let alias = row.alias.as_deref().map(rows::text).transpose()?;
            let bot = BotRow {
                id: row.id,
                login: row.login,
                project: row.project,
                env: row.env,
                domain: row.domain,
                labels: row.labels,
                condition: row.condition,
                created_at: row.created_at,
                cooling_until: None,
                terms: Some(row.terms),
                leased_at: Some(row.leased_at),
                expires_at: Some(row.expires_at),
            }
            .bot()?;
            match (leases.last_mut(), &bot.holding) {
                (Some((first_bot, lease)), _) if *first_bot == row.first_bot => lease.bots.push((alias, bot)),
                (_, None) => return Err(Error::corrupt("a held bot has no holder")),
                (_, Some(holding)) => {
                    let lease = ActiveLease {
                        terms: Arc::clone(&holding.terms),
                        acquired_at: holding.since,
                        expires_at: holding.expires_at,
                        bots: vec![(alias, bot)],
                    };
                    leases.push((row.first_bot, lease));
                }
            }
        }
        let page = Page::of(leases, limit, |(first_bot, _)| Cursor::after_bot((*first_bot).into()));
        Ok(page.map(|(_, lease)| lease))
    }
}

//! Taking bots: at once, or by way of the queue.

use std::time::{Duration, Instant};

use botfarm_core::{BotId, Busy, Error as FarmError, Lease, LeaseId, LeaseRequest, Oldest, Selector, Shortage};
use serde::Serialize;
use tokio::{sync::oneshot, time::sleep_until};
use uuid::Uuid;

use crate::connection::repeat;
use crate::{
    error::{Error, Result},
    farm::{Answer, Farm},
    lease::{LeaseStatus, lease_rows},
    rows::{self, interval, label_texts},
};

/// Which bots one selector wants, as the matching function reads it. Logins have been looked up.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Want {
    ids: Option<Vec<Uuid>>,
    project_id: Option<Uuid>,
    env: Option<&'static str>,
    domain: Option<&'static str>,
    labels: Vec<String>,
    condition: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
}

impl Want {
    fn of(selector: &Selector, ids: Option<Vec<Uuid>>) -> Self {
        Self {
            ids,
            project_id: selector.project.map(|project| project.as_uuid()),
            env: selector.env.map(botfarm_core::Env::as_str),
            domain: selector.domain.map(botfarm_core::Domain::as_str),
            labels: label_texts(&selector.labels),
            condition: selector.condition.as_str(),
            role: selector.role.as_deref().map(str::to_owned),
        }
    }
}

/// How the bots stand that one selector wants, for an answer that explains itself.
#[derive(Debug)]
struct Standing {
    shortage: Shortage,
    /// How many of them could be had.
    free: u64,
    /// The first of them.
    first: Option<Busy>,
    /// Whether the lease id of the request stands for a lease, or for a place in the queue.
    known: bool,
}

/// Where the counts of a standing end: more would take long. What is beyond may be free.
const COUNTED: u64 = 10_000;

/// How often a request that does not wait tries to claim a bot that others claim at the same time, before it queues.
const CLAIMS: usize = 3;

impl Farm {
    /// See [`BotFarm::acquire`](botfarm_core::BotFarm::acquire). To be run to its end in a task; while it is parked, it
    /// notices when nobody waits for the `answer` any more.
    pub(crate) async fn acquire(&self, request: &LeaseRequest, answer: &mut oneshot::Sender<Answer>) -> Result<Lease> {
        let ttl = self.policy.check(request)?;
        let simple = match request.selectors.as_slice() {
            [selector] if !selector.names_a_bot() && request.sticky.is_none() => Some(selector),
            _ => None,
        };
        if let Some(selector) = simple
            && let Some(lease) = self.claim_or_refuse(request, selector, ttl).await?
        {
            return Ok(lease);
        }
        if let Some(lease) = self.replay(request).await? {
            return Ok(lease);
        }
        let wants = self.wants(request).await?;
        let deadline = Instant::now() + request.wait;
        let parked = self.queue.park(request.id);
        loop {
            // Listening from before the row is there, so that no wake-up is missed.
            let mut woken = std::pin::pin!(parked.woken());
            woken.as_mut().enable();
            self.check_match(request, &wants).await?;
            if answer.is_closed() {
                return Err(Error::Unanswered);
            }
            self.enqueue(request, &wants, ttl).await?;
            self.queue.passed(self.queue.want_pass()).await?;
            loop {
                if let Some(lease) = self.take_up(request).await? {
                    return Ok(lease);
                }
                if request.wait.is_zero() {
                    return self.give_up(request, &wants, parked.resign()).await;
                }
                if !self.stay(request.id).await? {
                    break;
                }
                tokio::select! {
                    () = woken.as_mut() => {}
                    () = sleep_until(deadline.into()) => return self.give_up(request, &wants, parked.resign()).await,
                    () = answer.closed() => {
                        if parked.resign() {
                            self.leave(request.id, true).await?;
                            self.undo(request.id, 0).await?;
                        }
                        return Err(Error::Unanswered);
                    }
                }
                woken.set(parked.woken());
                woken.as_mut().enable();
            }
            // The grant was not taken up in time, or the lease has ended meanwhile.
            if let Some(lease) = self.replay(request).await? {
                return Ok(lease);
            }
        }
    }

    /// Claims a bot past the queue. For a request that does not wait, and that nobody knows yet, an answer may also be
    /// that there is nothing to queue for: all bots are held or rest. `None`: the queue has to tell.
    async fn claim_or_refuse(
        &self,
        request: &LeaseRequest,
        selector: &Selector,
        ttl: Duration,
    ) -> Result<Option<Lease>> {
        for _ in 0..CLAIMS {
            if let Some(lease) = self.claim(request, selector, ttl).await? {
                return Ok(Some(lease));
            }
            if !request.wait.is_zero() {
                break;
            }
            let standing = self.standing(request, &Want::of(selector, None), 0).await?;
            if standing.known || standing.shortage.matching == 0 || standing.shortage.matching >= COUNTED {
                break;
            }
            if standing.free == 0 {
                return Err(FarmError::Exhausted(Box::new(standing.shortage)).into());
            }
            if standing.shortage.waiting > 0 {
                break;
            }
            // Somebody else was claiming it at that moment.
        }
        Ok(None)
    }

    /// Takes the least recently used free bot, unless somebody waits. The id must be new.
    async fn claim(&self, request: &LeaseRequest, selector: &Selector, ttl: Duration) -> Result<Option<Lease>> {
        let avoid: Vec<Uuid> = request.avoid.iter().map(BotId::as_uuid).collect();
        let labels = label_texts(&selector.labels);
        let claimed = repeat!(self.database, |connection| {
            let rows = lease_rows!(
                    "with oldest as materialized (
                        select f.*
                        from pools p
                        cross join lateral (
                            select s.*
                            from bot_slots s
                            where s.pool_id = p.id
                                and s.condition = $5
                                and s.free_at <= now()
                                -- s.labels @> $6, but the planner takes the operator to be far choosier than it is,
                                -- and would plan every claim anew.
                                and arraycontains(s.labels, $6)
                                and s.bot_id <> all($7)
                                and (s.lease_id is null or (select botfarm_may_take_over()))
                            order by s.free_at
                            limit 1
                            for no key update skip locked
                        ) f
                        where p.project_id = coalesce($2, p.project_id)
                            and p.env = coalesce($3, p.env)
                            and p.domain = coalesce($4, p.domain)
                            -- Nobody passes a waiter. Not all of them may want this bot: the queue knows.
                            and not exists (
                                select from waiters w where w.parked and not w.granted and w.alive_until > now()
                            )
                            -- The id of a lease that has ended stands for no other.
                            and not exists (select from bot_slots x where x.lease_id = $1)
                            and not exists (select from history h where h.lease_id = $1)
                        order by f.free_at
                        limit 1
                    ),
                    changed as (
                        update bot_slots s
                        set lease_id = $1,
                            ord = 0,
                            role = $8,
                            holder = $9,
                            owner = $10,
                            note = $11,
                            url = $12,
                            ttl = $13,
                            fingerprint = $14,
                            sticky = null,
                            leased_at = now(),
                            expires_at = now() + $13,
                            free_at = now() + $13 + $15,
                            fence = botfarm_next_fence(s.fence),
                            offered = false,
                            answers = 1
                        from oldest o
                        where s.bot_id = o.bot_id
                        returning s.*
                    ),
                    expired as (
                        insert into history (bot_id, fence, lease_id, holder, note, url, leased_at, ended_at, reason)
                        select o.bot_id, o.fence, o.lease_id, o.holder, o.note, o.url, o.leased_at, o.expires_at, 'expired'
                        from oldest o
                        where o.lease_id is not null
                            and not o.offered
                    )",
                    request.id.as_uuid(),
                    selector.project.map(|project| project.as_uuid()),
                    selector.env.map(botfarm_core::Env::as_str),
                    selector.domain.map(botfarm_core::Domain::as_str),
                    selector.condition.as_str(),
                    &labels,
                    &avoid,
                    selector.role.as_deref(),
                    request.holder.as_str(),
                    request.owner.as_deref(),
                    request.note.as_deref(),
                    request.url.as_deref(),
                    interval(ttl),
                    request.fingerprint.as_ref().map(|fingerprint| fingerprint.0.as_slice()),
                    interval(self.policy.cooling),
                )
                .fetch_all(&mut *connection)
                .await?;
            Ok(rows)
        });
        match claimed {
            Ok(rows) => rows::lease(request.id, rows, &self.keyring),
            // A twin was quicker.
            Err(error) if error.constraint() == Some("bot_slots_lease") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The lease of this id, if it lives; that it has ended is an error.
    async fn replay(&self, request: &LeaseRequest) -> Result<Option<Lease>> {
        match self.status(request.id).await? {
            LeaseStatus::Unknown => Ok(None),
            LeaseStatus::Lost(lost) => Err(FarmError::LeaseLost(lost).into()),
            LeaseStatus::Live { fingerprint } => {
                if fingerprint.is_some() && request.fingerprint.is_some() && fingerprint != request.fingerprint {
                    return Err(FarmError::KeyReused.into());
                }
                self.take_up(request).await
            }
        }
    }

    /// Receives a lease that was granted: an offer becomes a lease of its full TTL, and the waiter leaves the queue.
    async fn take_up(&self, request: &LeaseRequest) -> Result<Option<Lease>> {
        let rows = repeat!(self.database, |connection| {
            Ok(lease_rows!(
                "with held as materialized (
                        select bot_id
                        from bot_slots
                        where lease_id = $1
                            and expires_at > clock_timestamp()
                        order by bot_id
                        for no key update
                    ),
                    -- Read after the locks have been got.
                    clock as materialized (select clock_timestamp() as time from (select count(*) from held) c),
                    left_queue as (delete from waiters where lease_id = $1 and exists (select from held)),
                    changed as (
                        update bot_slots s
                        set leased_at = case when s.offered then c.time else s.leased_at end,
                            expires_at = case when s.offered then c.time + s.ttl else s.expires_at end,
                            free_at = case when s.offered then c.time + s.ttl + $2 else s.free_at end,
                            offered = false,
                            answers = least(s.answers + 1, 100)
                        from held h, clock c
                        where s.bot_id = h.bot_id
                        returning s.*
                    )",
                request.id.as_uuid(),
                interval(self.policy.cooling),
            )
            .fetch_all(&mut *connection)
            .await?)
        })?;
        rows::lease(request.id, rows, &self.keyring)
    }

    /// What the selectors want, with logins looked up.
    async fn wants(&self, request: &LeaseRequest) -> Result<Vec<Want>> {
        let mut wants = Vec::with_capacity(request.selectors.len());
        for selector in &request.selectors {
            let mut ids = selector.id.map(|id| vec![id.as_uuid()]);
            if selector.names_a_bot() {
                let (id, login) =
                    (selector.id.map(|id| id.as_uuid()), selector.login.as_ref().map(botfarm_core::Login::folded));
                let named = repeat!(self.database, |connection| {
                    Ok(sqlx::query_scalar!(
                        "select b.id
                            from bots b
                            where b.id = $1
                                and b.login_key = coalesce($2, b.login_key)
                            union
                            select b.id
                            from bots b
                            where $1::uuid is null
                                and b.env = any(array['prod', 'preprod', 'stage'])
                                and b.login_key = $2",
                        id,
                        login,
                    )
                    .fetch_all(&mut *connection)
                    .await?)
                })?;
                ids = Some(named.into_iter().flatten().collect());
            }
            wants.push(Want::of(selector, ids));
        }
        Ok(wants)
    }

    /// Refuses what no bots could ever satisfy, whatever their condition and whoever holds them.
    async fn check_match(&self, request: &LeaseRequest, wants: &[Want]) -> Result<()> {
        let avoid: Vec<Uuid> = request.avoid.iter().map(BotId::as_uuid).collect();
        let json = serde_json::to_value(wants).map_err(Error::corrupt)?;
        let assigned = repeat!(self.database, |connection| {
            Ok(sqlx::query_scalar!(
                r#"select botfarm_assign($1, $2, null, null, null) as "assigned!: Vec<Option<Uuid>>""#,
                json,
                &avoid,
            )
            .fetch_one(&mut *connection)
            .await?)
        })?;
        let Some(selector) = assigned.iter().position(Option::is_none) else { return Ok(()) };
        let there_are = repeat!(self.database, |connection| {
            Ok(sqlx::query_scalar!(
                r#"select count(*) as "count!" from botfarm_existing($1, $2, $3)"#,
                json[selector],
                &avoid,
                i32::try_from(wants.len()).unwrap_or(i32::MAX),
            )
            .fetch_one(&mut *connection)
            .await?)
        })?;
        let wanted = &request.selectors[selector];
        let detail = match there_are {
            0 if request.avoid.is_empty() => format!("no bot matches {wanted}; check the selector, or add such a bot"),
            0 => format!("no bot matches {wanted} except those to avoid; check the selector, or add such a bot"),
            count => {
                format!("only {count} bots match {wanted}, too few for the whole request; add bots, or ask for fewer")
            }
        };
        Err(FarmError::NoMatch { selector, detail }.into())
    }

    /// Stands in the queue: anew, or where the same id stands or stood a short while ago.
    async fn enqueue(&self, request: &LeaseRequest, wants: &[Want], ttl: Duration) -> Result<()> {
        let avoid: Vec<Uuid> = request.avoid.iter().map(BotId::as_uuid).collect();
        let json = serde_json::to_value(wants).map_err(Error::corrupt)?;
        let shapeless: Vec<Want> = wants.iter().cloned().map(|want| Want { role: None, ..want }).collect();
        let shape = serde_json::to_string(&(shapeless, &avoid)).map_err(Error::corrupt)?;
        let queued = repeat!(self.database, |connection| {
            Ok(sqlx::query_scalar!(
                    "with lapsed as (
                        -- An offer that was not taken up in time: there is no lease of this id.
                        update bot_slots
                        set lease_id = null
                        where lease_id = $1
                            and offered
                            and expires_at <= clock_timestamp()
                    )
                    insert into waiters as w (
                        lease_id, process, alive_until, kept_until, shape, wants, avoid, sticky, holder, owner, note, url,
                        ttl, fingerprint
                    )
                    select $1, $2, clock_timestamp() + $3, clock_timestamp() + $3 + $4, $5, $6, $7, $8, $9, $10, $11, $12,
                        $13, $14
                    where not exists (
                            select from bot_slots where lease_id = $1 and not (offered and expires_at <= clock_timestamp())
                        )
                        and not exists (select from history where lease_id = $1)
                    on conflict (lease_id) do update
                    set process = excluded.process,
                        alive_until = excluded.alive_until,
                        kept_until = excluded.kept_until,
                        ticket = case when w.kept_until > clock_timestamp() then w.ticket else excluded.ticket end,
                        granted = false,
                        shape = excluded.shape,
                        wants = excluded.wants,
                        avoid = excluded.avoid,
                        sticky = excluded.sticky
                    returning fingerprint",
                    request.id.as_uuid(),
                    self.process,
                    interval(crate::queue::ALIVE),
                    interval(self.policy.place_kept),
                    shape,
                    json,
                    &avoid,
                    request.sticky.as_deref(),
                    request.holder.as_str(),
                    request.owner.as_deref(),
                    request.note.as_deref(),
                    request.url.as_deref(),
                    interval(ttl),
                    request.fingerprint.as_ref().map(|fingerprint| fingerprint.0.as_slice()),
                )
                .fetch_optional(&mut *connection)
                .await?)
        })?;
        let theirs = queued.flatten();
        let theirs = rows::fingerprint(theirs.as_deref());
        if theirs.is_some() && request.fingerprint.is_some() && theirs != request.fingerprint {
            return Err(FarmError::KeyReused.into());
        }
        Ok(())
    }

    /// Waits for real: from now on nobody passes. False when the request does not stand in the queue any more.
    async fn stay(&self, id: LeaseId) -> Result<bool> {
        repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                "update waiters
                set parked = true
                where lease_id = $1
                    and not granted
                    and alive_until > '-infinity'",
                id.as_uuid(),
            )
            .execute(&mut *connection)
            .await?
            .rows_affected()
                > 0)
        })
    }

    /// The wait is over: takes a grant of the last moment, or says why there is none.
    async fn give_up(&self, request: &LeaseRequest, wants: &[Want], last: bool) -> Result<Lease> {
        // Counted while the request still stands in the queue, as its holder sees it.
        let shortage = self.shortage(request, wants).await?;
        if last {
            self.leave(request.id, !request.wait.is_zero()).await?;
        }
        if let Some(lease) = self.take_up(request).await? {
            return Ok(lease);
        }
        Err(shortage.into())
    }

    /// Steps out of the queue, and keeps the place for a while. A grant is left alone.
    pub(crate) async fn leave(&self, id: LeaseId, keep: bool) -> Result<()> {
        let kept = if keep { self.policy.place_kept } else { Duration::ZERO };
        repeat!(self.database, |connection| {
            sqlx::query!(
                "update waiters
                    set alive_until = '-infinity',
                        kept_until = clock_timestamp() + $2
                    where lease_id = $1
                        and not granted",
                id.as_uuid(),
                interval(kept),
            )
            .execute(&mut *connection)
            .await?;
            Ok(())
        })
    }

    /// Undoes a grant that nobody received: `answers` of this call's own, and no twin's.
    pub(crate) async fn undo(&self, id: LeaseId, answers: i16) -> Result<()> {
        let undone = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                "with undone as materialized (
                        select bot_id
                        from bot_slots
                        where lease_id = $1
                            and answers <= $2
                            and expires_at > clock_timestamp()
                        order by bot_id
                        for no key update
                    ),
                    left_queue as (delete from waiters where lease_id = $1 and granted and exists (select from undone))
                    update bot_slots s
                    set lease_id = null,
                        -- Back to where it stood in the order, or nearly.
                        free_at = s.leased_at
                    from undone u
                    where s.bot_id = u.bot_id",
                id.as_uuid(),
                answers,
            )
            .execute(&mut *connection)
            .await?
            .rows_affected())
        })?;
        if undone > 0 {
            self.queue.want_pass();
        }
        Ok(())
    }

    /// Why nothing could be had.
    async fn shortage(&self, request: &LeaseRequest, wants: &[Want]) -> Result<FarmError> {
        let mut first = None;
        let (mut shortage, mut named) = (None, None);
        for (index, want) in wants.iter().enumerate() {
            let standing = self.standing(request, want, index).await?;
            if shortage.is_none() || (standing.free == 0 && first.is_none()) {
                (shortage, named) = (Some(standing.shortage), standing.first);
                if standing.free == 0 {
                    first = Some(index);
                }
            }
        }
        let Some(shortage) = shortage else { return Err(FarmError::invalid("/users", "must not be empty").into()) };
        match (request.selectors.as_slice(), named) {
            ([selector], Some(bot)) if selector.names_a_bot() && shortage.matching == 1 => {
                Ok(FarmError::Busy(Box::new(bot)))
            }
            _ => Ok(FarmError::Exhausted(Box::new(shortage))),
        }
    }

    async fn standing(&self, request: &LeaseRequest, want: &Want, selector: usize) -> Result<Standing> {
        let avoid: Vec<Uuid> = request.avoid.iter().map(BotId::as_uuid).collect();
        let json = serde_json::to_value(want).map_err(Error::corrupt)?;
        let row = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                    r#"with matching as materialized (
                        select
                            s.bot_id,
                            s.condition,
                            s.holder,
                            s.leased_at,
                            s.expires_at,
                            s.free_at,
                            s.lease_id is not null and s.expires_at > now() and not s.offered as leased,
                            s.free_at > now() as resting
                        from pools p
                        cross join lateral (
                            select s.*
                            from bot_slots s
                            where s.pool_id = p.id
                                -- See claim.
                                and arraycontains(s.labels, $4)
                                and ($5::uuid[] is null or s.bot_id = any($5))
                                and s.bot_id <> all($6)
                            limit 10000
                        ) s
                        where p.project_id = coalesce($1, p.project_id)
                            and p.env = coalesce($2, p.env)
                            and p.domain = coalesce($3, p.domain)
                        -- See COUNTED.
                        limit 10000
                    ),
                    counts as (
                        select
                            count(*) as matching,
                            count(*) filter (where leased) as leased,
                            count(*) filter (where resting and not leased) as cooling,
                            count(*) filter (where not resting and condition <> $7) as out_of_service,
                            count(*) filter (where not resting and condition = $7) as free,
                            least(min(free_at) filter (where resting) - now(), interval '1 minute') as soonest
                        from matching
                    ),
                    oldest as (select holder, leased_at, expires_at from matching where leased order by leased_at limit 1),
                    first as (select bot_id, free_at, condition from matching limit 1)
                    select
                        c.matching as "matching!",
                        c.leased as "leased!",
                        c.cooling as "cooling!",
                        c.out_of_service as "out_of_service!",
                        c.free as "free!",
                        c.soonest,
                        o.holder as "holder?",
                        o.leased_at as "since?",
                        o.expires_at as "expires_at?",
                        f.bot_id as "bot_id?",
                        f.free_at as "bot_free_at?",
                        f.condition as "bot_condition?",
                        (
                            select count(*)
                            from waiters w
                            where w.parked
                                and not w.granted
                                and w.alive_until > now()
                                and w.lease_id <> $8
                                and exists (select from jsonb_array_elements(w.wants) o where botfarm_overlap(o.value, $9))
                        ) as "waiting!",
                        (
                            exists (select from bot_slots where lease_id = $8)
                            or exists (select from history where lease_id = $8)
                            or exists (select from waiters where lease_id = $8)
                        ) as "known!"
                    from counts c
                    left join oldest o on true
                    left join first f on true"#,
                    want.project_id,
                    want.env,
                    want.domain,
                    &want.labels,
                    want.ids.as_deref(),
                    &avoid,
                    want.condition,
                    request.id.as_uuid(),
                    json,
                )
                .fetch_one(&mut *connection)
                .await?)
        })?;
        let number = |count: i64| u64::try_from(count).unwrap_or(0);
        let holder = row.holder.as_deref().map(rows::text::<botfarm_core::Holder>).transpose()?;
        let first = match (row.bot_id, &row.bot_condition) {
            (Some(bot), Some(condition)) => Some(Busy {
                bot: bot.into(),
                holder: holder.clone(),
                since: row.since,
                expires_at: row.expires_at.or(row.bot_free_at.filter(|_| row.cooling > 0)),
                condition: rows::text(condition)?,
            }),
            _ => None,
        };
        let oldest = holder.zip(row.since).map(|(holder, since)| Oldest { holder, since });
        let retry_after = row.soonest.as_ref().map(rows::duration).unwrap_or_default();
        let shortage = Shortage {
            selector,
            matching: number(row.matching),
            leased: number(row.leased),
            cooling: number(row.cooling),
            out_of_service: number(row.out_of_service),
            waiting: number(row.waiting),
            oldest,
            retry_after: retry_after.max(Duration::from_secs(1)),
        };
        Ok(Standing { shortage, free: number(row.free), first, known: row.known })
    }
}

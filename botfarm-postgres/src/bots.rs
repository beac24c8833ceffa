//! Bots one by one, and in lists.

use botfarm_core::{
    Bot, BotChanges, BotFilter, BotId, BotState, Condition, Cursor, Domain, Env, Error as FarmError, NewBot, Page,
    PageRequest,
};
use uuid::Uuid;

use crate::connection::{once, repeat};
use crate::{
    error::{Error, Result},
    farm::Farm,
    rows::{self, BotRow, label_texts},
};

/// A statement on bots. `$chosen` defines the common table `chosen` of ids.
macro_rules! bot_rows {
    ($chosen:literal, $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            BotRow,
            $chosen
                + r#"
                select
                    b.id,
                    b.login,
                    p.project_id,
                    p.env,
                    p.domain,
                    b.labels,
                    s.condition,
                    b.created_at,
                    case botfarm_state(s) when 'cooling' then s.free_at end as cooling_until,
                    case botfarm_state(s) when 'leased' then s.holder end as holder,
                    case botfarm_state(s) when 'leased' then s.note end as note,
                    case botfarm_state(s) when 'leased' then s.url end as url,
                    case botfarm_state(s) when 'leased' then s.leased_at end as leased_at,
                    case botfarm_state(s) when 'leased' then s.expires_at end as expires_at
                from chosen c
                join bots b on b.id = c.id
                join pools p on p.id = b.pool_id
                join bot_slots s on s.bot_id = b.id
                order by b.id"#,
            $($argument),+
        )
    };
}

impl Farm {
    pub(crate) async fn create(&self, bot: &NewBot) -> Result<Bot> {
        let id = BotId::new();
        let labels = label_texts(&bot.labels);
        let sealed = self.keyring.seal(&bot.password, id);
        let created = once!(self.database, |connection| {
            Ok(sqlx::query_scalar!(
                r#"with made as (
                        insert into pools (project_id, env, domain)
                        select $2, $3, $4
                        where not exists (select from pools where project_id = $2 and env = $3 and domain = $4)
                        -- An update that changes nothing returns the row that somebody else has just made.
                        on conflict on constraint pools_key do update set domain = excluded.domain
                        returning id
                    ),
                    pool as (
                        select id from made
                        union all
                        select id from pools where project_id = $2 and env = $3 and domain = $4
                        limit 1
                    ),
                    bot as (
                        insert into bots (id, pool_id, env, login, login_key, sealed, labels)
                        select $1, pool.id, $3, $5, $6, $7, $8
                        from pool
                        returning id, pool_id, created_at
                    ),
                    slot as (
                        insert into bot_slots (bot_id, pool_id, labels)
                        select id, pool_id, $8
                        from bot
                    )
                    select created_at as "created_at!" from bot"#,
                id.as_uuid(),
                bot.project.as_uuid(),
                bot.env.as_str(),
                bot.domain.as_str(),
                bot.login.as_str(),
                bot.login.folded(),
                sealed,
                &labels,
            )
            .fetch_one(&mut *connection)
            .await?)
        });
        match created {
            Ok(created_at) => {
                self.serve_after_change().await;
                Ok(Bot::new(id, bot, created_at))
            }
            Err(error) if error.constraint() == Some("bots_login") => {
                Err(FarmError::LoginTaken { login: bot.login.clone(), env: bot.env }.into())
            }
            Err(error) => Err(error),
        }
    }

    /// A change may have brought what somebody waits for.
    pub(crate) async fn serve_after_change(&self) {
        let waiters = repeat!(self.database, |connection| {
            Ok(sqlx::query_scalar!(r#"select exists (select from waiters where not granted) as "waiters!""#)
                .fetch_one(&mut *connection)
                .await?)
        });
        // When it cannot be told, the waiters' own processes look once a second.
        if matches!(waiters, Ok(true)) {
            self.queue.want_pass();
        }
    }

    pub(crate) async fn get(&self, id: BotId) -> Result<Bot> {
        let row = repeat!(self.database, |connection| {
            Ok(bot_rows!("with chosen as (select $1::uuid as id)", id.as_uuid())
                .fetch_optional(&mut *connection)
                .await?)
        })?;
        row.ok_or_else(|| Error::from(FarmError::NoSuchBot { id }))?.bot()
    }

    pub(crate) async fn list(&self, filter: &BotFilter, page: &PageRequest) -> Result<Page<Bot>> {
        let limit = page.checked_limit()?;
        let after = page.cursor.as_ref().map(Cursor::bot).transpose()?.map_or(Uuid::nil(), |bot| bot.as_uuid());
        let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let labels = label_texts(&filter.labels);
        let condition = filter.condition.map(Condition::as_str);
        let state = filter.state.map(BotState::as_str);
        let pools = (
            filter.project.map(|project| project.as_uuid()),
            filter.env.map(Env::as_str),
            filter.domain.map(Domain::as_str),
        );
        let rows = repeat!(self.database, |connection| {
            // Three ways to the same list, each along an index that is in its order or short.
            let rows = if let Some(login) = &filter.login {
                bot_rows!(
                    "with chosen as (
                            select b.id
                            from bots b
                            join pools p on p.id = b.pool_id
                            join bot_slots s on s.bot_id = b.id
                            where b.env = any(array['prod', 'preprod', 'stage'])
                                and b.login_key = $1
                                and b.id > $2
                                and p.project_id = coalesce($3, p.project_id)
                                and p.env = coalesce($4, p.env)
                                and p.domain = coalesce($5, p.domain)
                                and b.labels @> $6
                                and s.condition = coalesce($7, s.condition)
                                and ($8::text is null or $8 = botfarm_state(s))
                            order by b.id
                            limit $9
                        )",
                    login.folded(),
                    after,
                    pools.0,
                    pools.1,
                    pools.2,
                    &labels,
                    condition,
                    state,
                    one_more,
                )
                .fetch_all(&mut *connection)
                .await?
            } else if pools == (None, None, None) {
                bot_rows!(
                    "with chosen as (
                            select b.id
                            from bots b
                            join bot_slots s on s.bot_id = b.id
                            where b.id > $1
                                and b.labels @> $2
                                and s.condition = coalesce($3, s.condition)
                                and ($4::text is null or $4 = botfarm_state(s))
                            order by b.id
                            limit $5
                        )",
                    after,
                    &labels,
                    condition,
                    state,
                    one_more,
                )
                .fetch_all(&mut *connection)
                .await?
            } else {
                bot_rows!(
                    "with chosen as (
                            select c.id
                            from pools p
                            cross join lateral (
                                select b.id
                                from bots b
                                join bot_slots s on s.bot_id = b.id
                                where b.pool_id = p.id
                                    and b.id > $1
                                    and b.labels @> $5
                                    and s.condition = coalesce($6, s.condition)
                                    and ($7::text is null or $7 = botfarm_state(s))
                                order by b.id
                                limit $8
                            ) c
                            where p.project_id = coalesce($2, p.project_id)
                                and p.env = coalesce($3, p.env)
                                and p.domain = coalesce($4, p.domain)
                            order by c.id
                            limit $8
                        )",
                    after,
                    pools.0,
                    pools.1,
                    pools.2,
                    &labels,
                    condition,
                    state,
                    one_more,
                )
                .fetch_all(&mut *connection)
                .await?
            };
            Ok(rows)
        })?;
        let bots = rows.into_iter().map(BotRow::bot).collect::<Result<Vec<_>>>()?;
        Ok(Page::of(bots, limit, |bot| Cursor::after_bot(bot.id)))
    }

    pub(crate) async fn update(&self, id: BotId, changes: &BotChanges) -> Result<Bot> {
        let labels = changes.labels.as_ref().map(label_texts);
        let sealed = changes.password.as_ref().map(|password| self.keyring.seal(password, id));
        let updated = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                r#"with slot as materialized (
                        select s.*, p.project_id, p.env, p.domain
                        from bot_slots s
                        join pools p on p.id = s.pool_id
                        where s.bot_id = $1
                        for no key update of s
                    ),
                    held as materialized (
                        select holder, expires_at
                        from slot
                        where lease_id is not null
                            and expires_at > clock_timestamp()
                    ),
                    allowed as materialized (
                        select *
                        from slot
                        where not $2 or not exists (select from held)
                    ),
                    made as (
                        insert into pools (project_id, env, domain)
                        select coalesce($3, a.project_id), a.env, coalesce($4, a.domain)
                        from allowed a
                        where not exists (
                            select from pools
                            where project_id = coalesce($3, a.project_id)
                                and env = a.env
                                and domain = coalesce($4, a.domain)
                        )
                        on conflict on constraint pools_key do update set domain = excluded.domain
                        returning id
                    ),
                    pool as (
                        select id from made
                        union all
                        select p.id
                        from pools p
                        join allowed a
                            on p.project_id = coalesce($3, a.project_id)
                            and p.env = a.env
                            and p.domain = coalesce($4, a.domain)
                        limit 1
                    ),
                    slot_updated as (
                        update bot_slots s
                        set pool_id = pool.id,
                            labels = coalesce($5, s.labels),
                            condition = coalesce($6, s.condition)
                        from allowed a, pool
                        where s.bot_id = a.bot_id
                    ),
                    bot_updated as (
                        update bots b
                        set pool_id = pool.id,
                            labels = coalesce($5, b.labels),
                            sealed = coalesce($7, b.sealed)
                        from allowed a, pool
                        where b.id = a.bot_id
                    )
                    select
                        (select count(*) from slot) as "found!",
                        (select count(*) from allowed) as "allowed!",
                        (select holder from held) as holder,
                        (select expires_at from held) as expires_at"#,
                id.as_uuid(),
                changes.need_a_free_bot(),
                changes.project.map(|project| project.as_uuid()),
                changes.domain.map(Domain::as_str),
                labels.as_deref(),
                changes.condition.map(Condition::as_str),
                sealed.as_deref(),
            )
            .fetch_one(&mut *connection)
            .await?)
        })?;
        if updated.found == 0 {
            return Err(FarmError::NoSuchBot { id }.into());
        }
        if updated.allowed == 0 {
            return Err(in_use(id, updated.holder.as_deref(), updated.expires_at)?.into());
        }
        self.serve_after_change().await;
        self.get(id).await
    }

    pub(crate) async fn delete(&self, id: BotId) -> Result<()> {
        let deleted = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                r#"with slot as materialized (
                        select *
                        from bot_slots
                        where bot_id = $1
                        for update
                    ),
                    held as materialized (
                        select holder, expires_at
                        from slot
                        where lease_id is not null
                            and expires_at > clock_timestamp()
                    ),
                    -- Its lease stays known to have ended.
                    expired as (
                        insert into history (bot_id, fence, lease_id, holder, note, url, leased_at, ended_at, reason)
                        select bot_id, fence, lease_id, holder, note, url, leased_at, expires_at, 'expired'
                        from slot
                        where lease_id is not null
                            and not offered
                            and not exists (select from held)
                    ),
                    deleted as (
                        delete from bots
                        where id in (select bot_id from slot)
                            and not exists (select from held)
                        returning id
                    )
                    select
                        (select count(*) from slot) as "found!",
                        (select count(*) from deleted) as "deleted!",
                        (select holder from held) as holder,
                        (select expires_at from held) as expires_at"#,
                id.as_uuid(),
            )
            .fetch_one(&mut *connection)
            .await?)
        })?;
        if deleted.found == 0 {
            return Err(FarmError::NoSuchBot { id }.into());
        }
        if deleted.deleted == 0 {
            return Err(in_use(id, deleted.holder.as_deref(), deleted.expires_at)?.into());
        }
        // Who waited for it alone waits in vain now.
        self.serve_after_change().await;
        Ok(())
    }
}

fn in_use(bot: BotId, holder: Option<&str>, expires_at: Option<botfarm_core::Timestamp>) -> Result<FarmError> {
    match (holder, expires_at) {
        (Some(holder), Some(expires_at)) => Ok(FarmError::InUse { bot, holder: rows::text(holder)?, expires_at }),
        _ => Err(Error::corrupt("a held bot has no holder")),
    }
}

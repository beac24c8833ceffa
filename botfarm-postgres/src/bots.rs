//! Bots one by one, and in lists.

use botfarm_core::{
    Bot, BotChanges, BotFilter, BotId, BotState, Condition, Cursor, Error as FarmError, Field, NewBot, Page,
    PageRequest, SealedFor, Timestamp,
};
use uuid::Uuid;

use crate::connection::{once, repeat};
use crate::{
    error::{Error, Result},
    farm::Farm,
    rows::{self, BotRow, label_texts},
    seals,
    unreadable::Unreadable,
};

/// How often to look again because others change the same bot meanwhile.
const TRIES: usize = 20;

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
                    p.project,
                    p.env,
                    p.domain,
                    b.labels,
                    botfarm_condition(s) as "condition!",
                    b.created_at,
                    case botfarm_state(s) when 'cooling' then s.free_at end as cooling_until,
                    case botfarm_state(s) when 'leased' then s.terms end as terms,
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
        let NewBot { login, env, project, .. } = bot;
        let of =
            SealedFor { bot: id, env: env.as_str(), login: login.as_str(), project: project.as_str(), generation: 0 };
        let sealed = self.seals.seal(&bot.password, &of);
        let created = once!(self.database, |connection| {
            Ok(sqlx::query!(
                r#"select created_at as "created_at!", pools as "pools!"
                from botfarm_create($1, $2, $3, $4, $5, $6, $7, $8)"#,
                id.as_uuid(),
                bot.project.as_str(),
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
            Ok(created) => {
                self.serve(created.pools);
                Ok(Bot::new(id, bot, created.created_at))
            }
            Err(error) if error.constraint() == Some("bots_login") => {
                Err(FarmError::LoginTaken { login: bot.login.clone(), env: bot.env.clone() }.into())
            }
            Err(error) => Err(error),
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
        let pools = (filter.project.as_deref(), filter.env.as_deref(), filter.domain.as_deref());
        let rows = repeat!(self.database, |connection| {
            // Three ways to the same list, each along an index that is in its order or short.
            let rows = if let Some(login) = &filter.login {
                bot_rows!(
                    "with chosen as (
                            select b.id
                            from bots b
                            join pools p on p.id = b.pool_id
                            join bot_slots s on s.bot_id = b.id
                            where b.login_key = $1
                                and b.id > $2
                                and p.project = coalesce($3, p.project)
                                and p.env = coalesce($4, p.env)
                                and p.domain = coalesce($5, p.domain)
                                and b.labels @> $6
                                and ($7::text is null or botfarm_condition(s) = $7)
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
                                and ($3::text is null or botfarm_condition(s) = $3)
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
                                    and ($6::text is null or botfarm_condition(s) = $6)
                                    and ($7::text is null or $7 = botfarm_state(s))
                                order by b.id
                                limit $8
                            ) c
                            where p.project = coalesce($2, p.project)
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
        let call = Uuid::new_v4();
        let mut tries = 0;
        let (updated, resealed) = loop {
            tries += 1;
            let resealed = self.reseal(id, changes).await?;
            let updated = self.try_update(id, call, changes, labels.as_deref(), resealed.as_ref()).await?;
            if !updated.is_outrun {
                break (updated, resealed);
            }
            // Somebody else has changed its password meanwhile, or its project.
            if tries == TRIES {
                return Err(Error::Outrun);
            }
        };
        checked(id, updated.is_found, updated.holder.as_deref(), updated.held_until)?;
        if let Some(Resealed { generation, .. }) = resealed {
            self.seals.saw(id, generation);
        }
        self.serve(updated.pools.unwrap_or_default());
        // Who waited for it alone may wait in vain now.
        self.calls.look_soon();
        self.get(id).await
    }

    /// The password of a bot as it is to be sealed after a change; `None` when it stays as it is.
    async fn reseal(&self, id: BotId, changes: &BotChanges) -> Result<Option<Resealed>> {
        if changes.password.is_none() && changes.project.is_none() {
            return Ok(None);
        }
        let row = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                "select b.sealed, b.generation, b.login, p.env, p.project
                from bots b
                join bot_slots s on s.bot_id = b.id
                join pools p on p.id = s.pool_id
                where b.id = $1",
                id.as_uuid(),
            )
            .fetch_optional(&mut *connection)
            .await?)
        })?;
        let Some(row) = row else { return Err(FarmError::NoSuchBot { id }.into()) };
        let was =
            SealedFor { bot: id, env: &row.env, login: &row.login, project: &row.project, generation: row.generation };
        let password = match (&changes.password, self.seals.open(&row.sealed, &was)) {
            (Some(password), _) => password.clone(),
            (None, Ok(password)) => password,
            (None, Err(source)) => {
                let unreadable = Unreadable { bot: id, login: row.login, sealed: row.sealed, source };
                return Err(self.unchanged(unreadable).await?);
            }
        };
        let generation = seals::after(row.generation);
        let project = changes.project.as_deref().unwrap_or(&row.project);
        let sealed = self.seals.seal(&password, &SealedFor { project, generation, ..was });
        Ok(Some(Resealed { was: row.sealed, sealed, generation }))
    }

    /// What a change is told that leaves the password as it is, when that cannot be read.
    async fn unchanged(&self, unreadable: Unreadable) -> Result<Error> {
        if !unreadable.source.is_tampering() {
            return Ok(unreadable.into());
        }
        if self.set_aside(&unreadable).await? {
            let detail = format!("must be given again: {}", unreadable.source);
            return Ok(FarmError::invalid(Field::Password, detail).into());
        }
        Ok(Error::Outrun)
    }

    async fn try_update(
        &self,
        id: BotId,
        call: Uuid,
        changes: &BotChanges,
        labels: Option<&[String]>,
        resealed: Option<&Resealed>,
    ) -> Result<Updated> {
        repeat!(self.database, |connection| {
            Ok(sqlx::query_as!(
                Updated,
                r#"select is_found as "is_found!", is_outrun as "is_outrun!", holder, held_until, pools
                from botfarm_update($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"#,
                id.as_uuid(),
                call,
                changes.need_a_free_bot(),
                changes.project.as_deref(),
                changes.domain.as_deref(),
                labels,
                changes.condition.map(Condition::as_str),
                resealed.map(|it| it.sealed.as_slice()),
                resealed.map(|it| it.generation),
                resealed.map(|it| it.was.as_slice()),
            )
            .fetch_one(&mut *connection)
            .await?)
        })
    }

    pub(crate) async fn delete(&self, id: BotId) -> Result<()> {
        let mut asked = false;
        let (deleted, again) = repeat!(self.database, |connection| {
            let again = std::mem::replace(&mut asked, true);
            let deleted = sqlx::query!(
                r#"select is_found as "is_found!", holder, held_until from botfarm_delete($1)"#,
                id.as_uuid(),
            )
            .fetch_one(&mut *connection)
            .await?;
            Ok((deleted, again))
        })?;
        // What is not there when asked again, since the answer was lost, was deleted.
        checked(id, deleted.is_found || again, deleted.holder.as_deref(), deleted.held_until)?;
        // Who waited for it alone waits in vain now.
        self.calls.look_soon();
        Ok(())
    }
}

/// A password sealed for something else, or another, and what it was.
struct Resealed {
    was: Vec<u8>,
    sealed: Vec<u8>,
    generation: i64,
}

/// What `botfarm_update` says.
struct Updated {
    is_found: bool,
    is_outrun: bool,
    holder: Option<String>,
    held_until: Option<Timestamp>,
    pools: Option<Vec<i32>>,
}

/// Refuses what was not done.
fn checked(id: BotId, is_found: bool, holder: Option<&str>, expires_at: Option<Timestamp>) -> Result<()> {
    match (is_found, holder, expires_at) {
        (false, ..) => Err(FarmError::NoSuchBot { id }.into()),
        (true, Some(holder), Some(expires_at)) => {
            Err(FarmError::InUse { bot: id, holder: rows::text(holder)?, expires_at }.into())
        }
        _ => Ok(()),
    }
}

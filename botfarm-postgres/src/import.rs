//! Many bots at once, all or nothing.

mod plan;

use std::collections::BTreeSet;

use botfarm_core::{Error as FarmError, ImportReport, NewBot, SealedFor};
use sqlx::{Connection as _, PgConnection, PgTransaction};
use uuid::Uuid;

use self::plan::{Plan, Row};
use crate::connection::repeat_long;
use crate::{
    error::{Error, Result},
    farm::Farm,
    rows::label_texts,
};

/// How often to look again because others create, change or delete the same bots meanwhile.
const TRIES: usize = 50;

/// Rows per statement.
const BATCH: usize = 5_000;

/// Between labels in a text; no label has it.
const SEPARATOR: &str = "\u{1f}";

impl Farm {
    /// See [`BotFarm::import`](botfarm_core::BotFarm::import). A transaction of many statements; it runs in a task that
    /// is never cancelled. What others need, it locks last and for as long as the changes take: rows of bots that it
    /// changes, in the order in which everybody locks them.
    pub(crate) async fn import(&self, bots: &[NewBot], dry_run: bool) -> Result<ImportReport> {
        let report = repeat_long!(self.database, |connection| {
            let mut tries = 0;
            loop {
                tries += 1;
                match self.try_import(&mut *connection, bots, dry_run).await {
                    // Somebody has just created or deleted one of them: look again.
                    Err(Error::Outrun) if tries < TRIES => {}
                    Err(error) if error.constraint() == Some("bots_login") && tries < TRIES => {}
                    done => break done,
                }
            }
        })?;
        if !dry_run {
            let pools = repeat_long!(self.database, |connection| {
                Ok(sqlx::query_scalar!(r#"select botfarm_awaited_pools(array(select id from pools)) as "pools!""#)
                    .fetch_one(&mut *connection)
                    .await?)
            });
            // When it cannot be told, those who wait look by themselves.
            self.serve(pools.unwrap_or_default());
            self.calls.look_soon();
        }
        Ok(report)
    }

    async fn try_import(&self, connection: &mut PgConnection, bots: &[NewBot], dry_run: bool) -> Result<ImportReport> {
        let mut transaction = connection.begin().await?;
        let done = self.write(&mut transaction, bots, dry_run).await;
        if done.is_ok() && !dry_run {
            transaction.commit().await?;
        } else {
            transaction.rollback().await?;
        }
        done
    }

    async fn write(&self, transaction: &mut PgTransaction<'_>, bots: &[NewBot], dry_run: bool) -> Result<ImportReport> {
        sqlx::query!("select set_config('statement_timeout', '60s', true) as statements, set_config('lock_timeout', '30s', true) as locks")
            .fetch_one(&mut **transaction)
            .await?;
        let mut plan = self.plan(transaction, bots).await?;
        if !plan.faults.is_empty() {
            plan.faults.sort_by_key(|(row, _)| *row);
            return Err(FarmError::Invalid { faults: plan.faults.into_iter().map(|(_, fault)| fault).collect() }.into());
        }
        let report = ImportReport {
            created: number(plan.new.len()),
            updated: number(plan.changed.len() + plan.moved.len()),
            unchanged: number(plan.unchanged),
        };
        if dry_run {
            return Ok(report);
        }
        make_pools_and_label_sets(transaction, bots).await?;
        // In one order, so that two imports wait for each other, but not both.
        plan.new.sort_by_cached_key(|row| row.bot.login.folded());
        for batch in plan.new.chunks(BATCH) {
            self.insert(transaction, batch).await?;
        }
        sqlx::query!("select set_config('lock_timeout', '2s', true)").fetch_one(&mut **transaction).await?;
        self.change(transaction, &mut plan).await?;
        Ok(report)
    }

    async fn insert(&self, transaction: &mut PgTransaction<'_>, bots: &[Row<'_>]) -> Result<()> {
        let columns = self.columns(bots);
        sqlx::query!(
            "with new as materialized (
                select n.*, string_to_array(n.joined, $9) as labels
                from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::text[])
                    n (id, project, env, domain, login, login_key, sealed, joined)
            ),
            bot as (
                insert into bots (id, pool_id, env, login, login_key, sealed, labels)
                select n.id, p.id, n.env, n.login, n.login_key, n.sealed, n.labels
                from new n
                join pools p on p.project = n.project and p.env = n.env and p.domain = n.domain
                order by n.login_key
                returning id, pool_id, labels
            )
            insert into bot_slots (bot_id, pool_id, label_set_id)
            select b.id, b.pool_id, l.id
            from bot b
            left join label_sets l on b.labels <> '{}' and l.key = sha256(convert_to(b.labels::text, 'UTF8'))
            -- Who was imported first is granted first; the ids keep the order of the file.
            order by b.id",
            &columns.ids,
            &columns.projects,
            &columns.envs,
            &columns.domains,
            &columns.logins,
            &columns.login_keys,
            &columns.sealed,
            &columns.labels,
            SEPARATOR,
        )
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }

    /// Locks what is to be changed, looks once more, and changes it.
    async fn change(&self, transaction: &mut PgTransaction<'_>, plan: &mut Plan<'_>) -> Result<()> {
        let moved = self.columns(&plan.moved);
        let slots = sqlx::query!(
            r#"select s.bot_id, p.project, p.domain, s.terms->>'holder' as holder,
                s.lease_id is not null and s.expires_at > clock_timestamp() as "is_held!"
            from bot_slots s
            join pools p on p.id = s.pool_id
            where s.bot_id = any($1)
            order by s.bot_id
            for no key update of s"#,
            &moved.ids,
        )
        .fetch_all(&mut **transaction)
        .await?;
        if slots.len() != moved.ids.len() {
            return Err(Error::Outrun);
        }
        // A bot that was leased since the plan was made must not change its project or domain.
        let outrun = slots.iter().filter(|slot| slot.is_held).any(|slot| {
            plan.moved.iter().any(|Row { id, bot, .. }| {
                id.as_uuid() == slot.bot_id
                    && (slot.project != bot.project.as_str() || slot.domain != bot.domain.as_str())
            })
        });
        if outrun {
            return Err(Error::Outrun);
        }
        sqlx::query!(
            "insert into moves (bot_id, fence, project)
            select s.bot_id, s.fence, p.project
            from unnest($1::uuid[], $2::text[]) n (id, project)
            join bot_slots s on s.bot_id = n.id
            join pools p on p.id = s.pool_id
            where n.project <> p.project
                and s.fence > 0
            on conflict do nothing",
            &moved.ids,
            &moved.projects,
        )
        .execute(&mut **transaction)
        .await?;
        sqlx::query!(
            "update bot_slots s
            set version = s.version + 1,
                pool_id = p.id,
                label_set_id = l.id
            from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
                n (id, project, env, domain, joined)
            join pools p on p.project = n.project and p.env = n.env and p.domain = n.domain
            left join label_sets l
                on n.joined <> ''
                and l.key = sha256(convert_to(string_to_array(n.joined, $6)::text, 'UTF8'))
            where s.bot_id = n.id",
            &moved.ids,
            &moved.projects,
            &moved.envs,
            &moved.domains,
            &moved.labels,
            SEPARATOR,
        )
        .execute(&mut **transaction)
        .await?;
        let mut all = std::mem::take(&mut plan.changed);
        all.append(&mut plan.moved);
        all.sort_by_key(|row| row.id);
        for batch in all.chunks(BATCH) {
            let columns = self.columns(batch);
            let changed = sqlx::query!(
                "update bots b
                set pool_id = p.id,
                    login = n.login,
                    sealed = n.sealed,
                    generation = n.generation,
                    labels = string_to_array(n.joined, $10)
                from unnest(
                    $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::text[], $8::bigint[],
                    $9::bytea[]
                ) n (id, project, env, domain, login, sealed, joined, generation, was)
                join pools p on p.project = n.project and p.env = n.env and p.domain = n.domain
                where b.id = n.id
                    -- What has been sealed for another project since the plan was made has been moved.
                    and b.sealed = n.was",
                &columns.ids,
                &columns.projects,
                &columns.envs,
                &columns.domains,
                &columns.logins,
                &columns.sealed,
                &columns.labels,
                &columns.generations,
                &columns.was,
                SEPARATOR,
            )
            .execute(&mut **transaction)
            .await?;
            if changed.rows_affected() != u64::try_from(batch.len()).unwrap_or(u64::MAX) {
                return Err(Error::Outrun);
            }
        }
        Ok(())
    }

    fn columns(&self, bots: &[Row<'_>]) -> Columns {
        let mut columns = Columns::default();
        for Row { id, bot, generation, was } in bots {
            let NewBot { login, env, project, .. } = bot;
            let (login, env, project) = (login.as_str(), env.as_str(), project.as_str());
            let of = SealedFor { bot: *id, env, login, project, generation: *generation };
            columns.ids.push(id.as_uuid());
            columns.projects.push(bot.project.to_string());
            columns.envs.push(bot.env.as_str().to_owned());
            columns.domains.push(bot.domain.as_str().to_owned());
            columns.logins.push(bot.login.as_str().to_owned());
            columns.login_keys.push(bot.login.folded());
            columns.sealed.push(self.seals.seal(&bot.password, &of));
            columns.generations.push(*generation);
            columns.was.push(was.clone());
            columns.labels.push(label_texts(&bot.labels).join(SEPARATOR));
        }
        columns
    }
}

/// Bots, column by column.
#[derive(Default)]
struct Columns {
    ids: Vec<Uuid>,
    projects: Vec<String>,
    envs: Vec<String>,
    domains: Vec<String>,
    logins: Vec<String>,
    login_keys: Vec<String>,
    sealed: Vec<Vec<u8>>,
    generations: Vec<i64>,
    was: Vec<Vec<u8>>,
    labels: Vec<String>,
}

async fn make_pools_and_label_sets(transaction: &mut PgTransaction<'_>, bots: &[NewBot]) -> Result<()> {
    let pools: BTreeSet<_> = bots.iter().map(|bot| (&bot.project, &bot.env, &bot.domain)).collect();
    let projects: Vec<_> = pools.iter().map(|(project, ..)| project.to_string()).collect();
    let envs: Vec<_> = pools.iter().map(|(_, env, _)| env.as_str().to_owned()).collect();
    let domains: Vec<_> = pools.iter().map(|(.., domain)| domain.as_str().to_owned()).collect();
    sqlx::query!(
        "insert into pools (project, env, domain)
        select * from unnest($1::text[], $2::text[], $3::text[])
        on conflict do nothing",
        &projects,
        &envs,
        &domains,
    )
    .execute(&mut **transaction)
    .await?;
    let labels: BTreeSet<_> = bots.iter().map(|bot| label_texts(&bot.labels).join(SEPARATOR)).collect();
    let labels: Vec<_> = labels.into_iter().filter(|labels| !labels.is_empty()).collect();
    for batch in labels.chunks(BATCH) {
        sqlx::query!(
            "insert into label_sets (key, labels)
            select sha256(convert_to(n.labels::text, 'UTF8')), n.labels
            from (select string_to_array(joined, $2) as labels from unnest($1::text[]) joined) n
            where not exists (
                select from label_sets l where l.key = sha256(convert_to(n.labels::text, 'UTF8'))
            )
            order by 1
            on conflict do nothing",
            batch,
            SEPARATOR,
        )
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

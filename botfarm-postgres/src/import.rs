//! Many bots at once, all or nothing.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use botfarm_core::{BotId, Error as FarmError, Fault, ImportReport, NewBot};
use sqlx::{Connection as _, PgConnection, PgTransaction};
use uuid::Uuid;

use crate::connection::repeat_long;
use crate::{
    error::{Error, Result},
    farm::Farm,
    rows::label_texts,
};

/// How long one import may take.
pub(crate) const LONGEST: Duration = Duration::from_mins(10);

/// How often to look again because others create the same bots meanwhile.
const TRIES: usize = 50;

/// Rows per statement.
const BATCH: usize = 5_000;

/// Between labels in a text; no label has it.
const SEPARATOR: &str = "\u{1f}";

/// What the database has of an account that a row names.
struct Existing {
    id: BotId,
    row: usize,
    same: bool,
}

impl Farm {
    /// See [`BotFarm::import`](botfarm_core::BotFarm::import). A transaction of many statements; it runs in a task that
    /// is never cancelled.
    pub(crate) async fn import(&self, bots: &[NewBot], dry_run: bool) -> Result<ImportReport> {
        let report = repeat_long!(self.database, |connection| {
            let mut tries = 0;
            loop {
                tries += 1;
                match self.try_import(&mut *connection, bots, dry_run).await {
                    // Somebody has just created one of them: look again.
                    Err(error) if error.constraint() == Some("bots_login") && tries < TRIES => {}
                    done => break done,
                }
            }
        })?;
        if !dry_run {
            self.serve_after_change().await;
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
        sqlx::query!("set local statement_timeout = '60s'").execute(&mut **transaction).await?;
        // One import at a time: two that overlap would wait for each other's rows.
        sqlx::query!("select pg_advisory_xact_lock(7238462)").fetch_one(&mut **transaction).await?;
        let (mut existing, mut faults) = (Vec::new(), NewBot::twins(bots));
        for (start, batch) in batches(bots) {
            self.compare(transaction, start, batch, &mut existing, &mut faults).await?;
        }
        if !faults.is_empty() {
            faults.sort_by_key(|(row, _)| *row);
            let faults = faults.into_iter().map(|(_, fault)| fault).collect();
            return Err(FarmError::Invalid { faults }.into());
        }
        let unchanged = existing.iter().filter(|existing| existing.same).count();
        let report = ImportReport {
            created: number(bots.len() - existing.len()),
            updated: number(existing.len() - unchanged),
            unchanged: number(unchanged),
        };
        if dry_run {
            return Ok(report);
        }
        make_pools(transaction, bots).await?;
        let known: HashMap<usize, &Existing> = existing.iter().map(|existing| (existing.row, existing)).collect();
        for (start, batch) in batches(bots) {
            let rows = || (start..).zip(batch);
            let new = rows().filter(|(row, _)| !known.contains_key(row)).map(|(_, bot)| (BotId::new(), bot));
            self.insert(transaction, &new.collect::<Vec<_>>()).await?;
            let changed = rows().filter_map(|(row, bot)| match known.get(&row) {
                Some(existing) if !existing.same => Some((existing.id, bot)),
                _ => None,
            });
            self.overwrite(transaction, &changed.collect::<Vec<_>>()).await?;
        }
        Ok(report)
    }

    /// Finds the accounts that the farm has already, and whether anything about them differs.
    async fn compare(
        &self,
        transaction: &mut PgTransaction<'_>,
        start: usize,
        batch: &[NewBot],
        existing: &mut Vec<Existing>,
        faults: &mut Vec<(usize, Fault)>,
    ) -> Result<()> {
        let envs: Vec<_> = batch.iter().map(|bot| bot.env.as_str().to_owned()).collect();
        let logins: Vec<_> = batch.iter().map(|bot| bot.login.folded()).collect();
        let rows = sqlx::query!(
            r#"select
                n.row as "row!",
                b.id,
                b.login,
                b.sealed,
                b.labels,
                p.project_id,
                p.domain,
                s.holder,
                coalesce(s.lease_id is not null and s.expires_at > clock_timestamp(), false) as "held!"
            from unnest($1::text[], $2::text[]) with ordinality n (env, login_key, row)
            join bots b on b.env = n.env and b.login_key = n.login_key
            join pools p on p.id = b.pool_id
            join bot_slots s on s.bot_id = b.id
            order by b.id
            for no key update of b, s"#,
            &envs,
            &logins,
        )
        .fetch_all(&mut **transaction)
        .await?;
        for row in rows {
            let at = usize::try_from(row.row).unwrap_or(1) - 1;
            let (bot, number) = (&batch[at], start + at);
            let id = BotId::from(row.id);
            if row.held {
                let holder = row.holder.unwrap_or_default();
                for (moves, field) in [
                    (row.project_id != bot.project.as_uuid(), "project_id"),
                    (row.domain != bot.domain.as_str(), "domain"),
                ] {
                    if moves {
                        let detail = format!("cannot change while the bot is held by {holder}");
                        faults.push((number, Fault::new(format!("/{number}/{field}"), detail)));
                    }
                }
            }
            let password = self.keyring.open(&row.sealed, id).map_err(|source| Error::Sealed { bot: id, source })?;
            let same = row.login == bot.login.as_str()
                && row.project_id == bot.project.as_uuid()
                && row.domain == bot.domain.as_str()
                && row.labels == label_texts(&bot.labels)
                && password == bot.password;
            existing.push(Existing { id, row: number, same });
        }
        Ok(())
    }

    async fn insert(&self, transaction: &mut PgTransaction<'_>, bots: &[(BotId, &NewBot)]) -> Result<()> {
        let columns = self.columns(bots);
        sqlx::query!(
            "with bot as (
                insert into bots (id, pool_id, env, login, login_key, sealed, labels)
                select n.id, p.id, n.env, n.login, n.login_key, n.sealed, string_to_array(n.labels, $9)
                from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::text[])
                    n (id, project_id, env, domain, login, login_key, sealed, labels)
                join pools p on p.project_id = n.project_id and p.env = n.env and p.domain = n.domain
                -- In the order of the file, which the ids keep.
                order by n.id
                returning id, pool_id, labels
            )
            insert into bot_slots (bot_id, pool_id, labels)
            select id, pool_id, labels
            from bot",
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

    async fn overwrite(&self, transaction: &mut PgTransaction<'_>, bots: &[(BotId, &NewBot)]) -> Result<()> {
        let columns = self.columns(bots);
        sqlx::query!(
            "with bot as (
                update bots b
                set pool_id = p.id,
                    login = n.login,
                    sealed = n.sealed,
                    labels = string_to_array(n.labels, $8)
                from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::text[])
                    n (id, project_id, env, domain, login, sealed, labels)
                join pools p on p.project_id = n.project_id and p.env = n.env and p.domain = n.domain
                where b.id = n.id
                returning b.id, b.pool_id, b.labels
            )
            update bot_slots s
            set pool_id = b.pool_id,
                labels = b.labels
            from bot b
            where s.bot_id = b.id",
            &columns.ids,
            &columns.projects,
            &columns.envs,
            &columns.domains,
            &columns.logins,
            &columns.sealed,
            &columns.labels,
            SEPARATOR,
        )
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }

    fn columns(&self, bots: &[(BotId, &NewBot)]) -> Columns {
        let mut columns = Columns::default();
        for (id, bot) in bots {
            columns.ids.push(id.as_uuid());
            columns.projects.push(bot.project.as_uuid());
            columns.envs.push(bot.env.as_str().to_owned());
            columns.domains.push(bot.domain.as_str().to_owned());
            columns.logins.push(bot.login.as_str().to_owned());
            columns.login_keys.push(bot.login.folded());
            columns.sealed.push(self.keyring.seal(&bot.password, *id));
            columns.labels.push(label_texts(&bot.labels).join(SEPARATOR));
        }
        columns
    }
}

/// Bots, column by column.
#[derive(Default)]
struct Columns {
    ids: Vec<Uuid>,
    projects: Vec<Uuid>,
    envs: Vec<String>,
    domains: Vec<String>,
    logins: Vec<String>,
    login_keys: Vec<String>,
    sealed: Vec<Vec<u8>>,
    labels: Vec<String>,
}

fn batches(bots: &[NewBot]) -> impl Iterator<Item = (usize, &[NewBot])> {
    bots.chunks(BATCH).enumerate().map(|(index, batch)| (index * BATCH, batch))
}

async fn make_pools(transaction: &mut PgTransaction<'_>, bots: &[NewBot]) -> Result<()> {
    let pools: BTreeSet<_> = bots.iter().map(|bot| (bot.project, bot.env, bot.domain)).collect();
    let projects: Vec<_> = pools.iter().map(|(project, ..)| project.as_uuid()).collect();
    let envs: Vec<_> = pools.iter().map(|(_, env, _)| env.as_str().to_owned()).collect();
    let domains: Vec<_> = pools.iter().map(|(.., domain)| domain.as_str().to_owned()).collect();
    sqlx::query!(
        "insert into pools (project_id, env, domain)
        select * from unnest($1::uuid[], $2::text[], $3::text[])
        on conflict do nothing",
        &projects,
        &envs,
        &domains,
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

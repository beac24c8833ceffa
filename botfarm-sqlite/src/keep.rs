//! How changes are written: each says how a row is from now on, so that to write it twice does no harm.

use botfarm_core::{
    Timestamp,
    operators::{Operator, PasswordHash, Token, TokenDigest},
};
use botfarm_engine::{Change, KeptBot, KeptHandOut, KeptLease, KeptStatus, Moment};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::{
    error::Error,
    seal::{self, Seal},
};

/// Writes the changes of some turns: all of them, or none. They are on the disk when this comes back.
pub(crate) fn commit(connection: &mut Connection, seal: &Seal, changes: &[Change]) -> Result<(), Error> {
    // Dropped without a commit, it takes everything back.
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for change in changes {
        keep(&transaction, seal, change)?;
    }
    transaction.commit()?;
    Ok(())
}

fn keep(connection: &Connection, seal: &Seal, change: &Change) -> Result<(), Error> {
    match change {
        Change::Bot(kept) => bot(connection, seal, kept),
        Change::Status(kept) => status(connection, kept),
        Change::BotDeleted(id) => {
            let id = *id.as_uuid().as_bytes();
            run(connection, "delete from bots where id = ?1", params![id])?;
            // That its leases have ended must be known; who had it need not.
            run(
                connection,
                r#"update history
                 set bot = null, terms = '{"holder":"-"}', ended_by = null, remark = null
                 where bot = ?1"#,
                params![id],
            )
            .map(drop)
        }
        Change::Lease(kept) => lease(connection, kept),
        Change::Renewed { id, ttl, expires_at } => one(run(
            connection,
            "update leases
             set ttl = ?2, expires_at = ?3
             where id = ?1",
            params![id.as_uuid().as_bytes(), span(*ttl), at(*expires_at)],
        )?),
        Change::LeaseOver(id) => {
            run(connection, "delete from leases where id = ?1", params![id.as_uuid().as_bytes()]).map(drop)
        }
        Change::Ended(kept) => hand_out(connection, kept),
        Change::Operator(kept, password) => operator(connection, seal, kept, password),
        Change::OperatorRemoved(id) => {
            run(connection, "delete from operators where id = ?1", params![id.0.as_bytes()]).map(drop)
        }
        Change::Token(kept, digest) => token(connection, seal, kept, *digest),
        Change::TokenRemoved(id) => {
            run(connection, "delete from tokens where id = ?1", params![id.0.as_bytes()]).map(drop)
        }
        Change::SessionEnded(id, until) => run(
            connection,
            "insert into sessions (id, remember_until)
             values (?1, ?2)
             on conflict (id) do update set remember_until = excluded.remember_until",
            params![id.0.as_bytes(), at(*until)],
        )
        .map(drop),
        Change::SessionForgotten(id) => {
            run(connection, "delete from sessions where id = ?1", params![id.0.as_bytes()]).map(drop)
        }
    }
}

fn bot(connection: &Connection, seal: &Seal, KeptBot { bot, password, status }: &KeptBot) -> Result<(), Error> {
    let id = bot.id.as_uuid().into_bytes();
    let before: Option<i64> = connection
        .prepare_cached("select generation from bots where id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    let generation = before.map_or(Some(0), |before| before.checked_add(1));
    let generation = generation.ok_or_else(|| Error::Damage(format!("bot {} has no next generation", bot.id)))?;
    let sealed = password.as_ref().map(|password| seal.password(password, &seal::of(bot, generation)));
    run(
        connection,
        // What cannot be read stays as it is.
        "insert into bots (
           id, login, project, env, domain, labels, sealed, created_at, condition, fence, sticky, place, rests_until,
           generation
         )
         values (?1, ?2, ?3, ?4, ?5, ?6, coalesce(?7, x''), ?8, ?9, ?10, ?11, ?12, ?13, ?14)
         on conflict (id) do update
         set login = excluded.login,
             project = excluded.project,
             env = excluded.env,
             domain = excluded.domain,
             labels = excluded.labels,
             sealed = coalesce(?7, sealed),
             generation = iif(?7 is null, generation, excluded.generation),
             condition = excluded.condition,
             fence = excluded.fence,
             sticky = excluded.sticky,
             place = excluded.place,
             rests_until = excluded.rests_until",
        params![
            id,
            bot.login.as_str(),
            bot.project.as_str(),
            bot.env.as_str(),
            bot.domain.as_str(),
            serde_json::to_string(&bot.labels)?,
            sealed,
            time(bot.created_at),
            status.condition.as_str(),
            status.fence.0,
            status.sticky.as_deref(),
            number(status.order),
            status.rests_until.map(at),
            generation,
        ],
    )
    .map(drop)
}

fn status(connection: &Connection, status: &KeptStatus) -> Result<(), Error> {
    one(run(
        connection,
        "update bots
         set condition = ?2, fence = ?3, sticky = ?4, place = ?5, rests_until = ?6
         where id = ?1",
        params![
            status.bot.as_uuid().as_bytes(),
            status.condition.as_str(),
            status.fence.0,
            status.sticky.as_deref(),
            number(status.order),
            status.rests_until.map(at),
        ],
    )?)
}

fn lease(connection: &Connection, lease: &KeptLease) -> Result<(), Error> {
    let bots: Vec<_> = lease.bots.iter().map(|leased| (leased.bot, leased.fence, &leased.alias)).collect();
    run(
        connection,
        "insert into leases (
           id, terms, sticky, fingerprint, acquired_at, ttl, expires_at, bots
         )
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            lease.id.as_uuid().as_bytes(),
            serde_json::to_string(&*lease.terms)?,
            lease.sticky.as_deref(),
            lease.fingerprint.map(|fingerprint| fingerprint.0),
            at(lease.acquired_at),
            span(lease.ttl),
            at(lease.expires_at),
            serde_json::to_string(&bots)?,
        ],
    )
    .map(drop)
}

fn hand_out(connection: &Connection, kept: &KeptHandOut) -> Result<(), Error> {
    run(
        connection,
        "insert into history (
           lease, bot, fence, project, terms, acquired_at, ended_at, reason, outcome, ended_by, remark
         )
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            kept.lease.as_uuid().as_bytes(),
            kept.bot.as_uuid().as_bytes(),
            kept.fence.0,
            kept.project.as_str(),
            serde_json::to_string(&*kept.terms)?,
            at(kept.from),
            at(kept.at),
            kept.reason.as_str(),
            kept.outcome.map(botfarm_core::Outcome::as_str),
            kept.by.as_deref(),
            kept.remark.as_deref(),
        ],
    )
    .map(drop)
}

fn operator(connection: &Connection, seal: &Seal, operator: &Operator, password: &PasswordHash) -> Result<(), Error> {
    run(
        connection,
        "insert into operators (id, login, role, password, created_at, generation, seal)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         on conflict (id) do update
         set login = excluded.login,
             role = excluded.role,
             password = excluded.password,
             generation = excluded.generation,
             seal = excluded.seal",
        params![
            operator.id.0.as_bytes(),
            operator.login.as_str(),
            operator.role.as_str(),
            password.expose(),
            time(operator.created_at),
            operator.generation,
            seal.pepper.operator_row(operator, password),
        ],
    )
    .map(drop)
}

fn token(connection: &Connection, seal: &Seal, token: &Token, digest: TokenDigest) -> Result<(), Error> {
    run(
        connection,
        "insert into tokens (
           id, name, role, project, env, digest, created_at, expires_at, last_used_at, seal
         )
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         on conflict (id) do update set last_used_at = excluded.last_used_at",
        params![
            token.id.0.as_bytes(),
            token.name.as_str(),
            token.role.as_str(),
            token.scope.project.as_deref(),
            token.scope.env.as_deref(),
            digest.0,
            time(token.created_at),
            token.expires_at.map(time),
            token.last_used_at.map(time),
            seal.pepper.token_row(token, digest),
        ],
    )
    .map(drop)
}

fn run(connection: &Connection, sql: &str, parameters: impl rusqlite::Params) -> Result<usize, Error> {
    Ok(connection.prepare_cached(sql)?.execute(parameters)?)
}

/// The row that a change is about must be there.
fn one(rows: usize) -> Result<(), Error> {
    if rows == 1 { Ok(()) } else { Err(Error::Damage(format!("{rows} rows were changed in the place of one"))) }
}

fn at(moment: Moment) -> i64 {
    number(moment.as_micros())
}

fn time(at: Timestamp) -> i64 {
    at.timestamp_micros()
}

fn span(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

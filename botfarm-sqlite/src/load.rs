//! All that has been kept.

use std::{str::FromStr, sync::Arc};

use botfarm_core::{
    Bot, BotId, Condition, Fence, Fingerprint, Labels, LeaseRecord, Origin, SealedFor, Terms, Timestamp,
    operators::{Operator, OperatorId, PasswordHash, Scope, SessionId, Token, TokenDigest, TokenId},
};
use botfarm_engine::{KeptBot, KeptHandOut, KeptLease, KeptLeasedBot, KeptStatus, Moment, REMEMBERED, Snapshot};
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use crate::{
    error::Error,
    seal::{self, Seal},
};

/// Reads all that a farm needs to go on. Ended hand-outs that are not remembered stay where they are.
pub(crate) fn snapshot(connection: &Connection, seal: &Seal) -> Result<Snapshot, Error> {
    Ok(Snapshot {
        bots: bots(connection, seal)?,
        leases: rows(connection, "select * from leases", lease)?,
        ended: ended(connection)?,
        operators: rows(connection, "select * from operators", |row| operator(row, seal))?,
        tokens: rows(connection, "select * from tokens", |row| token(row, seal))?,
        sessions: rows(connection, "select * from sessions", |row| {
            Ok((SessionId(id(row, "id")?), moment(row.get("remember_until")?)))
        })?,
    })
}

fn rows<T>(connection: &Connection, sql: &str, read: impl Fn(&Row<'_>) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}

fn ended(connection: &Connection) -> Result<Vec<KeptHandOut>, Error> {
    let mut statement = connection.prepare("select * from history order by number desc limit ?1")?;
    let mut rows = statement.query([i64::try_from(REMEMBERED).unwrap_or(i64::MAX)])?;
    let mut latest = Vec::new();
    while let Some(row) = rows.next()? {
        latest.push(hand_out(row)?);
    }
    latest.reverse();
    Ok(latest)
}

/// The hand-outs of a bot that have ended, newest first.
pub(crate) fn history(
    connection: &Connection,
    bot: BotId,
    before: Option<Fence>,
    limit: usize,
) -> Result<Vec<LeaseRecord>, Error> {
    let mut statement = connection.prepare_cached(
        "select *
         from history
         where bot = ?1
           and fence < ?2
         order by fence desc
         limit ?3",
    )?;
    let before = before.map_or(i64::MAX, |before| before.0);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![bot.as_uuid().as_bytes(), before, limit])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(hand_out(row)?.record());
    }
    Ok(records)
}

/// So many bots are named in the log whose password cannot be read.
const NAMED: usize = 20;

/// One whose password cannot be read keeps no other from use. It is out of use itself, and stays in the file as it is.
fn bots(connection: &Connection, seal: &Seal) -> Result<Vec<KeptBot>, Error> {
    let mut unreadable = 0;
    let mut read = |row: &Row<'_>| -> Result<KeptBot, Error> {
        let mut kept = bot(row)?;
        let sealed: Vec<u8> = row.get("sealed")?;
        match seal.open_password(&sealed, &seal::of(&kept.bot, row.get("generation")?)) {
            Ok(password) => kept.password = Some(password),
            Err(error) => {
                unreadable += 1;
                if unreadable <= NAMED {
                    let Bot { id, login, env, .. } = &kept.bot;
                    tracing::error!(%id, %login, %env, %error, "an account is broken: its password cannot be read");
                }
            }
        }
        Ok(kept)
    };
    let mut statement = connection.prepare("select * from bots")?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(row)?);
    }
    if unreadable > NAMED {
        tracing::error!("{} more accounts are broken: their passwords cannot be read", unreadable - NAMED);
    }
    Ok(all)
}

/// A bot whose password is yet to be read.
fn bot(row: &Row<'_>) -> Result<KeptBot, Error> {
    let id: BotId = id(row, "id")?.into();
    let labels: String = row.get("labels")?;
    let status = KeptStatus {
        bot: id,
        condition: parsed::<Condition>(row, "condition")?,
        fence: Fence(row.get("fence")?),
        sticky: optional(row, "sticky")?,
        order: u64::try_from(row.get::<_, i64>("place")?).unwrap_or_default(),
        rests_until: row.get::<_, Option<i64>>("rests_until")?.map(moment),
    };
    let bot = Bot {
        id,
        login: text(row, "login")?,
        project: parsed(row, "project")?,
        env: parsed(row, "env")?,
        domain: parsed(row, "domain")?,
        labels: serde_json::from_str::<Labels>(&labels)?,
        condition: status.condition,
        created_at: timestamp(row.get("created_at")?),
        holding: None,
        cooling_until: None,
    };
    Ok(KeptBot { bot, password: None, status })
}

/// The password of a bot as it is kept, and what it is sealed for.
pub(crate) struct SealedRow {
    pub(crate) id: [u8; 16],
    env: String,
    login: String,
    project: String,
    generation: i64,
    pub(crate) sealed: Vec<u8>,
}

impl SealedRow {
    pub(crate) fn of(&self) -> SealedFor<'_> {
        let Self { id, env, login, project, generation, .. } = self;
        SealedFor { bot: Uuid::from_bytes(*id).into(), env, login, project, generation: *generation }
    }
}

/// So many of them after an id, in the order of their ids.
pub(crate) fn sealed(connection: &Connection, after: &[u8], limit: i64) -> Result<Vec<SealedRow>, Error> {
    let mut statement = connection.prepare_cached(
        "select id, env, login, project, generation, sealed
         from bots
         where id > ?1
         order by id
         limit ?2",
    )?;
    let rows = statement.query_map(params![after, limit], |row| {
        Ok(SealedRow {
            id: row.get(0)?,
            env: row.get(1)?,
            login: row.get(2)?,
            project: row.get(3)?,
            generation: row.get(4)?,
            sealed: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn lease(row: &Row<'_>) -> Result<KeptLease, Error> {
    let bots: String = row.get("bots")?;
    let bots: Vec<(BotId, Fence, Option<botfarm_core::Alias>)> = serde_json::from_str(&bots)?;
    let fingerprint: Option<[u8; 32]> = row.get("fingerprint")?;
    Ok(KeptLease {
        id: id(row, "id")?.into(),
        terms: terms(row)?,
        sticky: optional(row, "sticky")?,
        fingerprint: fingerprint.map(Fingerprint),
        acquired_at: moment(row.get("acquired_at")?),
        ttl: std::time::Duration::from_micros(u64::try_from(row.get::<_, i64>("ttl")?).unwrap_or_default()),
        expires_at: moment(row.get("expires_at")?),
        bots: bots.into_iter().map(|(bot, fence, alias)| KeptLeasedBot { bot, alias, fence }).collect(),
    })
}

pub(crate) fn hand_out(row: &Row<'_>) -> Result<KeptHandOut, Error> {
    let bot: Option<[u8; 16]> = row.get("bot")?;
    let outcome: Option<String> = row.get("outcome")?;
    Ok(KeptHandOut {
        lease: id(row, "lease")?.into(),
        bot: Uuid::from_bytes(bot.unwrap_or_default()).into(),
        fence: Fence(row.get("fence")?),
        project: parsed(row, "project")?,
        terms: terms(row)?,
        from: moment(row.get("acquired_at")?),
        at: moment(row.get("ended_at")?),
        reason: parsed(row, "reason")?,
        outcome: outcome.map(|outcome| outcome.parse()).transpose()?,
        by: optional(row, "ended_by")?,
        remark: optional(row, "remark")?,
    })
}

fn terms(row: &Row<'_>) -> Result<Arc<Terms>, Error> {
    let terms: String = row.get("terms")?;
    Ok(Arc::new(serde_json::from_str(&terms)?))
}

pub(crate) fn origin(row: &Row<'_>) -> Result<Origin, Error> {
    let address: Option<String> = row.get("address")?;
    let address = address.map(|address| address.parse()).transpose();
    let address = address.map_err(|_| Error::Damage("an address in a history is none".to_owned()))?;
    Ok(Origin { address, request: optional(row, "request")? })
}

fn operator(row: &Row<'_>, seal: &Seal) -> Result<(Operator, PasswordHash), Error> {
    let operator = Operator {
        id: OperatorId(id(row, "id")?),
        login: text(row, "login")?,
        role: parsed(row, "role")?,
        created_at: timestamp(row.get("created_at")?),
        generation: row.get("generation")?,
    };
    let password = PasswordHash::from_phc(row.get::<_, String>("password")?);
    let written: Vec<u8> = row.get("seal")?;
    if written != seal.pepper.operator_row(&operator, &password) {
        return Err(forged("operator", operator.login.as_str()));
    }
    Ok((operator, password))
}

fn token(row: &Row<'_>, seal: &Seal) -> Result<(Token, TokenDigest), Error> {
    let digest = TokenDigest(row.get("digest")?);
    let (project, env): (Option<String>, Option<String>) = (row.get("project")?, row.get("env")?);
    let token = Token {
        id: TokenId(id(row, "id")?),
        name: text(row, "name")?,
        role: parsed(row, "role")?,
        scope: Scope {
            project: project.map(|project| project.parse()).transpose()?,
            env: env.map(|env| env.parse()).transpose()?,
        },
        created_at: timestamp(row.get("created_at")?),
        expires_at: row.get::<_, Option<i64>>("expires_at")?.map(timestamp),
        last_used_at: row.get::<_, Option<i64>>("last_used_at")?.map(timestamp),
    };
    let written: Vec<u8> = row.get("seal")?;
    if written != seal.pepper.token_row(&token, digest) {
        return Err(forged("token", token.name.as_str()));
    }
    Ok((token, digest))
}

fn forged(what: &str, name: &str) -> Error {
    Error::Damage(format!("the {what} {name} was written by something else than the farm"))
}

pub(crate) fn id(row: &Row<'_>, column: &str) -> Result<Uuid, Error> {
    Ok(Uuid::from_bytes(row.get::<_, [u8; 16]>(column)?))
}

pub(crate) fn text<T>(row: &Row<'_>, column: &str) -> Result<T, Error>
where
    T: for<'a> TryFrom<&'a str, Error = botfarm_core::BadText>,
{
    let text: String = row.get(column)?;
    Ok(T::try_from(text.as_str())?)
}

pub(crate) fn optional<T>(row: &Row<'_>, column: &str) -> Result<Option<T>, Error>
where
    T: for<'a> TryFrom<&'a str, Error = botfarm_core::BadText>,
{
    let text: Option<String> = row.get(column)?;
    Ok(text.map(|text| T::try_from(text.as_str())).transpose()?)
}

pub(crate) fn parsed<T: FromStr>(row: &Row<'_>, column: &str) -> Result<T, Error> {
    let text: String = row.get(column)?;
    text.parse().map_err(|_| Error::Damage(format!("{text:?} is no {column}")))
}

fn moment(micros: i64) -> Moment {
    Moment::from_micros(u64::try_from(micros).unwrap_or_default())
}

pub(crate) fn timestamp(micros: i64) -> Timestamp {
    moment(micros).timestamp()
}

//! From rows to what the trait speaks of.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use botfarm_core::{
    Bot, EndReason, Fence, Holding, Labels, Lease, LeaseId, LeasedBot, Outcome, SealedFor, Terms, Timestamp,
};
use serde::Deserialize;
use sqlx::postgres::types::PgInterval;
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    seals::Seals,
    unreadable::Unreadable,
};

/// One bot of a lease, as `botfarm_lease` writes it.
#[derive(Debug, Deserialize)]
pub(crate) struct LeaseRow {
    id: Uuid,
    login: String,
    /// In hexadecimal digits.
    sealed: String,
    generation: i64,
    project: String,
    env: String,
    domain: String,
    labels: Vec<String>,
    condition: String,
    created_at: Timestamp,
    alias: Option<String>,
    fence: i64,
    terms: Arc<Terms>,
    /// In microseconds.
    ttl: u64,
    leased_at: Timestamp,
    expires_at: Timestamp,
    /// In microseconds.
    remaining: u64,
}

/// The lease that `rows` make up, in the order of its selectors.
pub(crate) fn lease(id: LeaseId, rows: serde_json::Value, seals: &Seals) -> Result<Lease> {
    let rows: Vec<LeaseRow> = serde_json::from_value(rows).map_err(Error::corrupt)?;
    let Some(first) = rows.first() else { return Err(Error::corrupt("a lease without a bot")) };
    let terms = Arc::clone(&first.terms);
    let holding = Holding { terms: Arc::clone(&terms), since: first.leased_at, expires_at: first.expires_at };
    let mut lease = Lease {
        id,
        terms,
        acquired_at: holding.since,
        expires_at: holding.expires_at,
        ttl: Duration::from_micros(first.ttl),
        remaining: Duration::from_micros(first.remaining),
        bots: Vec::with_capacity(rows.len()),
    };
    for row in rows {
        let of = SealedFor {
            bot: row.id.into(),
            env: &row.env,
            login: &row.login,
            project: &row.project,
            generation: row.generation,
        };
        let sealed = bytes(&row.sealed)?;
        let password = match seals.open(&sealed, &of) {
            Ok(password) => password,
            Err(source) => return Err(Unreadable { bot: of.bot, login: row.login, sealed, source }.into()),
        };
        let bot = Bot {
            id: row.id.into(),
            login: text(&row.login)?,
            project: text(&row.project)?,
            env: text(&row.env)?,
            domain: text(&row.domain)?,
            labels: labels(&row.labels)?,
            condition: text(&row.condition)?,
            created_at: row.created_at,
            holding: Some(holding.clone()),
            cooling_until: None,
        };
        lease.bots.push(LeasedBot {
            alias: row.alias.as_deref().map(text).transpose()?,
            bot,
            password,
            fence: Fence(row.fence),
        });
    }
    Ok(lease)
}

fn bytes(hexadecimal: &str) -> Result<Vec<u8>> {
    let digits = hexadecimal.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or_default(), 16).map_err(Error::corrupt))
        .collect()
}

/// A bot, as the statements on bots return it. What tells of a lease is null unless the lease is in force.
#[derive(Debug)]
pub(crate) struct BotRow {
    pub(crate) id: Uuid,
    pub(crate) login: String,
    pub(crate) project: String,
    pub(crate) env: String,
    pub(crate) domain: String,
    pub(crate) labels: Vec<String>,
    pub(crate) condition: String,
    pub(crate) created_at: Timestamp,
    pub(crate) cooling_until: Option<Timestamp>,
    pub(crate) terms: Option<serde_json::Value>,
    pub(crate) leased_at: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
}

impl BotRow {
    pub(crate) fn bot(self) -> Result<Bot> {
        let holding = match (self.terms, self.leased_at, self.expires_at) {
            (Some(terms), Some(since), Some(expires_at)) => {
                Some(Holding { terms: Arc::new(self::terms(terms)?), since, expires_at })
            }
            _ => None,
        };
        Ok(Bot {
            id: self.id.into(),
            login: text(&self.login)?,
            project: text(&self.project)?,
            env: text(&self.env)?,
            domain: text(&self.domain)?,
            labels: labels(&self.labels)?,
            condition: text(&self.condition)?,
            created_at: self.created_at,
            holding,
            cooling_until: self.cooling_until,
        })
    }
}

pub(crate) fn terms(value: serde_json::Value) -> Result<Terms> {
    serde_json::from_value(value).map_err(Error::corrupt)
}

/// A text that was checked before it was stored.
pub(crate) fn text<T>(text: &str) -> Result<T>
where
    T: std::str::FromStr<Err = botfarm_core::BadText>,
{
    text.parse().map_err(Error::corrupt)
}

pub(crate) fn outcome(word: &str) -> Result<Outcome> {
    text(word)
}

pub(crate) fn reason(word: &str) -> Result<EndReason> {
    text(word)
}

/// Labels as they are stored: sorted `key:value`, since no key has a colon.
pub(crate) fn label_texts(labels: &Labels) -> Vec<String> {
    labels.iter().map(|(key, value)| format!("{key}:{value}")).collect()
}

pub(crate) fn labels(texts: &[String]) -> Result<Labels> {
    let pairs: BTreeMap<_, _> =
        texts.iter().filter_map(|text| text.split_once(':')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    Labels::try_from(pairs).map_err(Error::corrupt)
}

/// Whole microseconds, as Postgres keeps them; a span that it cannot hold becomes the longest that it can.
pub(crate) fn interval(span: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(span.as_micros()).unwrap_or(i64::MAX) }
}

/// Spans that are subtracted from one another have days, but no months. A negative one is none.
pub(crate) fn duration(span: &PgInterval) -> Duration {
    let micros = i128::from(span.days) * 86_400_000_000 + i128::from(span.microseconds);
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

//! From rows to what the trait speaks of.

use std::{collections::BTreeMap, time::Duration};

use botfarm_core::{
    Bot, EndReason, Fence, Fingerprint, Holding, Keyring, Labels, Lease, LeaseId, LeasedBot, Outcome, Timestamp,
};
use sqlx::postgres::types::PgInterval;
use uuid::Uuid;

use crate::error::{Error, Result};

/// One bot of a lease, as the statements on leases return it.
#[derive(Debug)]
pub(crate) struct LeaseRow {
    pub(crate) id: Uuid,
    pub(crate) login: String,
    pub(crate) sealed: Vec<u8>,
    pub(crate) project_id: Uuid,
    pub(crate) env: String,
    pub(crate) domain: String,
    pub(crate) labels: Vec<String>,
    pub(crate) condition: String,
    pub(crate) created_at: Timestamp,
    pub(crate) holder: String,
    pub(crate) note: Option<String>,
    pub(crate) url: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) fence: i64,
    pub(crate) ttl: PgInterval,
    pub(crate) leased_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) remaining: PgInterval,
}

/// The lease that `rows` make up, in the order of its selectors; `None` without rows.
pub(crate) fn lease(id: LeaseId, rows: Vec<LeaseRow>, keyring: &Keyring) -> Result<Option<Lease>> {
    let mut rows = rows.into_iter().peekable();
    let Some(first) = rows.peek() else { return Ok(None) };
    let mut lease = Lease {
        id,
        holder: text(&first.holder)?,
        note: first.note.as_deref().map(text).transpose()?,
        url: first.url.as_deref().map(text).transpose()?,
        acquired_at: first.leased_at,
        expires_at: first.expires_at,
        ttl: duration(&first.ttl),
        remaining: duration(&first.remaining),
        bots: Vec::new(),
    };
    for row in rows {
        let bot = Bot {
            id: row.id.into(),
            login: text(&row.login)?,
            project: row.project_id.into(),
            env: text(&row.env)?,
            domain: text(&row.domain)?,
            labels: labels(&row.labels)?,
            condition: text(&row.condition)?,
            created_at: row.created_at,
            holding: Some(Holding {
                holder: lease.holder.clone(),
                note: lease.note.clone(),
                url: lease.url.clone(),
                since: row.leased_at,
                expires_at: row.expires_at,
            }),
            cooling_until: None,
        };
        let password = keyring.open(&row.sealed, bot.id).map_err(|source| Error::Sealed { bot: bot.id, source })?;
        lease.bots.push(LeasedBot {
            role: row.role.as_deref().map(text).transpose()?,
            bot,
            password,
            fence: Fence(row.fence),
        });
    }
    Ok(Some(lease))
}

/// A bot, as the statements on bots return it. What tells of a lease is null unless the lease is in force.
#[derive(Debug)]
pub(crate) struct BotRow {
    pub(crate) id: Uuid,
    pub(crate) login: String,
    pub(crate) project_id: Uuid,
    pub(crate) env: String,
    pub(crate) domain: String,
    pub(crate) labels: Vec<String>,
    pub(crate) condition: String,
    pub(crate) created_at: Timestamp,
    pub(crate) cooling_until: Option<Timestamp>,
    pub(crate) holder: Option<String>,
    pub(crate) note: Option<String>,
    pub(crate) url: Option<String>,
    pub(crate) leased_at: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
}

impl BotRow {
    pub(crate) fn bot(self) -> Result<Bot> {
        let mut bot = Bot {
            id: self.id.into(),
            login: text(&self.login)?,
            project: self.project_id.into(),
            env: text(&self.env)?,
            domain: text(&self.domain)?,
            labels: labels(&self.labels)?,
            condition: text(&self.condition)?,
            created_at: self.created_at,
            holding: None,
            cooling_until: self.cooling_until,
        };
        if let (Some(holder), Some(since), Some(expires_at)) = (self.holder, self.leased_at, self.expires_at) {
            bot.holding = Some(Holding {
                holder: text(&holder)?,
                note: self.note.as_deref().map(text).transpose()?,
                url: self.url.as_deref().map(text).transpose()?,
                since,
                expires_at,
            });
        }
        Ok(bot)
    }
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

fn labels(texts: &[String]) -> Result<Labels> {
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

pub(crate) fn fingerprint(bytes: Option<&[u8]>) -> Option<Fingerprint> {
    bytes.and_then(|bytes| bytes.try_into().ok()).map(Fingerprint)
}

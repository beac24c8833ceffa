//! The hand-outs that have ended, across all bots.

use botfarm_core::{Cursor, HandOut, HandOutFilter, LOOKED_AT, Outcome, Page};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::{
    error::Error,
    load::{hand_out, parsed, text},
};

/// A page of those that pass a filter, before one of them, among so many that are looked at.
pub(crate) fn page(
    connection: &Connection,
    filter: &HandOutFilter,
    before: Option<u64>,
    limit: usize,
) -> Result<Page<HandOut>, Error> {
    let before = before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
    // Down to where it looks, unless that is the end.
    let until: Option<i64> = connection
        .prepare_cached("select number from history where number < ?1 order by number desc limit 1 offset ?2")?
        .query_row(params![before, count(LOOKED_AT - 1)], |row| row.get(0))
        .optional()?;
    let mut statement = connection.prepare_cached(
        "select h.*, b.login as login_of_bot, b.env as env_of_bot
         from history h
         join bots b on b.id = h.bot
         where h.number < ?1
           and h.number >= ?2
           and (?3 is null or h.bot = ?3)
           and (?4 is null or json_extract(h.terms, '$.run') = ?4)
           and (?5 is null or json_extract(h.terms, '$.holder') = ?5)
           and (?6 is null or h.project = ?6)
           and (?7 is null or b.env = ?7)
           and (?8 is null or h.ended_at >= ?8)
           and (?9 is null or h.acquired_at < ?9)
           and (?10 is null or h.outcome = ?10)
         order by h.number desc
         limit ?11",
    )?;
    let mut rows = statement.query(params![
        before,
        until.unwrap_or(i64::MIN),
        filter.bot.map(|bot| *bot.as_uuid().as_bytes()),
        filter.run.as_deref(),
        filter.holder.as_deref(),
        filter.project.as_deref(),
        filter.env.as_deref(),
        filter.since.map(|since| since.timestamp_micros()),
        filter.until.map(|until| until.timestamp_micros()),
        filter.outcome.map(Outcome::as_str),
        count(limit + 1),
    ])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let of = HandOut {
            login: text(row, "login_of_bot")?,
            env: parsed(row, "env_of_bot")?,
            record: hand_out(row)?.record(),
        };
        found.push((row.get::<_, i64>("number")?, of));
    }
    // Hand-outs end in order: before one that ended too early is none that is wanted.
    let is_all = match (filter.since, until) {
        (Some(since), Some(until)) => connection
            .prepare_cached("select ended_at < ?2 from history where number = ?1")?
            .query_row(params![until, since.timestamp_micros()], |row| row.get(0))?,
        (_, until) => until.is_none(),
    };
    let page = Page::of(found, limit, |(number, _)| cursor(*number));
    let next = page.next.clone().or_else(|| until.filter(|_| !is_all).map(cursor));
    Ok(Page { next, ..page.map(|(_, hand_out)| hand_out) })
}

fn cursor(number: i64) -> Cursor {
    Cursor::before_number(u64::try_from(number).unwrap_or_default())
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

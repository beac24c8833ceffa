//! The thread that writes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use botfarm_engine::Change;
use chrono::Utc;
use rusqlite::{Connection, params};

use crate::{error::Error, file::Lock, keep, options::Retention, seal::Seal, shared::Shared, trail};

/// How long after a failure it tries again.
const RETRY: Duration = Duration::from_secs(1);
/// How long it rests between looking for histories that are old enough to forget.
const PRUNE: Duration = Duration::from_mins(10);
/// So many hand-outs are looked at between two commits.
const PRUNED: u16 = 1_000;

/// Owns the database. Whatever was appended while it wrote goes into the next commit: many callers share one.
pub(crate) struct Writer {
    connection: Connection,
    seal: Seal,
    shared: Arc<Shared>,
    retention: Retention,
    /// After which hand-out to go on looking for old ones, and when.
    pruned: i64,
    prune_at: Instant,
    _lock: Lock,
}

impl Writer {
    pub(crate) fn new(
        connection: Connection,
        seal: Seal,
        shared: Arc<Shared>,
        retention: Retention,
        lock: Lock,
    ) -> Self {
        let (pruned, prune_at) = (0, Instant::now() + Duration::from_secs(10));
        Self { connection, seal, shared, retention, pruned, prune_at, _lock: lock }
    }

    pub(crate) fn run(mut self) {
        let _stopped = Stopped(Arc::clone(&self.shared));
        // What could not be written yet comes before what was appended since.
        let mut unwritten: Vec<Change> = Vec::new();
        loop {
            let patience = if unwritten.is_empty() { self.until_prune() } else { RETRY };
            let mut queue = self.shared.take(patience);
            unwritten.append(&mut queue.changes);
            if !unwritten.is_empty() {
                match keep::commit(&mut self.connection, &self.seal, &unwritten) {
                    Ok(()) => {
                        unwritten.clear();
                        // A batch may have been an import of a hundred thousand.
                        unwritten.shrink_to(1_024);
                        self.shared.has_kept(queue.appended);
                    }
                    Err(error) => {
                        tracing::error!(%error, changes = unwritten.len(), "the farm's file cannot be written");
                        self.shared.has_failed(&error.to_string());
                        if queue.closing {
                            return;
                        }
                        // Its jobs are dropped, which tells whoever waits for them.
                        std::thread::park_timeout(RETRY);
                        continue;
                    }
                }
            }
            for job in queue.jobs {
                job(&mut self.connection);
            }
            if queue.closing {
                return;
            }
            if self.prune_at <= Instant::now() {
                self.prune();
            }
        }
    }

    fn until_prune(&self) -> Duration {
        self.prune_at.saturating_duration_since(Instant::now())
    }

    /// Forgets some old hand-outs, if there are any.
    fn prune(&mut self) {
        let keep = i64::try_from(self.retention.keep.as_micros()).unwrap_or(i64::MAX);
        let before = Utc::now().timestamp_micros().saturating_sub(keep);
        let histories = prune(&mut self.connection, self.pruned, before, self.retention.of_each_bot);
        match histories.and_then(|last| Ok((last, trail::prune(&self.connection, before, PRUNED)?))) {
            Ok((last, more)) => {
                self.pruned = last.unwrap_or(0);
                let rest = if last.is_some() || more { Duration::from_millis(100) } else { PRUNE };
                self.prune_at = Instant::now() + rest;
            }
            Err(error) => {
                tracing::warn!(%error, "old histories cannot be forgotten; it is tried again");
                self.prune_at = Instant::now() + PRUNE;
            }
        }
    }
}

/// Looks at some hand-outs after one of them that ended before a time, and forgets those that are none of the latest of
/// their bot. Gives the last that was looked at, unless that were all.
pub(crate) fn prune(
    connection: &mut Connection,
    after: i64,
    before: i64,
    of_each_bot: u32,
) -> Result<Option<i64>, Error> {
    let transaction = connection.transaction()?;
    let old: Vec<(i64, Option<[u8; 16]>, i64)> = transaction
        .prepare_cached(
            "select number, bot, fence
             from history
             where number > ?1
             order by number
             limit ?2",
        )?
        .query_map(params![after, PRUNED], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (number, bot, fence) in &old {
        transaction
            .prepare_cached(
                "delete from history
                 where number = ?1
                   and ended_at < ?2
                   and (
                     select count(*)
                     from (select 1 from history where bot = ?3 and fence > ?4 limit ?5)
                   ) >= case when ?3 is null then 0 else ?5 end",
            )?
            .execute(params![number, before, bot, fence, of_each_bot])?;
    }
    let last = old.last().map(|(number, ..)| *number).filter(|_| old.len() == usize::from(PRUNED));
    // Hand-outs end in order: whatever comes after one that is young is young.
    let young: bool = match last {
        Some(last) => !transaction
            .prepare_cached("select 1 from history where number >= ?1 and ended_at < ?2 limit 1")?
            .exists(params![last, before])?,
        None => true,
    };
    transaction.commit()?;
    Ok(last.filter(|_| !young))
}

/// Tells whoever waits that nobody writes any more, however that came.
struct Stopped(Arc<Shared>);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.has_failed("nobody writes it any more; open the farm anew");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_entries_of_the_audit_trail_are_forgotten_some_at_a_time() {
        let database = Connection::open_in_memory().unwrap();
        database.execute_batch(include_str!("schema.sql")).unwrap();
        for number in 0..25_u8 {
            let sql = "insert into audit (id, at, action, result, count) values (?1, ?2, 'POST /users', 'done', 1)";
            database.execute(sql, params![[number; 16], number]).unwrap();
        }
        let pruned: Vec<_> = (0..4).map(|_| trail::prune(&database, 20, 8).unwrap()).collect();
        assert_eq!(pruned, [true, true, false, false]);
        let left: (i64, i64) = database
            .query_row("select count(*), min(at) from audit", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        assert_eq!(left, (5, 20));
    }

    #[test]
    fn old_hand_outs_are_forgotten_but_the_latest_of_each_bot() {
        let mut database = Connection::open_in_memory().unwrap();
        database.execute_batch(include_str!("schema.sql")).unwrap();
        let hand_out = |bot: Option<u8>, fence: i64, ended_at: i64| {
            let sql = r#"insert into history (lease, bot, fence, project, terms, acquired_at, ended_at, reason)
                         values (x'00', ?1, ?2, 'shop', '{"holder":"ada"}', 0, ?3, 'released')"#;
            database.execute(sql, params![bot.map(|bot| [bot; 16]), fence, ended_at]).unwrap();
        };
        // 1 is handed out all the time, 2 hardly ever; 3 was deleted. They end at 0, 1, 2, …
        for number in 0..2_500 {
            hand_out(Some(1), number, number);
            if number % 100 == 0 {
                hand_out(Some(2), number, number);
                hand_out(None, number, number);
            }
        }
        let (mut after, mut batches) = (0, 0);
        while let Some(last) = prune(&mut database, after, 2_450, 100).unwrap() {
            (after, batches) = (last, batches + 1);
        }
        assert_eq!(batches, 2, "a thousand at a time, until they are young");
        let left = |bot: Option<u8>| -> (i64, i64) {
            let sql = "select count(*), coalesce(min(ended_at), -1) from history where bot is ?1";
            database.query_row(sql, params![bot.map(|bot| [bot; 16])], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
        };
        assert_eq!((left(Some(1)), left(Some(2)), left(None)), ((100, 2_400), (25, 0), (0, -1)));
    }
}

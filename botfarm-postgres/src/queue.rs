//! The calls that wait in this process, and what serves and wakes them.
//!
//! The queue itself is in the database, and so is who gets what (`botfarm_match`). Whoever frees a bot for which somebody
//! waits asks its own process for a pass over that bot's pool; passes asked for while one runs become one. A pass wakes the
//! calls of this process, and has the processes of the others notified. Since a notification may be lost, and nobody
//! tells when a lease expires, every process with waiting calls also looks by itself.

use std::{
    collections::hash_map,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use botfarm_core::LeaseId;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::connection::repeat;
use crate::{
    calls::{ALIVE, IN_USE, Looked},
    error::Result,
    farm::Farm,
    rows::interval,
};

/// How long a grant is kept for a waiter that does not take it up.
pub(crate) const OFFER: Duration = Duration::from_secs(10);

/// How often to look without having been told: with a listener, and without one.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_OFTEN: Duration = Duration::from_millis(200);

/// When a call has just begun to wait: what was freed at that very moment may have missed it.
const LOOK_SOON: Duration = Duration::from_millis(50);

/// When the database could not be reached for so long, others may have been cut off as well.
const SILENCE: Duration = Duration::from_secs(10);

/// Grants in one transaction.
const MOST: i32 = 64;

/// How far apart notifications are: the first goes at once, the rest of a burst together.
const BURST: Duration = Duration::from_millis(2);

/// Starts what looks after the queue, for as long as the farm is in use.
pub(crate) fn start(farm: &Arc<Farm>) {
    farm.runtime.spawn(notify_others(Arc::downgrade(farm)));
    farm.runtime.spawn(look(Arc::downgrade(farm)));
}

async fn notify_others(weak: Weak<Farm>) {
    while let Some(farm) = weak.upgrade() {
        if timeout(IN_USE, farm.calls.tell_others.notified()).await.is_err() {
            continue;
        }
        let others: Vec<Uuid> = farm.calls.others.lock().drain().collect();
        if let Err(error) = farm.notify(&others).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "waiters elsewhere could not be notified");
        }
        sleep(BURST).await;
    }
}

async fn look(weak: Weak<Farm>) {
    while let Some(farm) = weak.upgrade() {
        let often = !farm.calls.listening.load(Ordering::Relaxed) && !farm.calls.is_idle();
        // Apart from other processes that were started at the same moment.
        let jitter = f64::from(u32::from(Uuid::new_v4().as_bytes()[0])) / 255.0 * 0.6 + 0.7;
        let pause = if often { LOOK_OFTEN } else { LOOK }.mul_f64(jitter);
        if timeout(pause, farm.calls.asked_to_look.notified()).await.is_ok() {
            sleep(LOOK_SOON).await;
        }
        if let Err(error) = farm.look().await {
            tracing::debug!(error = &error as &dyn std::error::Error, "could not look after the queue");
        }
    }
}

pub(crate) fn channel(process: Uuid) -> String {
    format!("botfarm_{}", process.simple())
}

impl Farm {
    /// Has those served who wait for bots of these pools: in tasks of their own, one for each pool.
    pub(crate) fn serve(&self, pools: impl IntoIterator<Item = i32>) {
        for pool in pools {
            match self.calls.passes.lock().entry(pool) {
                hash_map::Entry::Occupied(mut again) => *again.get_mut() = true,
                hash_map::Entry::Vacant(entry) => {
                    let Some(farm) = self.this.upgrade() else { return };
                    entry.insert(false);
                    self.runtime.spawn(async move { farm.serve_pool(pool).await });
                }
            }
        }
    }

    async fn serve_pool(&self, pool: i32) {
        loop {
            self.pass_if_possible(pool).await;
            let mut passes = self.calls.passes.lock();
            if passes.insert(pool, false) != Some(true) {
                passes.remove(&pool);
                return;
            }
        }
    }

    /// A pass for those who wait anyway: when it fails, they look again before long.
    pub(crate) async fn pass_if_possible(&self, pool: i32) {
        if let Err(error) = self.pass(pool).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the queue could not be served");
        }
    }

    /// A pass over all who wait for bots of a pool, in as many steps as it takes.
    pub(crate) async fn pass(&self, pool: i32) -> Result<()> {
        let (mut after, mut kept, mut at_least) = (0, Vec::new(), 64);
        loop {
            let rows = repeat!(self.database, |connection| {
                Ok(sqlx::query!(
                    "select lease, told, ticket from botfarm_match(array[$1::integer], $2, $3, $4, $5, $6, $7)",
                    pool,
                    after,
                    &kept,
                    at_least,
                    interval(OFFER),
                    interval(self.takeover_grace),
                    MOST,
                )
                .fetch_all(&mut *connection)
                .await?)
            })?;
            let mut more = false;
            for row in rows {
                let told = row.told.unwrap_or_default();
                if let Some(lease) = row.lease {
                    self.tell(lease.into(), told);
                } else {
                    more = true;
                    if let Some(ticket) = row.ticket {
                        (after, kept) = (ticket, told);
                    } else {
                        (after, kept, at_least) = (0, Vec::new(), at_least.saturating_mul(8));
                    }
                }
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Wakes those who wait for a lease: here at once, and elsewhere by a notification.
    pub(crate) fn tell(&self, lease: LeaseId, processes: Vec<Uuid>) {
        self.calls.wake(lease);
        let mut others = self.calls.others.lock();
        others.extend(processes.into_iter().filter(|process| *process != self.process));
        if !others.is_empty() {
            self.calls.tell_others.notify_one();
        }
    }

    pub(crate) async fn notify(&self, processes: &[Uuid]) -> Result<()> {
        let channels: Vec<String> = processes.iter().map(|process| channel(*process)).collect();
        repeat!(self.database, |connection| {
            // Never within a transaction that frees a bot: the commit of a notification locks the whole server. So it
            // does not wait for the disk either: a notification is only a hint.
            sqlx::query!(
                "select pg_notify(channel, ''), set_config('synchronous_commit', 'off', true)
                from unnest($1::text[]) channel",
                &channels,
            )
            .fetch_all(&mut *connection)
            .await?;
            Ok(())
        })
    }

    /// Looks after the calls that wait here. Also notices when the server has begun another life.
    pub(crate) async fn look(&self) -> Result<()> {
        let done = self.look_after_calls().await;
        let mut looked = self.calls.looked.lock();
        looked.failed = done.is_err();
        if done.is_ok() {
            looked.at = Instant::now();
        }
        done
    }

    async fn look_after_calls(&self) -> Result<()> {
        let waits = !self.calls.is_idle();
        let Looked { at, mut failed } = *self.calls.looked.lock();
        let seen = repeat!(self.database, |connection| {
            // Not when it was this process that stood still for so long: then nobody else was cut off.
            let after_silence = at.elapsed() > SILENCE && failed;
            failed = true;
            Ok(sqlx::query!(
                "select leases, calls, waiting, pools from botfarm_look($1, $2, $3, $4, $5)",
                self.process,
                waits,
                after_silence,
                interval(ALIVE),
                interval(self.takeover_grace),
            )
            .fetch_one(&mut *connection)
            .await?)
        })?;
        self.serve(seen.pools.unwrap_or_default());
        let (leases, calls) = (seen.leases.unwrap_or_default(), seen.calls.unwrap_or_default());
        for ((lease, call), waits) in leases.into_iter().zip(calls).zip(seen.waiting.unwrap_or_default()) {
            // A call that has gone without the database having heard of it: its answer was lost, or its leave.
            if !self.calls.wake_call(lease.into(), call, waits) {
                self.take_away(lease.into(), call, true).await?;
            }
        }
        Ok(())
    }

    /// A call has gone. What was kept for it alone goes to others.
    pub(crate) async fn leave(&self, lease: LeaseId, call: Uuid) -> Result<()> {
        self.take_away(lease, call, false).await
    }

    async fn take_away(&self, lease: LeaseId, call: Uuid, if_it_listens: bool) -> Result<()> {
        let pools = repeat!(self.database, |connection| {
            Ok(sqlx::query_scalar!(
                r#"select botfarm_leave($1, $2, $3, $4, $5) as "pools!""#,
                lease.as_uuid(),
                call,
                if_it_listens,
                interval(self.policy.place_kept),
                interval(OFFER),
            )
            .fetch_one(&mut *connection)
            .await?)
        })?;
        self.serve(pools);
        self.calls.wake(lease);
        Ok(())
    }
}

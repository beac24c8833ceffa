//! Clears away what nobody needs any more: old history, and what the queue leaves behind.

use std::{sync::Weak, time::Duration};

use botfarm_core::idempotency::KEPT;
use tokio::time::{Instant, sleep};

use crate::connection::repeat;
use crate::{
    calls::IN_USE,
    error::{Error, Result},
    farm::Farm,
    rows::interval,
};

/// How often to clear away what the queue leaves behind, and to begin a round over the history.
const QUEUE: Duration = Duration::from_mins(1);
const HISTORY: Duration = Duration::from_hours(1);

/// How long a process may be silent until the places of its calls are given up. Until then they block nobody.
const SILENT: Duration = Duration::from_hours(1);

/// Bots and rows in one step of a round, and the pause between two: nobody notices.
const BOTS: i32 = 100;
const ROWS: i32 = 1_000;
const PAUSE: Duration = Duration::from_millis(100);

/// What one step for the queue removes of each kind at most.
const MOST: i32 = 1_000;

/// Clears away for as long as the farm is in use. Of many processes, each step is done by one.
pub(crate) async fn run(weak: Weak<Farm>) {
    let (mut queue, mut history) = (Instant::now() + QUEUE, Instant::now() + HISTORY / 10);
    loop {
        sleep(IN_USE).await;
        let Some(farm) = weak.upgrade() else { return };
        let now = Instant::now();
        let cleared = async {
            if now >= queue {
                queue = now + QUEUE;
                farm.prune_queue().await?;
            }
            if now >= history {
                history = now + PAUSE;
                let entries = farm.prune_audit().await?;
                if farm.prune_history().await?.is_none() && entries == 0 {
                    history = now + HISTORY;
                }
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = cleared.await {
            tracing::debug!(error = &error as &dyn std::error::Error, "could not clear away what is old");
        }
    }
}

impl Farm {
    pub(crate) async fn prune(&self) -> Result<u64> {
        let mut removed = 0;
        while let Some(rows) = self.prune_history().await? {
            removed += rows;
            sleep(PAUSE).await;
        }
        loop {
            let rows = self.prune_audit().await?;
            if rows == 0 {
                break;
            }
            removed += rows;
            sleep(PAUSE).await;
        }
        Ok(removed + self.prune_queue().await?)
    }

    async fn prune_audit(&self) -> Result<u64> {
        let removed = repeat!(self.database, |connection| {
            Ok(sqlx::query_scalar!(
                r#"select botfarm_prune_audit(clock_timestamp() - $1::interval, $2) as "removed!""#,
                interval(self.keep_history),
                ROWS,
            )
            .fetch_one(&mut *connection)
            .await?)
        })?;
        Ok(u64::try_from(removed).unwrap_or(0))
    }

    /// `None` at the end of a round.
    async fn prune_history(&self) -> Result<Option<u64>> {
        let removed = repeat!(self.database, |connection| {
            Ok(sqlx::query_scalar!(
                "select botfarm_prune_history(clock_timestamp() - $1::interval, $2, $3)",
                interval(self.keep_history),
                BOTS,
                ROWS,
            )
            .fetch_one(&mut *connection)
            .await?)
        })?;
        Ok(removed.map(|removed| u64::try_from(removed).unwrap_or(0)))
    }

    async fn prune_queue(&self) -> Result<u64> {
        let removed = repeat!(self.database, |connection| {
            Ok(sqlx::query_scalar!(
                r#"select botfarm_prune_queue($1, $2, $3) as "removed!""#,
                MOST,
                interval(SILENT),
                interval(KEPT),
            )
            .fetch_one(&mut *connection)
            .await?)
        })?;
        Ok(u64::try_from(removed).unwrap_or(0))
    }
}

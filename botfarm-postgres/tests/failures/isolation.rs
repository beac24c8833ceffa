//! Each lock on a row, with another session that changes the row meanwhile: what must come of it once that one commits, or
//! rolls back. By what is locked, and where:
//!
//! | lock | taken by | test |
//! |---|---|---|
//! | bot, passed over when locked | `botfarm_take`, each of its ways; `botfarm_take_many` | `claim_passes_by_…`, `claim_by_name_…` |
//! | bot, passed over when locked | `botfarm_match` | `pass_takes_other_bots_…` |
//! | waiter, passed over when locked | `botfarm_match` | `pass_keeps_the_place_…` |
//! | waiter | `botfarm_acquire`, `botfarm_leave` | `wait_that_ends_…`, `call_that_goes_…` |
//! | bots of a lease | `botfarm_living` | `lease_is_ended_…`, `lease_that_expires_…`; `parts` |
//! | bot | `botfarm_update`, `botfarm_delete` | `change_and_deletion_…`; `patches` |
//! | bots | an import | `import_looks_again_…`; `imports`, `parts` |
//! | pool, set of labels | `botfarm_pool`, `botfarm_label_set`, `botfarm_prune_queue` | `pool_and_labels_…` |
//! | waiter, selector, passed over when locked | `botfarm_prune_queue` | `place_that_is_taken_again_…` |
//! | whatever is cleared away, passed over when locked | `botfarm_prune_queue` | `pruning_passes_by_…` |
//! | admins; ended sessions | `operators` | `of_two_admins_…`, `sweep_of_sessions_…` |

mod bots;
mod claims;
mod leases;
mod places;

use std::fmt::Debug;

use botfarm_core::BotId;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::task::JoinHandle;

use crate::ground::{Ground, until};

/// Another session, which has changed something and not committed it yet.
struct Session(PgConnection);

impl Session {
    async fn that(ground: &Ground, changes: String) -> Self {
        let mut connection = ground.connection().await;
        sqlx::raw_sql(AssertSqlSafe(format!("begin; {changes}"))).execute(&mut connection).await.unwrap();
        Self(connection)
    }

    async fn ends(mut self, commits: bool) {
        let end = if commits { "commit" } else { "rollback" };
        sqlx::raw_sql(end).execute(&mut self.0).await.unwrap();
        self.0.close().await.unwrap();
    }
}

fn leaves_dirty(bot: BotId) -> String {
    format!("update bot_slots set version = version + 1, condition = 'dirty' where bot_id = '{bot}'")
}

fn claims(bot: BotId) -> String {
    format!(
        "update bot_slots
        set version = version + 1, fence = fence + 1, lease_id = gen_random_uuid(), phase = 'seen', size = 1, ttl = '1 m',
            leased_as = condition,
            terms = '{{\"holder\": \"session\"}}', leased_at = now(), expires_at = now() + interval '1 minute',
            free_at = now() + interval '1 minute'
        where bot_id = '{bot}'"
    )
}

fn deletes(bot: BotId) -> String {
    format!("delete from bots where id = '{bot}'")
}

/// Whether such a statement waits for a lock.
async fn is_blocked(ground: &Ground, statement: &str) -> bool {
    let blocked = format!(
        "select exists (
            select from pg_stat_activity
            where datname = current_database()
                and wait_event_type = 'Lock'
                and position('{statement}' in query) > 0
        )"
    );
    ground.value(&blocked).await
}

/// Begins a call, and waits until a statement of it waits for a lock.
async fn stands<T: Debug + Send + 'static>(
    ground: &Ground,
    statement: &str,
    call: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    let call = tokio::spawn(call);
    until("it waits for the lock, or is answered", async || is_blocked(ground, statement).await || call.is_finished())
        .await;
    assert!(!call.is_finished(), "it does not wait for the lock, and is answered {:?}", call.await);
    call
}

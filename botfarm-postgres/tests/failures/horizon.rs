//! Transactions that stay open for long, a backup for one: no row that dies meanwhile can be cleared away.

use botfarm_core::{BotFarm, Ending, LeaseRequest, Selector};
use botfarm_postgres::PostgresFarm;
use sqlx::Connection;

use crate::ground::{Ground, holder, rounds, until};

/// How many index entries of bots the server has read, dead ones among them.
const READ: &str = "select sum(idx_tup_read)::bigint from pg_stat_user_indexes where relname = 'bot_slots'";

async fn lease(farm: &PostgresFarm, selector: &Selector, times: usize) {
    for _ in 0..times {
        let lease = farm.acquire(LeaseRequest::new(holder("holder"), selector.clone())).await.unwrap();
        farm.release(lease.id, Ending::clean()).await.unwrap();
    }
}

/// Waits until the sessions have told what they did, which they do once they are idle.
async fn read(ground: &Ground) -> i64 {
    let mut last = -1;
    until("all is told", async || {
        tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
        let now: i64 = ground.value(READ).await;
        let before = std::mem::replace(&mut last, now);
        now == before
    })
    .await;
    last
}

/// However many have died, a lease steps over few of them: by chance, by id and by login.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_does_not_step_over_what_has_died_since_a_long_transaction_began() {
    const LAST: usize = 200;
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let bots = ground.bots(&farm, 20).await;
    let mut session = ground.connection().await;
    let mut backup = session.begin().await.unwrap();
    sqlx::query("set transaction isolation level repeatable read").execute(&mut *backup).await.unwrap();
    sqlx::query("select from bots").fetch_all(&mut *backup).await.unwrap();
    for selector in [ground.any(), Selector::bot(bots[0].id), Selector::any().login(bots[0].login.clone())] {
        lease(&farm, &selector, rounds(500)).await;
        let before = read(&ground).await;
        lease(&farm, &selector, LAST).await;
        let for_each = (read(&ground).await - before) / i64::try_from(LAST).unwrap();
        // A claim and a release each leave one.
        let died = 2 * i64::try_from(rounds(500)).unwrap();
        assert!(for_each < died / 4, "{selector}: {for_each} read for each lease, of {died} that have died");
    }
    backup.rollback().await.unwrap();
}

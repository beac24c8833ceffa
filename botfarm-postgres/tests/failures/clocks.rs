//! Clocks that are wrong.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use botfarm_core::{
    BotChanges, BotFarm, BotFilter, BotRelease, Condition, EndReason, Ending, LeaseRequest, PageRequest, Revocation,
    Selector,
};
use postgres_lab::Proxy;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::ground::{Ground, LONG, holder, in_time, loss, refusal};

/// No statement has a parameter of a time, so that the clocks of clients have no say. Spans of time are sent: the TTL,
/// and how long to rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_send_no_time() {
    let ground = Ground::new().await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.farm_at(&proxy.url()).await;

    // Every call of the trait, in whatever becomes of it.
    let bots = ground.bots(&farm, 3).await;
    let new_bots = vec![ground.new_bot("bot-0"), ground.new_bot("imported")];
    farm.import(new_bots, false).await.unwrap();
    farm.list(&BotFilter::default(), &PageRequest::default()).await.unwrap();
    let changes = BotChanges { condition: Some(Condition::Dirty), ..BotChanges::default() };
    farm.update(bots[2].id, changes).await.unwrap();
    let lease = farm.acquire(ground.ask("one")).await.unwrap();
    farm.acquire(LeaseRequest::new(holder("dirty"), ground.any().condition(Condition::Dirty))).await.unwrap();
    let set = LeaseRequest::many(holder("set"), [ground.any(), ground.any()]).sticky("key".parse().unwrap());
    let set = farm.acquire(set).await.unwrap();
    let wait = Duration::from_millis(50);
    assert_eq!(refusal(farm.acquire(ground.ask("too many").wait(wait)).await), "exhausted");
    farm.lookup(lease.id).await.unwrap();
    farm.renew(lease.id, Some(Duration::from_secs(30))).await.unwrap();
    farm.leases(&PageRequest::default()).await.unwrap();
    farm.release(lease.id, Ending::clean()).await.unwrap();
    farm.release_bot(set.bots[0].bot.id, BotRelease::default()).await.unwrap();
    let revocation = Revocation::new("a test".parse().unwrap(), holder("admin"));
    farm.revoke(bots[2].id, revocation).await.unwrap();
    farm.history(bots[2].id, &PageRequest::default()).await.unwrap();
    farm.stats().await.unwrap();
    farm.check().await.unwrap();
    farm.delete(bots[1].id).await.unwrap();

    let statements: BTreeSet<Arc<str>> = proxy.statements().into_iter().collect();
    let mut connection = ground.connection().await;
    let mut types = BTreeSet::new();
    let mut examined = 0;
    for statement in statements.iter().filter(|statement| statement.contains("$1")) {
        let prepare = format!("prepare examined as {statement}");
        sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut connection).await.unwrap();
        let theirs: Vec<String> = sqlx::query_scalar(
            "select unnest(parameter_types)::text from pg_prepared_statements where name = 'examined'",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        sqlx::raw_sql("deallocate examined").execute(&mut connection).await.unwrap();
        types.extend(theirs);
        examined += 1;
    }
    assert!(examined > 20, "these are all: {statements:#?}");
    assert!(types.contains("interval"), "{types:?}");
    let times: Vec<_> = types.iter().filter(|it| it.contains("time") || it.contains("date")).collect();
    assert!(times.is_empty(), "{times:?}");
}

/// The clock of the database jumps ahead: what it has written is that much older.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_of_the_database_that_jumps_ahead_ends_leases_early() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    ground.bot(&farm).await;
    let lease = farm.acquire(ground.ask("first").ttl(Duration::from_secs(8))).await.unwrap();
    jump(&ground, 10).await;
    assert_eq!(loss(farm.renew(lease.id, None).await), EndReason::Expired);
    let next = in_time("the next one gets it", farm.acquire(ground.ask("next").wait(LONG))).await.unwrap();
    assert!(next.bot().fence > lease.bot().fence);
    assert_eq!(loss(farm.release(lease.id, Ending::clean()).await), EndReason::Expired);
    ground.assert_sound().await;
}

/// The clock of the database jumps back: leases last that much longer, and what was given back rests that much longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_of_the_database_that_jumps_back_keeps_holders_and_fences_apart() {
    const BACK: i32 = -2;
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let [held, given_back] = <[_; 2]>::try_from(ground.bots(&farm, 2).await).unwrap();
    let lease = farm.acquire(LeaseRequest::new(holder("first"), Selector::bot(held.id))).await.unwrap();
    let other = farm.acquire(LeaseRequest::new(holder("other"), Selector::bot(given_back.id))).await.unwrap();
    farm.release(other.id, Ending::clean()).await.unwrap();
    jump(&ground, BACK).await;
    assert_eq!(refusal(farm.acquire(ground.ask("nobody")).await), "exhausted");
    let next = in_time("it comes back", farm.acquire(ground.ask("next").wait(LONG))).await.unwrap();
    assert_eq!(next.bot().bot.id, given_back.id);
    ground.assert_next(other.bot().fence.0, &next).await;
    let renewed = farm.renew(lease.id, None).await.unwrap();
    assert_eq!(renewed.bot().fence, lease.bot().fence);
    farm.release(lease.id, Ending::clean()).await.unwrap();
}

/// As if the clock of the database had jumped by so many seconds.
pub(crate) async fn jump(ground: &Ground, seconds: i32) {
    let mut connection: PgConnection = ground.connection().await;
    let mut transaction = connection.begin().await.unwrap();
    for (table, columns) in [
        ("bot_slots", &["free_at", "leased_at", "expires_at"][..]),
        ("history", &["leased_at", "ended_at"]),
        ("waiters", &["until", "kept_until"]),
        ("processes", &["alive_until"]),
        ("epochs", &["takeover_after"]),
    ] {
        let set: Vec<_> = columns.iter().map(|it| format!("{it} = {it} - interval '{seconds} seconds'")).collect();
        let statement = format!("update {table} set {}", set.join(", "));
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
}

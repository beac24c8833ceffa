//! Databases that are not what the program expects.

use botfarm_core::{BotFarm, BotFilter, Error, PageRequest};
use botfarm_postgres::PostgresFarm;
use sqlx::{AssertSqlSafe, Connection};

use crate::ground::{Ground, options};

async fn batch(ground: &Ground, statements: &str) {
    let mut connection = ground.connection().await;
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// A URL of the same database with this setting.
fn with(ground: &Ground, setting: &str) -> String {
    let url = ground.database.url();
    let sign = if url.contains('?') { '&' } else { '?' };
    format!("{url}{sign}options=-c%20{setting}")
}

async fn logins(farm: &PostgresFarm) -> Vec<String> {
    let page = farm.list(&BotFilter::default(), &PageRequest::default()).await.unwrap();
    page.items.into_iter().map(|bot| bot.login.to_string()).collect()
}

/// Two farms of one database, in schemas of their own: the one whose search path also leads to the other's schema.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schema_further_down_the_search_path_is_not_shared_by_accident() {
    let ground = Ground::new().await;
    let first = ground.farm().await;
    ground.bot(&first).await;
    batch(&ground, "create schema other").await;
    let other = ground.farm_at(&with(&ground, "search_path%3Dother%2Cpublic")).await;
    assert_eq!(logins(&other).await, [""; 0]);
    other.create(ground.new_bot("of the other".replace(' ', "-").as_str())).await.unwrap();
    assert_eq!((logins(&first).await.len(), logins(&other).await.len()), (1, 1));
    let lease = other.acquire(ground.ask("holder")).await.unwrap();
    assert!(lease.bot().bot.login.as_str().starts_with("of-the-other"));
    assert_eq!(first.stats().await.unwrap().pools[0].free, 1);
    // A path that leads nowhere is told.
    let options = options(&with(&ground, "search_path%3Dnowhere"));
    let refused = PostgresFarm::connect(options, ground.keyring()).await.unwrap_err();
    assert!(refused.to_string().contains("search_path"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_of_a_newer_program_is_refused() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    batch(
        &ground,
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
        values (9999, 'of the future', true, '', 0)",
    )
    .await;
    for migrates in [true, false] {
        let options = options(&ground.database.url()).migrate(migrates);
        let refused = PostgresFarm::connect(options, ground.keyring()).await.unwrap_err();
        assert!(matches!(refused, Error::Invalid { .. }), "{refused:?}");
        let said = refused.to_string();
        assert!(said.contains("9999") && said.contains("too old"), "{said}");
    }
    assert_eq!(logins(&farm).await.len(), 0, "who was there before goes on");
}

/// Who may not create tables is told which privilege is missing, and not that the database is away or corrupt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_privilege_is_named() {
    let ground = Ground::new().await;
    let role = ground.database.name();
    batch(&ground, &format!("revoke create on schema public from public; create role {role}")).await;
    let options = options(&with(&ground, &format!("role%3D{role}")));
    let refused = PostgresFarm::connect(options, ground.keyring()).await.unwrap_err();
    batch(&ground, &format!("drop role {role}")).await;
    let mut said = refused.to_string();
    let mut cause = std::error::Error::source(&refused);
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    assert!(said.contains("permission denied for schema public"), "{said}");
    assert!(!said.contains("did not write"), "{said}");
    assert_ne!(refused.code(), "unavailable");
}

/// During a rollout an older program starts beside a newer one: the functions of the newer stay, and serve both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_program_leaves_the_functions_of_a_newer_one_alone() {
    const BODY: &str = "select prosrc from pg_proc where proname = 'botfarm_heard_since'";
    let ground = Ground::new().await;
    let first = ground.farm().await;
    let ours: String = ground.value(BODY).await;
    let newer = "create or replace function botfarm_heard_since(epoch epochs, at timestamptz)
        returns timestamptz language sql immutable as $$
            -- Of a newer program.
            select case when epoch.takeover_after > at then '-infinity' else at end
        $$;";
    batch(&ground, &format!("{newer} update functions set version = version + 1, digest = ''")).await;
    let older = ground.farm().await;
    assert!(ground.value::<String>(BODY).await.contains("Of a newer program."));
    // Both are at work on it.
    ground.bot(&first).await;
    let lease = older.acquire(ground.ask("older")).await.unwrap();
    first.release(lease.id, botfarm_core::Ending::clean()).await.unwrap();

    // What an older program laid, or this one in another state, is laid anew.
    batch(&ground, &format!("{newer} update functions set version = 0")).await;
    let farm = ground.farm().await;
    assert_eq!(ground.value::<String>(BODY).await, ours);
    farm.acquire(ground.ask("anew")).await.unwrap();
}

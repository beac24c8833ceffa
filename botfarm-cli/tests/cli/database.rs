//! The commands that look after a database and its keys.

use botfarm::{
    BotFarm, BotFilter, Ending, Env, Keyring, LeaseRequest, MasterKey, NewBot, PageRequest, PostgresFarm, ProjectId,
    Selector,
};
use postgres_lab::Database;
use serde_json::{Value, json};
use sqlx::Connection as _;
use tempfile::TempDir;
use tokio::process::Command;

use crate::service::{Service, bare, finish};

async fn new_key() -> String {
    let folder = TempDir::new().unwrap();
    let mut command = bare(&folder);
    command.args(["key", "new"]);
    let (code, stdout, said) = finish(command).await;
    assert_eq!((code, said.as_str()), (0, ""));
    stdout.trim_end().to_owned()
}

fn command(folder: &TempDir, database: &Database, arguments: &[&str]) -> Command {
    let mut command = bare(folder);
    command.args(arguments).env("RUST_LOG", "warn");
    // What the commands talk to, and where a service keeps its farm.
    command.env("BOTFARM_URL", database.url()).env("BOTFARM_STORE", database.url());
    command
}

#[tokio::test]
async fn new_keys_are_keys_and_differ() {
    let [one, other] = [new_key().await, new_key().await];
    let ids = [&one, &other].map(|key| key.parse::<MasterKey>().unwrap().id());
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn migrate_makes_the_tables_once_and_needs_no_key() {
    let (database, folder) = (Database::new().await, TempDir::new().unwrap());
    let migrate = ["migrate", "--format", "json"];
    let (code, stdout, said) = finish(command(&folder, &database, &migrate)).await;
    assert_eq!(code, 0, "{said}");
    let applied = serde_json::from_str::<Value>(&stdout).unwrap()["applied"].as_u64().unwrap();
    assert!(applied >= 1);
    let (code, stdout, said) = finish(command(&folder, &database, &migrate)).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap(), json!({ "applied": 0 }));
}

#[tokio::test]
async fn rekey_seals_everything_under_the_new_key_while_a_service_runs() {
    let (database, folder) = (Database::new().await, TempDir::new().unwrap());
    let [old, new] = [new_key().await, new_key().await];
    let keyring = Keyring::new(old.parse().unwrap(), []);
    let farm = PostgresFarm::connect(botfarm::PostgresOptions::new(&database.url()).unwrap(), keyring).await.unwrap();
    for index in 0..3 {
        let password = format!("s3cret of bot-{index}").try_into().unwrap();
        let bot = NewBot::new(format!("bot-{index}").parse().unwrap(), password, ProjectId::new(), Env::STAGE);
        farm.create(bot).await.unwrap();
    }
    let mut serve = command(&folder, &database, &["serve", "--listen", "127.0.0.1:0", "--max-connections", "4"]);
    serve.env("BOTFARM_KEY", &old).env("BOTFARM_OLD_KEYS", &new);
    let _service = Service::start(TempDir::new().unwrap(), serve).await;

    let mut rekey = command(&folder, &database, &["rekey"]);
    rekey.env("BOTFARM_KEY", &new).env("BOTFARM_OLD_KEYS", &old);
    let (code, stdout, said) = finish(rekey).await;
    assert_eq!(code, 0, "{said}");
    let key = new.parse::<MasterKey>().unwrap().id();
    assert_eq!(stdout, format!("sealed 3 passwords anew, under key {key}\n"));

    let options = botfarm::PostgresOptions::new(&database.url()).unwrap();
    let alone = PostgresFarm::connect(options, Keyring::new(new.parse().unwrap(), [])).await.unwrap();
    for bot in alone.list(&BotFilter::default(), &PageRequest::default()).await.unwrap().items {
        let lease = alone.acquire(LeaseRequest::new("reader".parse().unwrap(), Selector::bot(bot.id))).await.unwrap();
        assert_eq!(lease.bot().password.expose(), format!("s3cret of {}", bot.login.as_str()));
        alone.release(lease.id, Ending::clean()).await.unwrap();
    }
}

#[tokio::test]
async fn prune_keeps_the_last_hundred_of_each_bot_and_what_is_young() {
    let (database, folder) = (Database::new().await, TempDir::new().unwrap());
    let key = new_key().await;
    let farm = PostgresFarm::connect(
        botfarm::PostgresOptions::new(&database.url()).unwrap(),
        Keyring::new(key.parse().unwrap(), []),
    )
    .await
    .unwrap();
    let bot = NewBot::new("bot".parse().unwrap(), "s3cret".try_into().unwrap(), ProjectId::new(), Env::STAGE);
    let bot = farm.create(bot).await.unwrap();
    let mut connection = sqlx::PgConnection::connect(&database.url()).await.unwrap();
    for (bot, first, last, days) in
        [(bot.id.as_uuid(), 1, 130, 100), (bot.id.as_uuid(), 131, 140, 1), (uuid::Uuid::new_v4(), 1, 7, 100)]
    {
        sqlx::query(
            "insert into history (bot_id, fence, lease_id, terms, leased_at, ended_at, reason)
            select $1, n, gen_random_uuid(), '{\"holder\": \"somebody\"}', now() - $4 * interval '1 day',
                now() - $4 * interval '1 day', 'released'
            from generate_series($2::integer, $3::integer) n",
        )
        .bind(bot)
        .bind(first)
        .bind(last)
        .bind(days)
        .execute(&mut connection)
        .await
        .unwrap();
    }
    let prune = || {
        let mut prune = command(&folder, &database, &["prune"]);
        prune.env("BOTFARM_KEY", &key);
        prune
    };
    // 140 of a bot that is there: the last hundred stay. 7 of one that has gone: none is young.
    assert_eq!(finish(prune()).await, (0, "removed 47 rows\n".to_owned(), String::new()));
    let left: Vec<i64> =
        sqlx::query_scalar("select fence from history order by fence").fetch_all(&mut connection).await.unwrap();
    assert_eq!(left, (41..=140).collect::<Vec<_>>());
    assert_eq!(finish(prune()).await, (0, "nothing is old enough to be removed\n".to_owned(), String::new()));
}

#[tokio::test]
async fn what_is_for_a_database_names_what_it_needs() {
    let folder = TempDir::new().unwrap();
    for (farm, expected) in [
        ("http://127.0.0.1:1", "botfarm: this is for a database: give --farm postgres://user@host/database\n"),
        ("", "botfarm: there is no database; give --farm postgres://user@host/database, or set BOTFARM_URL\n"),
    ] {
        for name in ["migrate", "rekey", "prune"] {
            let mut command = bare(&folder);
            command.arg(name).env("BOTFARM_URL", farm);
            assert_eq!(finish(command).await, (2, String::new(), expected.to_owned()));
        }
    }
}

#[tokio::test]
async fn wrong_key_ends_a_start_with_the_reason() {
    let (database, folder) = (Database::new().await, TempDir::new().unwrap());
    let keyring = Keyring::new(MasterKey::generate(), []);
    PostgresFarm::connect(botfarm::PostgresOptions::new(&database.url()).unwrap(), keyring).await.unwrap();
    let mut serve = command(&folder, &database, &["serve", "--listen", "127.0.0.1:0"]);
    serve.env("BOTFARM_KEY", new_key().await);
    let (code, stdout, said) = finish(serve).await;
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(said.contains("the key is not that of this farm"), "{said}");
}

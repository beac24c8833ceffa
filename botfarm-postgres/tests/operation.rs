//! What those who operate a farm rely on: dumps without passwords, keys that are found to be wrong in time, and that can
//! be changed while the farm serves.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use botfarm_core::{
    BotChanges, BotFarm, BotId, Ending, Env, Error, Keyring, LeaseRequest, MasterKey, NewBot, ProjectId, Secret,
    Selector, conformance::envs,
};
use botfarm_postgres::{PostgresFarm, PostgresOptions};
use postgres_lab::Database;
use sqlx::{Connection, PgConnection};

fn options(database: &Database) -> PostgresOptions {
    PostgresOptions::new(&database.url()).unwrap().max_connections(4).connect_timeout(Duration::from_secs(30))
}

fn copy(key: &MasterKey) -> MasterKey {
    key.expose_base64().parse().unwrap()
}

fn password(bot: usize) -> Secret {
    format!("hunter2-of-bot-{bot}").try_into().unwrap()
}

async fn bots(farm: &PostgresFarm, count: usize) -> Vec<BotId> {
    let project = ProjectId::new();
    let mut bots = Vec::new();
    for index in 0..count {
        let login = format!("bot-{index}@farm.test").parse().unwrap();
        bots.push(farm.create(NewBot::new(login, password(index), project.clone(), Env::STAGE)).await.unwrap().id);
    }
    bots
}

/// What the holder of a bot is given.
async fn password_of(farm: &PostgresFarm, bot: BotId) -> Secret {
    let request = LeaseRequest::new("reader".parse().unwrap(), Selector::bot(bot)).wait(Duration::from_secs(30));
    let lease = farm.acquire(request).await.unwrap();
    farm.release(lease.id, Ending::clean()).await.unwrap();
    lease.bot().password.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_env_has_a_policy_of_its_own() {
    let database = Database::new().await;
    let keyring = Keyring::new(MasterKey::generate(), []);
    let farm = PostgresFarm::connect(options(&database).policy(envs::policy()), keyring).await.unwrap();
    let farm = Arc::new(farm);
    envs::each_env_has_a_policy_of_its_own(farm.clone()).await;
    envs::bot_that_is_left_dirty_or_broken_does_not_rest(farm.clone()).await;
    envs::expired_lease_leaves_its_bots_in_the_condition_that_the_env_says(farm).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dump_has_the_logins_and_no_password() {
    let database = Database::new().await;
    let key = MasterKey::generate();
    let farm = PostgresFarm::connect(options(&database), Keyring::new(copy(&key), [])).await.unwrap();
    let bots = bots(&farm, 3).await;
    // Also of one that is held, and one that was.
    farm.acquire(LeaseRequest::new("holder".parse().unwrap(), Selector::bot(bots[0]))).await.unwrap();
    password_of(&farm, bots[1]).await;
    // Its parameters are those of the client here.
    let url = database.url();
    let url = url.split_once('?').map_or(url.as_str(), |(url, _)| url);
    let dump = tokio::task::block_in_place(|| {
        // The server's own, where there are several.
        let program = ["18", "17", "16", "15", "14"]
            .map(|version| format!("/usr/lib/postgresql/{version}/bin/pg_dump"))
            .into_iter()
            .find(|path| std::path::Path::new(path).exists())
            .unwrap_or_else(|| "pg_dump".to_owned());
        Command::new(program).args(["--no-password", "--dbname", url]).output().unwrap()
    });
    let text = String::from_utf8_lossy(&dump.stdout).to_lowercase();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    assert!(text.contains("bot-2@farm.test"), "the bots are in it");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    assert!(!text.contains("hunter2") && !text.contains(&hex(b"hunter2")), "a password is in it");
    assert!(!text.contains(&key.expose_base64().to_lowercase()), "the key is in it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_key_is_refused_at_the_start() {
    let database = Database::new().await;
    let (right, wrong) = (MasterKey::generate(), MasterKey::generate());
    let (right_id, wrong_id) = (right.id().to_string(), wrong.id().to_string());
    let farm = PostgresFarm::connect(options(&database), Keyring::new(copy(&right), [])).await.unwrap();
    let bot = bots(&farm, 1).await[0];
    let refused = PostgresFarm::connect(options(&database), Keyring::new(wrong, [])).await.unwrap_err();
    let Error::Forbidden { detail } = &refused else { panic!("{refused:?}") };
    assert!(detail.starts_with("the key is not that of this farm: "), "{detail}");
    assert!(detail.contains(&right_id) && detail.contains(&wrong_id), "it names the keys by their ids: {detail}");
    let again = PostgresFarm::connect(options(&database), Keyring::new(right, [])).await.unwrap();
    assert_eq!(password_of(&again, bot).await, password(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_are_sealed_anew_while_replicas_with_either_key_serve() {
    const COUNT: usize = 40;
    let database = Database::new().await;
    let (old, new) = (MasterKey::generate(), MasterKey::generate());
    let open = async |current: &MasterKey, other: &MasterKey| {
        PostgresFarm::connect(options(&database), Keyring::new(copy(current), [copy(other)])).await.unwrap()
    };
    let first = PostgresFarm::connect(options(&database), Keyring::new(copy(&old), [])).await.unwrap();
    let bots = bots(&first, COUNT).await;
    let held = NewBot::new("held@farm.test".parse().unwrap(), password(0), ProjectId::new(), Env::STAGE);
    let held = first.create(held).await.unwrap().id;
    let held = first.acquire(LeaseRequest::new("holder".parse().unwrap(), Selector::bot(held))).await.unwrap();
    // The roll-out, one replica after the other: this one knows both and seals under the old one still.
    let replicas = [open(&old, &new).await, open(&new, &old).await];
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = replicas
        .iter()
        .map(|replica| {
            let (replica, bots, stop) = (replica.clone(), bots.clone(), stop.clone());
            tokio::spawn(async move {
                let mut read = 0;
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(password_of(&replica, bots[read % COUNT]).await, password(read % COUNT));
                    read += 1;
                }
                read
            })
        })
        .collect();
    let changed = BotChanges { password: Some("changed meanwhile".try_into().unwrap()), ..BotChanges::default() };
    let extra = {
        let login = "extra@farm.test".parse().unwrap();
        let bot = NewBot::new(login, password(0), ProjectId::new(), Env::STAGE);
        replicas[1].create(bot).await.unwrap().id
    };
    let (resealed, changed) = tokio::join!(replicas[1].rekey(), replicas[1].update(extra, changed));
    assert_eq!(resealed.unwrap(), COUNT as u64 + 1, "those that were sealed under the old key");
    changed.unwrap();
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    assert_eq!(replicas[1].rekey().await.unwrap(), 0, "there is nothing left to do");

    // Now the old key may go.
    let alone = PostgresFarm::connect(options(&database), Keyring::new(copy(&new), [])).await.unwrap();
    for (index, bot) in bots.iter().enumerate() {
        assert_eq!(password_of(&alone, *bot).await, password(index));
    }
    assert_eq!(password_of(&alone, extra).await, "changed meanwhile".try_into().unwrap());
    assert_eq!(alone.renew(held.id, None).await.unwrap().bot().fence, held.bot().fence, "leases stay");
    let refused = PostgresFarm::connect(options(&database), Keyring::new(old, [])).await.unwrap_err();
    assert_eq!(refused.code(), "forbidden");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_was_tampered_with_is_named_and_keeps_no_other_from_its_new_key() {
    let database = Database::new().await;
    let (old, new) = (MasterKey::generate(), MasterKey::generate());
    let first = PostgresFarm::connect(options(&database), Keyring::new(copy(&old), [])).await.unwrap();
    let bots = bots(&first, 3).await;
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    let swap = "update bots set sealed = (select sealed from bots where id = $2) where id = $1";
    let swapped = sqlx::query(swap).bind(bots[1].as_uuid()).bind(bots[0].as_uuid()).execute(&mut connection).await;
    assert_eq!(swapped.unwrap().rows_affected(), 1);
    let farm = PostgresFarm::connect(options(&database), Keyring::new(copy(&new), [copy(&old)])).await.unwrap();
    for sealed in [2, 0] {
        let said = farm.rekey().await.unwrap_err();
        assert_eq!(said.code(), "forbidden");
        let said = said.to_string();
        let others = format!("; {sealed} others are sealed under the current key now");
        assert!(said.contains(&bots[1].to_string()) && said.contains(&others), "{said}");
        assert!(!said.contains(&bots[0].to_string()) && !said.contains("hunter2"), "{said}");
    }
    let alone = PostgresFarm::connect(options(&database), Keyring::new(new, [])).await.unwrap();
    for index in [0, 2] {
        assert_eq!(password_of(&alone, bots[index]).await, password(index));
    }
    let changes = BotChanges { password: Some(password(1)), ..BotChanges::default() };
    alone.update(bots[1], changes).await.unwrap();
    assert_eq!(alone.rekey().await.unwrap(), 0, "an account that has a password again is like any other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_together_make_one_schema() {
    let database = Database::new().await;
    let key = MasterKey::generate();
    let starts: Vec<_> =
        (0..6).map(|_| tokio::spawn(PostgresFarm::connect(options(&database), Keyring::new(copy(&key), [])))).collect();
    let mut farms = Vec::new();
    for start in starts {
        farms.push(start.await.unwrap().unwrap());
    }
    let bot = bots(&farms[0], 1).await[0];
    assert_eq!(password_of(&farms[5], bot).await, password(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schema_that_is_not_to_be_brought_up_to_date_is_refused() {
    let database = Database::new().await;
    let keyring = Keyring::new(MasterKey::generate(), []);
    let refused = PostgresFarm::connect(options(&database).migrate(false), keyring).await.unwrap_err();
    assert!(refused.to_string().contains("run `botfarm migrate`"), "{refused}");
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    let tables: i64 = sqlx::query_scalar("select count(*) from pg_tables where schemaname = 'public'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(tables, 0);
}

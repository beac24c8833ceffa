//! What is there after a restart, and who may open the file.

use std::{fs, path::Path, time::Duration};

use botfarm_core::{
    BotFarm as _, BotFarmExt as _, BotFilter, BotState, Condition, Ending, Env, Error, Fence, Keyring, LeasePolicy,
    LeaseRequest, MasterKey, NewBot, PageRequest, ProjectId, Revocation, Selector,
    operators::{NewToken, Operators as _, PasswordHash, Role, Scope, SessionId, TokenDigest},
};
use botfarm_sqlite::{SqliteFarm, SqliteOptions};

const HOUR: Duration = Duration::from_hours(1);

fn options(folder: &Path) -> SqliteOptions {
    SqliteOptions::new(folder.join("data/farm.db"))
}

fn open(folder: &Path) -> SqliteFarm {
    SqliteFarm::open(options(folder), None).unwrap()
}

fn bot(login: &str) -> NewBot {
    NewBot::new(login.parse().unwrap(), "hunter2".try_into().unwrap(), ProjectId::new(), Env::STAGE)
}

fn ask() -> LeaseRequest {
    LeaseRequest::new("somebody".parse().unwrap(), Selector::any()).ttl(HOUR)
}

fn digest(byte: u8) -> TokenDigest {
    TokenDigest([byte; 32])
}

#[tokio::test]
async fn conditions_fences_and_the_order_of_the_free_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let farm = open(folder.path());
    for login in ["a", "b", "c", "d"] {
        farm.create(bot(login)).await.unwrap();
    }
    let mut leases = Vec::new();
    for _ in 0..4 {
        leases.push(farm.acquire(ask()).await.unwrap());
    }
    // c, then a; b dirty; d rests.
    farm.release(leases[2].id, Ending::clean()).await.unwrap();
    farm.release(leases[0].id, Ending::clean().note("done".parse().unwrap())).await.unwrap();
    farm.release(leases[1].id, Ending::dirty()).await.unwrap();
    let revocation = Revocation::new("over".parse().unwrap(), "ann".parse().unwrap());
    farm.revoke(leases[3].bot().bot.id, revocation).await.unwrap();
    let before = farm.list_all(&BotFilter::default()).await.unwrap();
    drop(farm);

    let farm = open(folder.path());
    assert_eq!(farm.list_all(&BotFilter::default()).await.unwrap(), before);
    let Err(Error::LeaseLost(lost)) = farm.renew(leases[3].id, None).await else { panic!("it was revoked") };
    assert_eq!((lost.by.as_deref(), lost.note.as_deref()), (Some("ann"), Some("over")));
    farm.release(leases[0].id, Ending::clean()).await.unwrap();
    let history = farm.history(leases[0].bot().bot.id, &PageRequest::default()).await.unwrap().items;
    assert_eq!(history[0].end.as_ref().unwrap().note.as_deref(), Some("done"));
    for login in ["c", "a"] {
        let lease = farm.acquire(ask()).await.unwrap();
        assert_eq!((lease.bot().bot.login.as_str(), lease.bot().fence), (login, Fence(2)));
        assert_eq!(lease.bot().password.expose(), "hunter2");
    }
    assert_eq!(farm.acquire(ask()).await.unwrap_err().code(), "exhausted");
    let states: Vec<_> =
        farm.list_all(&BotFilter::default()).await.unwrap().iter().map(|bot| (bot.state(), bot.condition)).collect();
    assert_eq!(states[1], (BotState::Free, Condition::Dirty));
    assert_eq!(states[3], (BotState::Cooling, Condition::Ready));
}

#[tokio::test]
async fn operators_tokens_and_ended_sessions_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let farm = open(folder.path());
    let ann = farm.add_operator("ann".parse().unwrap(), PasswordHash::from_phc("hash"), Role::Admin).await.unwrap();
    let ann = farm.end_sessions(ann.id).await.unwrap().unwrap();
    assert_eq!(ann.generation, 1);
    let session = SessionId(uuid::Uuid::new_v4());
    farm.end_session(session, chrono::Utc::now() + HOUR).await.unwrap();
    let new = |name: &str, byte| NewToken {
        name: name.parse().unwrap(),
        role: Role::Tester,
        scope: Scope { env: Some(Env::STAGE), ..Scope::default() },
        expires_at: None,
        digest: digest(byte),
    };
    let kept = farm.add_token(new("ci", 7)).await.unwrap();
    let gone = farm.add_token(new("old", 8)).await.unwrap();
    assert!(farm.remove_token(gone.id).await.unwrap());
    let used = farm.token(digest(7)).await.unwrap().unwrap();
    drop(farm);

    let bytes = fs::read(folder.path().join("data/farm.db")).unwrap();
    assert!(!bytes.windows(32).any(|window| window == [7; 32]), "the digest is not in the file");
    let farm = open(folder.path());
    assert_eq!(
        farm.operator(&"ANN".parse().unwrap()).await.unwrap(),
        Some((ann.clone(), PasswordHash::from_phc("hash")))
    );
    assert_eq!(farm.session(session, ann.id).await.unwrap(), None);
    assert_eq!(farm.session(SessionId(uuid::Uuid::new_v4()), ann.id).await.unwrap(), Some(ann));
    assert_eq!(farm.token(digest(7)).await.unwrap(), Some(used));
    assert_eq!(farm.tokens().await.unwrap().iter().map(|token| token.id).collect::<Vec<_>>(), [kept.id]);
    assert_eq!(farm.token(digest(8)).await.unwrap(), None);
}

#[tokio::test]
async fn id_of_a_lease_is_not_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let farm = open(folder.path());
    farm.create(bot("a")).await.unwrap();
    let lease = farm.acquire(ask()).await.unwrap();
    drop(farm);
    let bytes = fs::read(folder.path().join("data/farm.db")).unwrap();
    let holds = |secret: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    assert!(holds(b"somebody"), "its holder is");
    assert!(!holds(lease.id.as_uuid().as_bytes()) && !holds(b"hunter2"));
}

#[tokio::test]
async fn whoever_writes_into_the_file_makes_no_admin() {
    let folder = tempfile::tempdir().unwrap();
    let farm = open(folder.path());
    farm.add_operator("ann".parse().unwrap(), PasswordHash::from_phc("hash"), Role::Admin).await.unwrap();
    farm.add_operator("tom".parse().unwrap(), PasswordHash::from_phc("hash"), Role::Viewer).await.unwrap();
    drop(farm);
    let database = rusqlite::Connection::open(folder.path().join("data/farm.db")).unwrap();
    assert_eq!(database.execute("update operators set role = 'admin' where login = 'tom'", []).unwrap(), 1);
    drop(database);
    let refusal = SqliteFarm::open(options(folder.path()), None).unwrap_err().to_string();
    assert!(refusal.contains("the operator tom was written by something else"), "{refusal}");
}

#[tokio::test]
async fn lease_that_expired_meanwhile_has_a_grace() {
    let folder = tempfile::tempdir().unwrap();
    let policy = LeasePolicy { min_ttl: Duration::from_millis(1), ..LeasePolicy::default() };
    let farm = SqliteFarm::open(options(folder.path()).policy(policy.clone()), None).unwrap();
    farm.create(bot("a")).await.unwrap();
    let lease = farm.acquire(ask().ttl(Duration::from_millis(300))).await.unwrap();
    drop(farm);
    while chrono::Utc::now() < lease.expires_at {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let again = options(folder.path()).policy(policy).grace(HOUR);
    let farm = SqliteFarm::open(again, None).unwrap();
    assert_eq!(farm.acquire(ask()).await.unwrap_err().code(), "exhausted");
    let renewed = farm.renew(lease.id, Some(HOUR)).await.unwrap();
    assert_eq!(renewed.bot().fence, lease.bot().fence);
}

#[tokio::test]
async fn another_process_is_told_who_has_the_farm() {
    let folder = tempfile::tempdir().unwrap();
    let farm = open(folder.path());
    let Err(Error::Unavailable { detail, .. }) = SqliteFarm::open(options(folder.path()), None) else {
        panic!("it is in use")
    };
    assert!(detail.contains(&format!("in use by process {}", std::process::id())), "{detail}");
    drop(farm);
    open(folder.path());
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let farm = open(folder.path());
    farm.create(bot("a")).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let data = folder.path().join("data");
    assert_eq!(mode(&data), 0o700);
    let files: Vec<_> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 5, "{files:?}");
    for file in &files {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
    drop(farm);
    fs::set_permissions(data.join("farm.db"), fs::Permissions::from_mode(0o644)).unwrap();
    open(folder.path());
    assert_eq!(mode(&data.join("farm.db")), 0o600);
}

#[tokio::test]
async fn farm_opens_with_its_own_key_alone() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).create(bot("a")).await.unwrap();
    let other = Keyring::new(MasterKey::generate(), []);
    let Err(Error::Forbidden { detail }) = SqliteFarm::open(options(folder.path()), Some(other)) else {
        panic!("it is another key")
    };
    assert!(detail.starts_with("the key is not that of "), "{detail}");
    let (key, away) = (folder.path().join("data/farm.db.key"), folder.path().join("key"));
    fs::rename(&key, &away).unwrap();
    let refusal = SqliteFarm::open(options(folder.path()), None).unwrap_err().to_string();
    assert!(refusal.contains("put it back, or set BOTFARM_KEY"), "{refusal}");
    assert!(!key.exists(), "no other key is made for it");
    // What is in the file is what BOTFARM_KEY would be.
    let text = fs::read_to_string(away).unwrap();
    let keyring = Keyring::new(text.parse().unwrap(), []);
    let farm = SqliteFarm::open(options(folder.path()), Some(keyring)).unwrap();
    assert_eq!(farm.acquire(ask()).await.unwrap().bot().password.expose(), "hunter2");
}

#[tokio::test]
async fn farm_gets_another_key_and_keeps_its_leases() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (MasterKey::generate(), MasterKey::generate());
    let copy = |key: &MasterKey| key.expose_base64().parse::<MasterKey>().unwrap();
    let farm = SqliteFarm::open(options(folder.path()), Some(Keyring::new(copy(&old), []))).unwrap();
    farm.import((0..600).map(|number| bot(&format!("bot-{number}"))).collect(), false).await.unwrap();
    let lease = farm.acquire(ask()).await.unwrap();
    drop(farm);
    let both = Keyring::new(copy(&new), [old]);
    let farm = SqliteFarm::open(options(folder.path()), Some(both)).unwrap();
    assert_eq!((farm.rekey().await.unwrap(), farm.rekey().await.unwrap()), (600, 0));
    drop(farm);
    let farm = SqliteFarm::open(options(folder.path()), Some(Keyring::new(new, []))).unwrap();
    assert_eq!(farm.renew(lease.id, None).await.unwrap().bot().password.expose(), "hunter2");
}

#[tokio::test]
async fn copy_made_in_use_is_the_farm_of_that_moment() {
    let folder = tempfile::tempdir().unwrap();
    let farm = open(folder.path());
    farm.create(bot("a")).await.unwrap();
    let lease = farm.acquire(ask()).await.unwrap();
    let (from, to) = (folder.path().join("data/farm.db"), folder.path().join("copy.db"));
    SqliteFarm::backup(&from, &to).unwrap();
    farm.release(lease.id, Ending::broken()).await.unwrap();
    assert!(SqliteFarm::backup(&from, &to).unwrap_err().to_string().contains("exists already"));
    let key = fs::read_to_string(folder.path().join("data/farm.db.key")).unwrap();
    let keyring = Keyring::new(key.parse().unwrap(), []);
    let copied = SqliteFarm::open(SqliteOptions::new(to), Some(keyring)).unwrap();
    assert_eq!(copied.lookup(lease.id).await.unwrap().bot(), lease.bot());
    assert_eq!(farm.get(lease.bot().bot.id).await.unwrap().condition, Condition::Broken);
    let foreign = folder.path().join("data/farm.db.key");
    assert!(
        SqliteFarm::backup(&foreign, &folder.path().join("x"))
            .unwrap_err()
            .to_string()
            .contains("not the file of a farm")
    );
    assert!(!folder.path().join("x").exists() && !folder.path().join("x.new").exists());
}

#[tokio::test]
async fn deleted_bot_leaves_no_holder_behind_and_its_leases_ended() {
    let folder = tempfile::tempdir().unwrap();
    let farm = open(folder.path());
    let made = farm.create(bot("a")).await.unwrap();
    let lease = farm.acquire(ask()).await.unwrap();
    farm.release(lease.id, Ending::clean()).await.unwrap();
    farm.delete(made.id).await.unwrap();
    drop(farm);
    let farm = open(folder.path());
    assert_eq!(farm.acquire(ask().id(lease.id)).await.unwrap_err().code(), "lease-lost");
    assert_eq!(farm.history(made.id, &PageRequest::default()).await.unwrap_err().code(), "no-such-user");
    drop(farm);
    let database = rusqlite::Connection::open(folder.path().join("data/farm.db")).unwrap();
    let terms: String = database.query_row("select terms from history", [], |row| row.get(0)).unwrap();
    assert_eq!(terms, r#"{"holder":"-"}"#);
}

#[tokio::test]
async fn what_cannot_be_written_is_not_answered_and_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let farm = open(folder.path());
    farm.create(bot("a")).await.unwrap();
    // Another program keeps the farm from writing, as a full disk would.
    let other = rusqlite::Connection::open(folder.path().join("data/farm.db")).unwrap();
    other.execute_batch("begin immediate").unwrap();
    let lease = ask();
    let id = lease.id;
    let Err(Error::Unavailable { detail, .. }) = farm.acquire(lease).await else { panic!("it cannot be kept") };
    assert!(detail.starts_with("the farm's file cannot be written: "), "{detail}");
    for refused in [farm.check().await.err(), farm.stats().await.err(), farm.create(bot("b")).await.err()] {
        assert_eq!(refused.expect("nothing is done until it can be kept").code(), "unavailable");
    }
    other.execute_batch("rollback").unwrap();
    while farm.check().await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Nobody received it.
    assert_eq!(farm.lookup(id).await.unwrap_err().code(), "no-such-lease");
    assert_eq!(farm.acquire(ask()).await.unwrap().bot().fence, Fence(2));
    assert_eq!(farm.list_all(&BotFilter::default()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn each_env_has_a_policy_of_its_own() {
    use botfarm_core::conformance::envs;

    let folder = tempfile::tempdir().unwrap();
    let farm = SqliteFarm::open(options(folder.path()).policy(envs::policy()), None).unwrap();
    let farm = std::sync::Arc::new(farm);
    envs::each_env_has_a_policy_of_its_own(farm.clone()).await;
    envs::bot_that_is_left_dirty_or_broken_does_not_rest(farm.clone()).await;
    envs::expired_lease_leaves_its_bots_in_the_condition_that_the_env_says(farm.clone()).await;
    let before = farm.list_all(&BotFilter::default()).await.unwrap();
    drop(farm);
    assert_eq!(open(folder.path()).list_all(&BotFilter::default()).await.unwrap(), before);
}

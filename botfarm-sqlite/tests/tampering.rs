//! What comes of it when something else than the farm writes into its file, and of a change of keys that is cut off.

use std::path::Path;

use botfarm_core::{
    BotChanges, BotFarm as _, BotFarmExt as _, BotFilter, Condition, EndReason, Env, Error, Keyring, LeaseRequest,
    MasterKey, NewBot, PageRequest, ProjectId, Selector,
};
use botfarm_sqlite::{SqliteFarm, SqliteOptions};
use rusqlite::Connection;

fn file(folder: &Path) -> std::path::PathBuf {
    folder.join("farm.db")
}

fn copy(key: &MasterKey) -> MasterKey {
    key.expose_base64().parse().unwrap()
}

fn open(folder: &Path) -> SqliteFarm {
    SqliteFarm::open(SqliteOptions::new(file(folder)), None).unwrap()
}

fn open_with(folder: &Path, keys: [&MasterKey; 1], old: &[&MasterKey]) -> botfarm_core::Result<SqliteFarm> {
    let keyring = Keyring::new(copy(keys[0]), old.iter().map(|key| copy(key)));
    SqliteFarm::open(SqliteOptions::new(file(folder)), Some(keyring))
}

fn bot(login: &str) -> NewBot {
    let project: ProjectId = "shop".parse().unwrap();
    NewBot::new(login.parse().unwrap(), format!("hunter2-{login}").try_into().unwrap(), project, Env::STAGE)
}

fn ask(selector: Selector) -> LeaseRequest {
    LeaseRequest::new("somebody".parse().unwrap(), selector)
}

fn run(folder: &Path, statement: &str) -> usize {
    Connection::open(file(folder)).unwrap().execute(statement, []).unwrap()
}

#[tokio::test]
async fn a_row_that_is_passed_off_as_another_is_set_aside_and_the_others_are_handed_out() {
    for tampered in [
        "sealed = (select sealed from bots where login = 'b')",
        "sealed = x'68756e74657232'",
        "login = 'root'",
        "login = 'b'",
        "project = 'bank'",
        "env = 'prod'",
        "generation = generation + 1",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let farm = open(folder.path());
        let id = farm.create(bot("a")).await.unwrap().id;
        let other = farm.create(bot("b")).await.unwrap().id;
        drop(farm);
        assert_eq!(run(folder.path(), &format!("update bots set {tampered} where login = 'a'")), 1);

        let farm = open(folder.path());
        let lease = farm.acquire(ask(Selector::any().env(Env::STAGE))).await.unwrap();
        assert_eq!((lease.bot().bot.id, lease.bot().password.expose()), (other, "hunter2-b"), "{tampered}");
        if tampered == "login = 'b'" {
            // Two accounts of one login cannot be; the one that the farm has written stays.
            assert_eq!(farm.list_all(&BotFilter::default()).await.unwrap().len(), 1);
            continue;
        }
        assert_eq!(farm.get(id).await.unwrap().condition, Condition::Broken, "{tampered}");
        for condition in [Condition::Ready, Condition::Dirty, Condition::Broken] {
            let refused = farm.acquire(ask(Selector::bot(id).condition(condition))).await.unwrap_err();
            assert_eq!(refused.code(), "busy", "{tampered}: nobody gets it as {condition}");
        }
        let ready = BotChanges { condition: Some(Condition::Ready), ..BotChanges::default() };
        let said = farm.update(id, ready.clone()).await.unwrap_err();
        assert!(said.to_string().contains("must be given again"), "{tampered}: {said}");
        let labels = botfarm_core::Labels::try_from([("seen", "yes")]).unwrap();
        let labels = BotChanges { labels: Some(labels), ..BotChanges::default() };
        farm.update(id, labels).await.unwrap();
        drop(farm);
        let farm = open(folder.path());
        assert_eq!(farm.get(id).await.unwrap().condition, Condition::Broken, "{tampered}: still");
        farm.update(id, BotChanges { password: Some("again".try_into().unwrap()), ..ready }).await.unwrap();
        drop(farm);
        let farm = open(folder.path());
        assert_eq!(farm.acquire(ask(Selector::bot(id))).await.unwrap().bot().password.expose(), "again", "{tampered}");
    }
}

#[tokio::test]
async fn a_lease_whose_account_was_tampered_with_is_over_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let farm = open(folder.path());
    for login in ["a", "b"] {
        farm.create(bot(login)).await.unwrap();
    }
    let lease = farm
        .acquire(LeaseRequest::many("somebody".parse().unwrap(), [Selector::any(), Selector::any()]))
        .await
        .unwrap();
    let [a, b] = [lease.bots[0].bot.id, lease.bots[1].bot.id];
    drop(farm);
    run(folder.path(), "update bots set project = 'bank' where login = 'a'");
    let farm = open(folder.path());
    let Err(Error::LeaseLost(lost)) = farm.renew(lease.id, None).await else { panic!("it holds what cannot be read") };
    assert_eq!((lost.reason, lost.by.as_deref()), (EndReason::Revoked, Some("botfarm")));
    assert!(lost.note.as_deref().unwrap().contains(&a.to_string()), "{lost:?}");
    let history = farm.history(a, &PageRequest::default()).await.unwrap().items;
    assert_eq!(history[0].end.as_ref().map(|end| end.reason), Some(EndReason::Revoked));
    assert_eq!(
        (farm.get(a).await.unwrap().condition, farm.get(b).await.unwrap().condition),
        (Condition::Broken, Condition::Ready)
    );
}

#[tokio::test]
async fn a_password_that_was_tampered_with_keeps_no_other_from_its_new_key() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (MasterKey::generate(), MasterKey::generate());
    let farm = open_with(folder.path(), [&old], &[]).unwrap();
    farm.import(["a", "b", "c"].map(bot).into(), false).await.unwrap();
    let bots = farm.list_all(&BotFilter::default()).await.unwrap();
    drop(farm);
    run(folder.path(), "update bots set login = 'x' where login = 'b'");
    let farm = open_with(folder.path(), [&new], &[&old]).unwrap();
    for sealed in [2, 0] {
        let said = farm.rekey().await.unwrap_err();
        assert_eq!(said.code(), "forbidden");
        let said = said.to_string();
        let others = format!("; {sealed} others are sealed under the current key now");
        assert!(said.contains(&bots[1].id.to_string()) && said.contains(&others), "{said}");
        assert!(!said.contains(&bots[0].id.to_string()) && !said.contains("hunter2"), "{said}");
    }
    drop(farm);
    let farm = open_with(folder.path(), [&new], &[]).unwrap();
    let again = BotChanges { password: Some("again".try_into().unwrap()), ..BotChanges::default() };
    farm.update(bots[1].id, again).await.unwrap();
    assert_eq!(farm.rekey().await.unwrap(), 0, "an account that has a password again is like any other");
    for login in ["a", "c"] {
        let lease = farm.acquire(ask(Selector::any().login(login.parse().unwrap()))).await.unwrap();
        assert_eq!(lease.bot().password.expose(), format!("hunter2-{login}"));
    }
}

/// It is cut off after the first of several commits. Until it is done it takes both keys, in whichever order.
#[tokio::test]
async fn a_change_of_keys_that_is_cut_off_is_begun_again_with_both_keys() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (MasterKey::generate(), MasterKey::generate());
    let farm = open_with(folder.path(), [&old], &[]).unwrap();
    farm.import((0..1_200).map(|number| bot(&format!("bot-{number}"))).collect(), false).await.unwrap();
    drop(farm);
    run(
        folder.path(),
        "create trigger cut before update on bots
         when (select count(*) from bots where id < new.id) = 700
         begin
           select raise(abort, 'the disk is full');
         end",
    );
    let farm = open_with(folder.path(), [&new], &[&old]).unwrap();
    assert!(farm.rekey().await.unwrap_err().to_string().contains("failed"));
    drop(farm);
    for alone in [&old, &new] {
        assert_eq!(open_with(folder.path(), [alone], &[]).unwrap_err().code(), "forbidden", "one key does not do");
    }
    run(folder.path(), "drop trigger cut");
    for (current, other) in [(&old, &new), (&new, &old)] {
        let farm = open_with(folder.path(), [current], &[other]).unwrap();
        for login in ["bot-0", "bot-1199"] {
            let lease = farm.acquire(ask(Selector::any().login(login.parse().unwrap()))).await.unwrap();
            assert_eq!(lease.bot().password.expose(), format!("hunter2-{login}"));
            farm.release(lease.id, botfarm_core::Ending::clean()).await.unwrap();
        }
    }
    let farm = open_with(folder.path(), [&new], &[&old]).unwrap();
    assert_eq!(farm.rekey().await.unwrap(), 700, "what the first one has not come to");
    drop(farm);
    let farm = open_with(folder.path(), [&new], &[]).unwrap();
    let broken = BotFilter { condition: Some(Condition::Broken), ..BotFilter::default() };
    assert_eq!(farm.list_all(&broken).await.unwrap(), []);
    assert_eq!(open_with_only(folder.path(), &old, farm).code(), "forbidden");
}

fn open_with_only(folder: &Path, key: &MasterKey, before: SqliteFarm) -> Error {
    drop(before);
    open_with(folder, [key], &[]).unwrap_err()
}

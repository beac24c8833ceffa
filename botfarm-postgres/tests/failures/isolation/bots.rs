//! Changes, imports and clearing away, with a session that changes the same meanwhile.

use std::time::Duration;

use botfarm_core::{
    BotChanges, BotFarm, BotId, Condition, Domain, Ending, Error, LeaseRequest, NewBot,
    operators::{Operators, PasswordHash, Role, SessionId},
};
use postgres_lab::{Point, Proxy};

use super::{Session, claims, deletes, leaves_dirty, stands};
use crate::ground::{Ground, holder, in_time, labels, refusal, statement};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_and_deletion_of_a_bot_see_what_a_session_has_done() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    for (change, commits, changed, deleted) in [
        (claims as fn(BotId) -> String, true, Some("in-use"), Some("in-use")),
        (claims, false, None, None),
        (leaves_dirty, true, None, None),
        (deletes, true, Some("no-such-user"), Some("no-such-user")),
    ] {
        for (deletes, told) in [(false, changed), (true, deleted)] {
            let bot = ground.bot(&farm).await.id;
            let session = Session::that(&ground, change(bot)).await;
            let waits_in = if deletes { "botfarm_delete(" } else { statement::UPDATE };
            let call = stands(&ground, waits_in, {
                let farm = farm.clone();
                async move {
                    let broken = BotChanges { condition: Some(Condition::Broken), ..BotChanges::default() };
                    if deletes { farm.delete(bot).await } else { farm.update(bot, broken).await.map(drop) }
                }
            })
            .await;
            session.ends(commits).await;
            let call = in_time("it is answered", call).await.unwrap();
            assert_eq!(call.as_ref().err().map(Error::code), told);
            if told.is_none() && !deletes {
                assert_eq!(farm.get(bot).await.unwrap().condition, Condition::Broken);
            }
            ground.run("delete from bots").await;
        }
    }
}

/// Between its plan and its changes somebody claims or deletes a bot that it is about to move or to change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn import_looks_again_when_a_session_has_changed_a_bot() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let moved = || NewBot { domain: Domain::REGULAR, ..ground.new_bot("bot-0") };
    let labelled = || NewBot { labels: labels("role", "admin"), ..ground.new_bot("bot-0") };
    for (change, row, told) in [
        (claims as fn(BotId) -> String, moved(), Err("invalid")),
        (claims, labelled(), Ok((0, 1))),
        (leaves_dirty, moved(), Ok((0, 1))),
        (deletes, moved(), Ok((1, 0))),
    ] {
        let bot = ground.bot(&farm).await.id;
        let session = Session::that(&ground, change(bot)).await;
        let import = stands(&ground, "for no key update of s", {
            let farm = farm.clone();
            async move { farm.import(vec![row], false).await }
        })
        .await;
        session.ends(true).await;
        let import = in_time("it is answered", import).await.unwrap();
        let import = import.map(|report| (report.created, report.updated)).map_err(|error| error.code());
        assert_eq!(import, told);
        let apart = "select count(*) from bots b join bot_slots s on s.bot_id = b.id where s.pool_id <> b.pool_id";
        assert_eq!(ground.value::<i64>(apart).await, 0);
        ground.run("delete from bots").await;
    }
}

/// A bot comes while its pool, or its set of labels, is cleared away, and the other way round.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_and_labels_are_there_for_a_bot_that_comes_as_they_are_cleared_away() {
    let ground = Ground::new().await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let [farm, other] = [ground.farm_at(&proxy.url()).await, ground.farm().await];
    let bot = || NewBot { labels: labels("role", "admin"), ..ground.new_bot("bot") };
    let admin = || LeaseRequest::new(holder("holder"), ground.any().labels(labels("role", "admin")));
    for gone in ["pools", "label_sets"] {
        // What is left behind.
        other.delete(other.create(bot()).await.unwrap().id).await.unwrap();
        let session = Session::that(&ground, format!("delete from {gone}")).await;
        let created = stands(&ground, "botfarm_create(", {
            let (other, bot) = (other.clone(), bot());
            async move { other.create(bot).await }
        })
        .await;
        session.ends(true).await;
        let created = in_time("it is created", created).await.unwrap().unwrap();
        other.release(other.acquire(admin()).await.unwrap().id, Ending::clean()).await.unwrap();
        other.delete(created.id).await.unwrap();
    }
    let commits = proxy.stop_at(Point::Commit, "botfarm_create(");
    let created = tokio::spawn({
        let (farm, bot) = (farm.clone(), bot());
        async move { farm.create(bot).await }
    });
    in_time("it is about to be there", commits.reached()).await;
    in_time("nobody waits for it", other.prune()).await.unwrap();
    commits.resume();
    in_time("it is created", created).await.unwrap().unwrap();
    other.acquire(admin()).await.unwrap();
}

/// Each removes the other: the second finds that it would remove the last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_admins_who_remove_each_other_one_stays() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let mut admins = Vec::new();
    for login in ["ada", "bob"] {
        let hash = PasswordHash::from_phc("$argon2id$");
        admins.push(farm.add_operator(login.parse().unwrap(), hash, Role::Admin).await.unwrap().id);
    }
    let session = Session::that(&ground, format!("delete from operators where id = '{}'", admins[0].0)).await;
    let removal = stands(&ground, "last_admin", {
        let (farm, last) = (farm.clone(), admins[1]);
        async move { farm.remove_operator(last).await }
    })
    .await;
    session.ends(true).await;
    assert_eq!(refusal(in_time("it is answered", removal).await.unwrap()), "forbidden");
    assert_eq!(farm.operators().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pruning_passes_by_what_a_session_has_locked() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    for (table, dead) in [
        (
            "changes",
            "(caller, key, request, attempt, begun_at)
            select n::text::bytea, '', '', gen_random_uuid(), now() - interval '2 days'",
        ),
        (
            "waiters",
            "(lease_id, parked, until, kept_until, avoid, terms, ttl)
            select gen_random_uuid(), true, now(), now() - interval '1 minute', '{}', '{}', '1 minute'",
        ),
        (
            "selectors",
            "(key, project, env, domain, labels, condition)
            select n::text::bytea, 'gone-' || n, '*', '*', '{}', 'ready'",
        ),
        ("pools", "(project, env, domain) select 'gone-' || n, 'stage', 'canary'"),
        ("label_sets", "(key, labels) select n::text::bytea, array['role:' || n]"),
    ] {
        ground.run(&format!("insert into {table} {dead} from generate_series(1, 2) n")).await;
        let left = async || ground.value::<i64>(&format!("select count(*) from {table}")).await;
        let session = Session::that(&ground, format!("select from {table} limit 1 for update")).await;
        in_time("it waits for nobody", farm.prune()).await.unwrap();
        assert_eq!(left().await, 1, "{table}: the other one has gone");
        session.ends(false).await;
        farm.prune().await.unwrap();
        assert_eq!(left().await, 0, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sweep_of_sessions_waits_for_nobody() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let [old, new] = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
    ground.run(&format!("insert into ended_sessions (id, until) values ('{old}', now() - interval '2 hours')")).await;
    let locked = format!("select from ended_sessions where id = '{old}' for update");
    let session = Session::that(&ground, locked).await;
    let until = chrono::Utc::now() + Duration::from_mins(1);
    in_time("it is ended", farm.end_session(SessionId(new), until)).await.unwrap();
    assert_eq!(ground.value::<i64>("select count(*) from ended_sessions").await, 2);
    session.ends(false).await;
    in_time("it is ended", farm.end_session(SessionId(new), until)).await.unwrap();
    assert_eq!(ground.value::<i64>("select count(*) from ended_sessions").await, 1);
}

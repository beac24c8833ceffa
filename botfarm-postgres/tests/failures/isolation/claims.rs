//! Claims, with a session that changes the bot meanwhile.

use botfarm_core::{BotFarm, BotId, Condition, Domain, Ending, Error, LeaseRequest, NewBot, ProjectId, Selector};
use postgres_lab::{Point, Proxy};

use super::{Session, claims, deletes, leaves_dirty};
use crate::ground::{Ground, holder, in_time, labels, refusal, statement, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claim_passes_by_a_bot_that_a_session_changes() {
    let mut ground = Ground::new().await;
    let farm = ground.farm().await;
    for way in ["one pool", "pools", "labels", "labels in one pool", "sticky", "pair", "assignment"] {
        ground.project = ProjectId::new();
        let mut bots = Vec::new();
        for (name, domain) in [("first", Domain::REGULAR), ("second", Domain::CANARY), ("third", Domain::REGULAR)] {
            let bot = NewBot { domain, labels: labels("role", "admin"), ..ground.new_bot(name) };
            bots.push(farm.create(bot).await.unwrap().id);
        }
        let (any, admin) = (ground.any(), ground.any().labels(labels("role", "admin")));
        let selectors = match way {
            "one pool" => vec![any.domain(Domain::REGULAR)],
            "labels" => vec![admin],
            "labels in one pool" => vec![admin.domain(Domain::REGULAR)],
            "pair" => vec![any.clone(), any],
            // The first would take what the second cannot do without.
            "assignment" => vec![any, Selector::bot(bots[1])],
            _ => vec![any],
        };
        let request = |name: &str| {
            let request = LeaseRequest::many(holder(name), selectors.clone());
            if way == "sticky" { request.sticky("key".parse().unwrap()) } else { request }
        };
        if way == "sticky" {
            let last = LeaseRequest::new(holder("last"), Selector::bot(bots[0])).sticky("key".parse().unwrap());
            farm.release(farm.acquire(last).await.unwrap().id, Ending::clean()).await.unwrap();
        }
        // Else it would be had: this is the one that is in the way.
        let lease = farm.acquire(request("before")).await.unwrap();
        assert!(lease.bots.iter().any(|leased| leased.bot.id == bots[0]), "{way}");
        farm.release(lease.id, Ending::clean()).await.unwrap();
        ground
            .run(&format!("update bot_slots set free_at = leased_at - interval '1 hour' where bot_id = '{}'", bots[0]))
            .await;
        let session = Session::that(&ground, leaves_dirty(bots[0])).await;
        let lease = in_time("another is had", farm.acquire(request("meanwhile"))).await.unwrap();
        assert!(lease.bots.iter().all(|leased| leased.bot.id != bots[0]), "{way}: {lease:?}");
        assert_eq!(lease.bots.len(), selectors.len());
        session.ends(true).await;
        assert_eq!(farm.get(bots[0]).await.unwrap().condition, Condition::Dirty);
    }
    ground.assert_sound().await;
}

/// It was refused since the bot was leased, and then finds out why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claim_of_what_is_deleted_as_it_is_refused_is_told_that_there_is_none() {
    let ground = Ground::new().await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.farm_at(&proxy.url()).await;
    let bot = ground.bot(&farm).await;
    farm.acquire(ground.ask("holder")).await.unwrap();
    let asks_why = proxy.stop_at(Point::Request, statement::STANDING);
    let claim = tokio::spawn({
        let (farm, request) = (farm.clone(), ground.ask("claims"));
        async move { farm.acquire(request).await }
    });
    in_time("it is refused", asks_why.reached()).await;
    ground.run(&deletes(bot.id)).await;
    asks_why.resume();
    assert_eq!(refusal(in_time("it is told", claim).await.unwrap()), "no-match");
}

/// A request that names the bot asks for it until the session has come to an end, and is told what that one has done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claim_by_name_is_told_what_the_session_has_done() {
    let ground = Ground::new().await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.farm_at(&proxy.url()).await;
    for by_login in [false, true] {
        for (change, commits, told) in [
            (leaves_dirty as fn(BotId) -> String, true, Some("busy")),
            (claims, true, Some("busy")),
            (deletes, true, Some("no-match")),
            (claims, false, None),
        ] {
            let bot = ground.bot(&farm).await;
            let selector = if by_login { Selector::any().login(bot.login) } else { Selector::bot(bot.id) };
            let session = Session::that(&ground, change(bot.id)).await;
            let asked = || proxy.statements().iter().filter(|it| it.contains(statement::ACQUIRE)).count();
            let before = asked();
            let claim = tokio::spawn({
                let farm = farm.clone();
                async move { farm.acquire(LeaseRequest::new(holder("claims"), selector)).await }
            });
            until("it asks again", async || asked() > before + 1).await;
            session.ends(commits).await;
            let claim = in_time("it is told", claim).await.unwrap();
            assert_eq!(claim.as_ref().err().map(Error::code), told);
            ground.run("delete from bots").await;
        }
    }
    // It does not ask for ever.
    let bot = ground.bot(&farm).await.id;
    let session = Session::that(&ground, leaves_dirty(bot)).await;
    let refused = in_time("it is told", farm.acquire(LeaseRequest::new(holder("asks"), Selector::bot(bot)))).await;
    assert!(refused.unwrap_err().to_string().contains("being changed just now"));
    session.ends(false).await;
}

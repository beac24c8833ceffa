//! The ends of leases, with a session that changes one of the bots meanwhile.

use std::time::Duration;

use botfarm_core::{BotFarm, BotRelease, EndReason, Ending, LeaseRequest, Revocation};

use super::{Session, stands};
use crate::ground::{Ground, LONG, hand_outs, holder, in_time, loss, statement, until};

/// A session has changed the labels of one of its bots: whoever ends the lease waits for that, and ends all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_is_ended_and_looked_up_as_a_whole_while_a_session_changes_a_bot() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let bots = ground.bots(&farm, 2).await;
    for (call, waits_in) in [
        ("release", statement::END),
        ("release of a bot", statement::END),
        ("revocation", statement::END),
        ("lookup", statement::RECEIVE),
    ] {
        let pair = LeaseRequest::many(holder("holder"), [ground.any(), ground.any()]);
        let lease = in_time("both are free", farm.acquire(pair.wait(LONG))).await.unwrap();
        let touched = format!("update bot_slots set version = version + 1 where bot_id = '{}'", bots[1].id);
        let session = Session::that(&ground, touched).await;
        let (id, bot, other) = (lease.id, bots[0].id, farm.clone());
        let ended = stands(&ground, waits_in, async move {
            match call {
                "release" => other.release(id, Ending::clean()).await.map(|()| None),
                "release of a bot" => other.release_bot(bot, BotRelease::default()).await.map(|()| None),
                "lookup" => other.lookup(id).await.map(Some),
                _ => {
                    let revocation = Revocation::new("a test".parse().unwrap(), holder("admin"));
                    other.revoke(bot, revocation).await.map(|()| None)
                }
            }
        })
        .await;
        session.ends(true).await;
        if let Some(found) = in_time("it is answered", ended).await.unwrap().unwrap() {
            assert_eq!(hand_outs(&found), hand_outs(&lease));
        } else {
            assert_eq!(ground.held().await, 0, "{call}: both are free");
            let ends = format!(
                "select count(*) || ' ' || count(distinct ended_at) from history where lease_id = '{}'",
                farm.kept_as(id)
            );
            assert_eq!(ground.value::<String>(&ends).await, "2 1", "{call}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_that_expires_while_a_session_changes_a_bot_is_not_released() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let bots = ground.bots(&farm, 2).await;
    let pair = LeaseRequest::many(holder("late"), [ground.any(), ground.any()]).ttl(Duration::from_millis(800));
    let id = farm.acquire(pair).await.unwrap().id;
    let touched = format!("update bot_slots set version = version + 1 where bot_id = '{}'", bots[1].id);
    let session = Session::that(&ground, touched).await;
    let release = stands(&ground, statement::END, {
        let farm = farm.clone();
        async move { farm.release(id, Ending::dirty()).await }
    })
    .await;
    until("it has expired", async || ground.held().await == 0).await;
    session.ends(true).await;
    assert_eq!(loss(in_time("it is answered", release).await.unwrap()), EndReason::Expired);
    let left = "select count(*) from bot_slots where condition = 'ready' and lease_id is not null";
    assert_eq!(ground.value::<i64>(left).await, 2, "the late release has changed neither");
}

//! Releases of a bot whose answers are lost: they end what they saw first, or nothing.

use botfarm_core::{BotFarm, BotRelease, Ending, Revocation};
use postgres_lab::{Point, Proxy};

use crate::ground::{Ground, hand_outs, holder, in_time, statement};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn end_of_a_lease_whose_answer_is_lost_does_not_end_that_of_the_next_holder() {
    let ground = Ground::new().await;
    let policy =
        botfarm_core::LeasePolicy { cooling: std::time::Duration::ZERO, ..botfarm_core::conformance::policy() };
    let other = ground.farm_with(policy.clone()).await;
    let bot = ground.bot(&other).await.id;
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.open(crate::ground::options(&proxy.url()).policy(policy)).await;
    for revokes in [false, true] {
        farm.acquire(ground.ask("first")).await.unwrap();
        let ended = proxy.stop_at(Point::Reply, statement::END);
        let end = tokio::spawn({
            let farm = farm.clone();
            async move {
                if revokes {
                    let revocation = Revocation::new("a test".parse().unwrap(), holder("admin"));
                    farm.revoke(bot, revocation).await
                } else {
                    farm.release_bot(bot, BotRelease::default()).await
                }
            }
        });
        in_time("it has ended", ended.reached()).await;
        let next = other.acquire(ground.ask("next")).await.unwrap();
        ended.cut();
        in_time("it is told", end).await.unwrap().unwrap();
        assert_eq!(hand_outs(&other.renew(next.id, None).await.unwrap()), hand_outs(&next));
        other.release(next.id, Ending::clean()).await.unwrap();
    }
    ground.assert_sound().await;
}

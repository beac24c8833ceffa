//! Renewal against takeover.

use std::time::Duration;

use botfarm_core::{BotFarm, EndReason, Error, LeasePolicy, LeaseRequest, NewBot, ProjectId, Selector, conformance};
use tokio::{task::JoinSet, time::Instant};

use crate::ground::{Ground, chance, holder, loss, rounds};

/// By a deadline either the renewal comes in time, and nobody gets the bot before the new one; or it is refused, and the
/// bot is somebody else's. Without a rest after the expiry, so that there is nothing but the deadline in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_renewal_and_takeover_at_the_deadline_one_succeeds() {
    const TTL: Duration = Duration::from_millis(40);
    let ground = Ground::new().await;
    let policy = LeasePolicy { cooling: Duration::ZERO, ..conformance::policy() };
    let [farm, other] = [ground.farm_with(policy.clone()).await, ground.farm_with(policy).await];
    let mut pairs = JoinSet::new();
    for pair in 0..4 {
        let project = ProjectId::new();
        let bot = NewBot { project: project.clone(), ..ground.new_bot(&format!("bot of pair {pair}")) };
        let bot = farm.create(bot).await.unwrap().id;
        let (farm, other) = (farm.clone(), other.clone());
        pairs.spawn(async move {
            let any = Selector::any().project(project);
            let mut lease = farm.acquire(LeaseRequest::new(holder("first"), any.clone()).ttl(TTL)).await.unwrap();
            let (mut renewed, mut lost) = (0, 0);
            for round in 0..rounds(30) {
                // Around the deadline, as far as it can be told from here.
                let at = Instant::now() + lease.remaining + Duration::from_micros(chance(8_000));
                let early = Duration::from_millis(6);
                let renewal = async {
                    tokio::time::sleep_until(at - early).await;
                    farm.renew(lease.id, None).await
                };
                let selector = if round % 2 == 0 { any.clone() } else { Selector::bot(bot) };
                let request = LeaseRequest::new(holder("next"), selector).ttl(TTL);
                let takeover = async {
                    tokio::time::sleep_until(at - early).await;
                    loop {
                        match other.acquire(request.clone()).await {
                            Err(Error::Busy(_) | Error::Exhausted(_)) => {}
                            taken => return taken.unwrap(),
                        }
                    }
                };
                let (renewal, next) = tokio::join!(renewal, takeover);
                let end = match renewal {
                    Ok(again) => {
                        renewed += 1;
                        assert_eq!(again.bot().fence, lease.bot().fence);
                        again.expires_at
                    }
                    renewal => {
                        lost += 1;
                        assert_eq!(loss(renewal), EndReason::Expired);
                        lease.expires_at
                    }
                };
                assert!(next.acquired_at >= end, "nobody gets it before the lease's end");
                assert!(next.bot().fence > lease.bot().fence);
                assert_eq!(loss(farm.renew(lease.id, None).await), EndReason::Expired);
                lease = next;
            }
            (renewed, lost)
        });
    }
    let (renewed, lost) = pairs.join_all().await.into_iter().fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    let hand_outs: i64 = ground
        .value("select (select count(*) from history) + (select count(*) from bot_slots where lease_id is not null)")
        .await;
    assert_eq!(hand_outs, i64::try_from(4 * (rounds(30) + 1)).unwrap(), "nobody had a bot in between");
    assert!(renewed > 0 && lost > 0, "the race goes either way: {renewed} renewed, {lost} lost");
    ground.assert_sound().await;
}

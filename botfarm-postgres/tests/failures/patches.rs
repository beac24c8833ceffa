//! Changes of one bot at the same moment.

use botfarm_core::{BotChanges, BotFarm, Condition, Domain};
use postgres_lab::{Point, Proxy};
use tokio::task::JoinSet;

use crate::ground::{Ground, in_time, labels, rounds, statement, until_blocked};

/// One holds the row with its change carried out, and the other waits for it: both are found, and both are kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_of_the_domain_and_change_of_the_labels_lose_nothing() {
    let ground = Ground::new().await;
    let other = ground.farm().await;
    let bot = ground.bot(&other).await.id;
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.farm_at(&proxy.url()).await;
    let to_domain = BotChanges { domain: Some("canary".parse().unwrap()), ..BotChanges::default() };
    let to_labels = BotChanges { labels: Some(labels("role", "admin")), ..BotChanges::default() };
    for (first, second) in [(to_domain.clone(), to_labels.clone()), (to_labels, to_domain)] {
        let stop = proxy.stop_at(Point::Commit, statement::UPDATE);
        let first = tokio::spawn({
            let farm = farm.clone();
            async move { farm.update(bot, first).await }
        });
        in_time("the first holds the row", stop.reached()).await;
        let second = tokio::spawn({
            let other = other.clone();
            async move { other.update(bot, second).await }
        });
        until_blocked(&ground, 1).await;
        stop.resume();
        in_time("the first is done", first).await.unwrap().unwrap();
        let changed = in_time("the second is done", second).await.unwrap().unwrap();
        assert_eq!((changed.domain.as_str(), changed.labels), ("canary", labels("role", "admin")));
        let back = BotChanges {
            domain: Some("regular".parse().unwrap()),
            labels: Some(botfarm_core::Labels::none()),
            ..BotChanges::default()
        };
        other.update(bot, back).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_by_many_are_all_carried_out() {
    let ground = Ground::new().await;
    let farms = [ground.farm().await, ground.farm().await];
    let bot = ground.bot(&farms[0]).await.id;
    let mut clients = JoinSet::new();
    for client in 0..6 {
        let farm = farms[client % 2].clone();
        clients.spawn(async move {
            for round in 0..rounds(10) {
                let name = format!("number-{client}-{round}");
                let changes = match client % 3 {
                    0 => {
                        let domain = if round % 2 == 0 { Domain::REGULAR } else { Domain::CANARY };
                        BotChanges { domain: Some(domain), ..BotChanges::default() }
                    }
                    1 => BotChanges { labels: Some(labels("role", &name)), ..BotChanges::default() },
                    _ => BotChanges { condition: Some(Condition::Dirty), ..BotChanges::default() },
                };
                farm.update(bot, changes).await.unwrap();
            }
        });
    }
    in_time("all are done", clients.join_all()).await;
    let bot = farms[0].get(bot).await.unwrap();
    assert_eq!(bot.condition, Condition::Dirty);
    let role = bot.labels.iter().next().expect("it has a label").1.to_owned();
    assert!(role.ends_with(&format!("-{}", rounds(10) - 1)), "the last change of the labels stays: {role}");
    let apart: i64 = ground
        .value("select count(*) from bots b join bot_slots s on s.bot_id = b.id where s.pool_id <> b.pool_id")
        .await;
    assert_eq!(apart, 0, "the bot stands in one pool");
}

//! Imports beside leases.

use botfarm_core::{BotFarm, Ending, LeaseRequest, NewBot, Selector};
use postgres_lab::{Point, Proxy};

use crate::ground::{Ground, hand_outs, holder, in_time, labels};

/// An import stands with everything carried out and nothing committed: only the bot that it changes is held up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn import_that_stands_holds_up_nobody_whose_bot_it_does_not_change() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let bots = ground.bots(&farm, 4).await;
    let named = |index: usize| LeaseRequest::new(holder("holder"), Selector::bot(bots[index].id));
    let kept = farm.acquire(named(0)).await.unwrap();
    let proxy = Proxy::to(&ground.database.url()).await;
    let importing = ground.farm_at(&proxy.url()).await;
    let stop = proxy.stop_at(Point::Request, "update bots b");
    let import = tokio::spawn({
        let mut rows: Vec<_> = (0..3).map(|index| ground.new_bot(&format!("bot-{index}"))).collect();
        rows.extend((0..100).map(|index| ground.new_bot(&format!("new-{index}"))));
        rows.push(NewBot { labels: labels("role", "admin"), ..ground.new_bot("bot-3") });
        async move { importing.import(rows, false).await }
    });
    in_time("all but the commit is done", stop.reached()).await;
    let others = async {
        assert_eq!(hand_outs(&farm.renew(kept.id, None).await.unwrap()), hand_outs(&kept));
        farm.release(kept.id, Ending::clean()).await.unwrap();
        for lease in [farm.acquire(named(1)).await, farm.acquire(ground.ask("any")).await] {
            farm.release(lease.unwrap().id, Ending::clean()).await.unwrap();
        }
        farm.create(ground.new_bot("created")).await.unwrap();
    };
    in_time("the others go on", others).await;
    assert!(!import.is_finished());
    stop.resume();
    let report = in_time("it is imported", import).await.unwrap().unwrap();
    assert_eq!((report.created, report.updated, report.unchanged), (100, 1, 3));
    let admin = farm.acquire(LeaseRequest::new(holder("admin"), ground.any().labels(labels("role", "admin")))).await;
    assert_eq!(admin.unwrap().bot().bot.id, bots[3].id);
}

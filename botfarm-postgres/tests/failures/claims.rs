//! Many who want the same.

use std::collections::HashSet;

use botfarm_core::{BotFarm, Ending, Env, Error, LeaseRequest, NewBot, Selector};
use tokio::task::JoinSet;

use crate::ground::{Ground, LONG, holder};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_who_ask_for_a_bot_by_id_one_gets_it() {
    let ground = Ground::new().await;
    let farms = [ground.farm().await, ground.farm().await];
    let bot = ground.bot(&farms[0]).await;
    let mut contenders = JoinSet::new();
    for index in 0..64 {
        let (farm, request) =
            (farms[index % 2].clone(), LeaseRequest::new(holder(&format!("contender {index}")), Selector::bot(bot.id)));
        contenders.spawn(async move { farm.acquire(request).await });
    }
    let (won, lost): (Vec<_>, Vec<_>) = contenders.join_all().await.into_iter().partition(Result::is_ok);
    let [Ok(lease)] = won.as_slice() else { panic!("one gets it: {won:?}") };
    assert_eq!(lost.len(), 63);
    for refusal in lost {
        let Err(Error::Busy(busy)) = refusal else { panic!("the others are told that it is busy: {refusal:?}") };
        assert_eq!(busy.bot, bot.id);
    }
    farms[1].release(lease.id, Ending::clean()).await.unwrap();
    let next = farms[0].acquire(ground.ask("next")).await.unwrap();
    ground.assert_next(lease.bot().fence.0, &next).await;
    ground.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_who_ask_for_any_of_50_bots_50_get_one_each() {
    let ground = Ground::new().await;
    let farms = [ground.farm().await, ground.farm().await];
    let bots = ground.bots(&farms[0], 50).await;
    let mut contenders = JoinSet::new();
    for index in 0..64 {
        let (farm, request) = (farms[index % 2].clone(), ground.ask(&format!("contender {index}")));
        contenders.spawn(async move { farm.acquire(request).await });
    }
    let (won, lost): (Vec<_>, Vec<_>) = contenders.join_all().await.into_iter().partition(Result::is_ok);
    let won: Vec<_> = won.into_iter().map(Result::unwrap).collect();
    let granted: HashSet<_> = won.iter().map(|lease| lease.bot().bot.id).collect();
    assert_eq!(granted, bots.iter().map(|bot| bot.id).collect());
    assert_eq!((won.len(), lost.len()), (50, 14));
    for refusal in lost {
        let Err(Error::Exhausted(shortage)) = refusal else { panic!("the others are told why: {refusal:?}") };
        assert_eq!(shortage.matching, 50);
    }
    for lease in won.iter().take(20) {
        farms[0].release(lease.id, Ending::clean()).await.unwrap();
    }
    // There was no other hand-out: these have ended, and those are in force.
    assert_eq!(ground.value::<i64>("select count(*) from history").await, 20);
    assert_eq!(ground.held().await, 30);
    ground.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn free_bot_is_found_behind_ten_thousand_broken_ones_though_others_wait() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let many = (0..10_000).map(|index| ground.new_bot(&format!("broken-{index}"))).collect();
    farm.import(many, false).await.unwrap();
    assert_eq!(ground.run("update bot_slots set condition = 'broken'").await, 10_000);
    // Of another pool: whoever waits for it is in nobody's way, but that is for the queue to say.
    let elsewhere = farm.create(NewBot { env: Env::PROD, ..ground.new_bot("elsewhere") }).await.unwrap();
    let only = move || LeaseRequest::new(holder("elsewhere"), Selector::bot(elsewhere.id));
    let held = farm.acquire(only()).await.unwrap();
    let waiter = tokio::spawn({
        let farm = farm.clone();
        async move { farm.acquire(only().wait(LONG)).await }
    });
    ground.until_waiting(1).await;
    let free = ground.bot(&farm).await;
    let request = LeaseRequest::new(holder("in no hurry"), ground.any().env(Env::STAGE));
    let lease = farm.acquire(request).await.expect("a free bot is had, wherever it stands");
    assert_eq!(lease.bot().bot.id, free.id);
    farm.release(held.id, Ending::clean()).await.unwrap();
    assert_eq!(waiter.await.unwrap().unwrap().bot().bot.id, elsewhere.id);
}

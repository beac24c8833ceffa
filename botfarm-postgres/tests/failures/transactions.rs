//! Clients that die inside a transaction.

use std::time::Duration;

use botfarm_core::{BotFarm, BotFilter, Ending, LeaseRequest, NewBot, PageRequest, Selector};
use postgres_lab::{Direction, Point, Proxy};

use crate::ground::{Ground, LONG, holder, in_time, labels, options, refusal};

/// An import that stands still after it has locked the rows of a bot, on a connection that nobody closes. The others pass
/// the bot by; the server ends the transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transaction_whose_client_has_gone_frees_its_bots_in_the_end() {
    let ground = Ground::new().await;
    let farm = ground.farm().await;
    let [locked, free] = <[_; 2]>::try_from(ground.bots(&farm, 2).await).unwrap();
    let proxy = Proxy::to(&ground.database.url()).await;
    let dying = ground.open(options(&proxy.url()).statement_timeout(Duration::from_secs(5))).await;

    let stop = proxy.stop_at(Point::Request, "update bot_slots s");
    let import = tokio::spawn({
        let changed = NewBot { labels: labels("role", "admin"), ..ground.new_bot("bot-0") };
        let (dying, bots) = (dying.clone(), vec![changed]);
        async move { dying.import(bots, false).await }
    });
    in_time("it holds its locks", stop.reached()).await;
    // Neither side hears of the other any more.
    proxy.freeze(Direction::Both);
    stop.resume();

    let lease = farm.acquire(ground.ask("passes it by")).await.unwrap();
    assert_eq!(lease.bot().bot.id, free.id);
    assert_eq!(refusal(farm.acquire(ground.ask("finds nothing")).await), "exhausted");
    let waiter = LeaseRequest::new(holder("waiter"), Selector::bot(locked.id)).wait(LONG);
    let lease = in_time("the server ends the transaction", farm.acquire(waiter)).await.unwrap();
    farm.release(lease.id, Ending::clean()).await.unwrap();
    // That one has gone, and the connection is new.
    import.abort();
    proxy.cut().await;
    proxy.thaw();
    assert_eq!(farm.list(&BotFilter::default(), &PageRequest::default()).await.unwrap().items.len(), 2);
}

/// The server itself gives up what takes too long, on every connection of the farm.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_have_timeouts() {
    let ground = Ground::new().await;
    let proxy = Proxy::to(&ground.database.url()).await;
    let farm = ground.open(options(&proxy.url()).statement_timeout(Duration::from_secs(7))).await;
    farm.check().await.unwrap();
    let settings: Vec<_> = proxy.statements().into_iter().filter(|it| it.starts_with("set ")).collect();
    assert_eq!(
        settings.first().map(|it| &**it),
        Some(
            "set statement_timeout = 7000; set lock_timeout = 3500; set idle_in_transaction_session_timeout = 7000; \
             set default_transaction_isolation = 'read committed'; set jit = off"
        )
    );
}

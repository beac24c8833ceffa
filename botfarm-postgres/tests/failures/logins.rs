//! Accounts by login, of which each env may have its own.

use botfarm_core::{BotFarm, Env, LeaseRequest, NewBot, Selector};

use crate::ground::{Ground, LONG, holder, in_time};

/// The account of that login is held; one of the same login comes in another env, made at another process or imported.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiter_by_login_gets_a_new_account_of_that_login_in_another_env() {
    let ground = Ground::new().await;
    let [farm, other] = [ground.farm().await, ground.farm().await];
    let bot = ground.bot(&farm).await;
    let request = |name: &str| LeaseRequest::new(holder(name), Selector::any().login(bot.login.clone()));
    farm.acquire(request("holder")).await.unwrap();
    for (env, imports) in [(Env::PREPROD, false), (Env::PROD, true)] {
        let waiter = tokio::spawn({
            let (farm, request) = (farm.clone(), request("waiter").wait(LONG));
            async move { farm.acquire(request).await }
        });
        ground.until_waiting(1).await;
        let new = NewBot { env: env.clone(), ..ground.new_bot("bot-0") };
        if imports {
            assert_eq!(other.import(vec![new], false).await.unwrap().created, 1);
        } else {
            other.create(new).await.unwrap();
        }
        let lease = in_time("it is served", waiter).await.unwrap().unwrap();
        assert_eq!(lease.bot().bot.env, env);
    }
    ground.assert_sound().await;
}

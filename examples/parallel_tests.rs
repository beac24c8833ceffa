//! Twenty tests share a few accounts, each alone with the one that it has.
//!
//! ```sh
//! cargo run --example parallel_tests
//! ```
//!
//! Without `BOTFARM_URL` it makes a farm in memory with three accounts. With it (and `--features http`), it shares the
//! accounts of a running service with everybody else.

use std::{
    collections::HashMap,
    error::Error,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use botfarm::{BotFarm, BotFarmExt, BotFilter, BotId, Env, LeaseRequest, MemoryFarm, NewBot, ProjectId, Selector};
use tokio::task::JoinSet;

const TESTS: usize = 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let farm = match std::env::var_os("BOTFARM_URL") {
        Some(_) => botfarm::connect_from_env().await?,
        None => farm_in_memory()?,
    };
    let bots = farm.list_all(&BotFilter::default()).await?.len();
    println!("{TESTS} tests share {bots} accounts");

    // Which test is using which account. Two for one would be the failure that a farm is there to prevent.
    let in_use = Arc::new(Mutex::new(HashMap::<BotId, usize>::new()));
    let started = Instant::now();
    let mut tests = JoinSet::new();
    for test in 1..=TESTS {
        tests.spawn(one_test(farm.clone(), test, in_use.clone(), started));
    }
    while let Some(ended) = tests.join_next().await {
        ended??;
    }
    let bots = farm.list_all(&BotFilter::default()).await?;
    let held = bots.iter().filter_map(|bot| bot.holding.as_ref());
    assert_eq!(held.filter(|holding| holding.terms.holder.starts_with("test ")).count(), 0, "an account is not back");
    println!("no account was ever used by two tests, and all are back");
    Ok(())
}

/// A test: waits for an account, signs in, and gives it back.
async fn one_test(
    farm: Arc<dyn BotFarm>,
    test: usize,
    in_use: Arc<Mutex<HashMap<BotId, usize>>>,
    started: Instant,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let request = LeaseRequest::new(format!("test {test}").parse()?, Selector::any().env(Env::STAGE))
        .wait(Duration::from_secs(30));
    let lease = farm.lease(request).await?;
    let bot = &lease.bot().bot;
    println!("{:>4} ms  test {test:>2} has {}", started.elapsed().as_millis(), bot.login);

    let other = in_use.lock().map_err(|_| "another test failed")?.insert(bot.id, test);
    assert_eq!(other, None, "{} is used by two tests", bot.login);
    // Here a real test would sign in with `lease.password.expose()`, and click about.
    tokio::time::sleep(Duration::from_millis(20)).await;
    in_use.lock().map_err(|_| "another test failed")?.remove(&bot.id);

    lease.release().await?;
    Ok(())
}

fn farm_in_memory() -> Result<Arc<dyn BotFarm>, Box<dyn Error + Send + Sync>> {
    let project = ProjectId::new();
    let mut bots = Vec::new();
    for name in ["ada", "ben", "cleo"] {
        let login = format!("{name}@shop.example").parse()?;
        bots.push(NewBot::new(login, "not-a-real-password".try_into()?, project.clone(), Env::STAGE));
    }
    Ok(Arc::new(MemoryFarm::with_bots(bots)?))
}

//! Two farms on one database do what the naive model of one farm does: also when statements and replies are held back, or
//! lost with their connections.

use std::{sync::Arc, time::Duration};

use botfarm_core::{BotFarm, Keyring, LeasePolicy, MasterKey, conformance::Fixture};
use botfarm_postgres::{PostgresFarm, PostgresOptions};
use postgres_lab::{Database, Point, Proxy};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

/// Farms as separate as those of two processes, on a database of their own; and what goes wrong on the way to it.
struct Farms(
    [PostgresFarm; 2],
    #[expect(dead_code, reason = "they go on until they are dropped")] JoinSet<()>,
    #[expect(dead_code, reason = "it is there until it is dropped")] Database,
);

impl Fixture for Farms {
    fn handles(&self) -> Vec<Arc<dyn BotFarm>> {
        self.0.iter().map(|farm| Arc::new(farm.clone()) as Arc<dyn BotFarm>).collect()
    }
}

async fn farm(url: &str, key: &MasterKey, policy: LeasePolicy) -> PostgresFarm {
    let options = PostgresOptions::new(url)
        .unwrap()
        .policy(policy)
        // For a machine that is busy with other things.
        .connect_timeout(Duration::from_secs(30))
        .statement_timeout(Duration::from_secs(30));
    PostgresFarm::connect(options, Keyring::new(key.expose_base64().parse().unwrap(), [])).await.unwrap()
}

async fn farms(policy: LeasePolicy) -> Farms {
    let (database, key) = (Database::new().await, MasterKey::generate());
    let url = database.url();
    let farms = [farm(&url, &key, policy.clone()).await, farm(&url, &key, policy).await];
    Farms(farms, JoinSet::new(), database)
}

/// Each behind a proxy that holds or loses one statement after the other.
async fn farms_far_away(policy: LeasePolicy) -> Farms {
    let (database, key) = (Database::new().await, MasterKey::generate());
    let proxies = [Proxy::to(&database.url()).await, Proxy::to(&database.url()).await];
    let farms = [farm(&proxies[0].url(), &key, policy.clone()).await, farm(&proxies[1].url(), &key, policy).await];
    let mut faults = JoinSet::new();
    for proxy in proxies {
        faults.spawn(async move {
            // Never twice in a row: a statement that is cut off three times is given up.
            let mut may_cut = true;
            loop {
                may_cut = !lose(&proxy, may_cut).await;
            }
        });
    }
    Farms(farms, faults, database)
}

/// Holds the next statement of some kind at some point of its way for a moment. Then it goes on, or its connection is cut:
/// tells which.
async fn lose(proxy: &Proxy, may_cut: bool) -> bool {
    // What may be repeated. (A creation may not: whoever asks is told that it may have been carried out.)
    const STATEMENTS: [&str; 7] = [
        "botfarm_acquire(",
        "botfarm_match(",
        "botfarm_receive(",
        "botfarm_end(",
        "botfarm_leave(",
        "botfarm_look(",
        "botfarm_update(",
    ];
    let point = [Point::Request, Point::Commit, Point::Reply][chance(3)];
    let stop = proxy.stop_at_nth(point, STATEMENTS[chance(STATEMENTS.len())], chance(3));
    if timeout(Duration::from_millis(100), stop.reached()).await.is_err() {
        return false;
    }
    sleep(Duration::from_millis(chance(20) as u64)).await;
    let cuts = may_cut && chance(3) > 0;
    if cuts {
        stop.cut();
    }
    cuts
}

/// Numbers that differ from run to run.
fn chance(below: usize) -> usize {
    usize::try_from(uuid::Uuid::new_v4().as_u64_pair().1 % below as u64).unwrap()
}

botfarm_core::conformance_model!(farms);

mod far_away {
    botfarm_core::conformance_model!(super::farms_far_away);
}

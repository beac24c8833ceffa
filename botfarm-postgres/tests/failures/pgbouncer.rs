//! Through pgbouncer in transaction mode. Where there is none of version 1.21 or later, the tests say so and go straight
//! to the server; the suite then proves at least that a farm without notifications keeps the contract.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use botfarm_core::{
    BotFarm, Ending, Keyring, MasterKey,
    conformance::{self, Fixture},
};
use botfarm_postgres::{PostgresFarm, PostgresOptions};
use postgres_lab::{Database, Pgbouncer};
use tokio::sync::Mutex;

use crate::ground::{Ground, LONG, in_time, options, until};

/// Two farms behind one pgbouncer, without notifications: one that listens nowhere looks often.
#[derive(Clone)]
struct Farms(Arc<Shared>);

type Shared = (Vec<PostgresFarm>, Option<Pgbouncer>, Database);

impl Fixture for Farms {
    fn handles(&self) -> Vec<Arc<dyn BotFarm>> {
        self.0.0.iter().map(|farm| Arc::new(farm.clone()) as Arc<dyn BotFarm>).collect()
    }
}

async fn pooled() -> Farms {
    static SHARED: Mutex<Weak<Shared>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(farms) = shared.upgrade() {
        return Farms(farms);
    }
    let database = Database::new().await;
    let bouncer = match Pgbouncer::start(database.server()).await {
        Ok(bouncer) => Some(bouncer),
        Err(missing) => {
            eprintln!("without a pooler: {missing}");
            None
        }
    };
    let url = bouncer.as_ref().map_or_else(|| database.url(), |bouncer| bouncer.url(database.name()));
    let keyring = Keyring::new(MasterKey::generate(), []);
    let mut farms = Vec::new();
    for _ in 0..2 {
        let options = PostgresOptions::new(&url)
            .unwrap()
            .policy(conformance::policy())
            .without_listen()
            .connect_timeout(Duration::from_secs(30))
            .statement_timeout(Duration::from_secs(30));
        farms.push(PostgresFarm::connect(options, keyring.clone()).await.unwrap());
    }
    let farms = Arc::new((farms, bouncer, database));
    *shared = Arc::downgrade(&farms);
    Farms(farms)
}

mod suite {
    botfarm_core::conformance!(super::pooled);
    botfarm_core::conformance_local!(super::pooled);
}

/// Statements go through the pooler, notifications past it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_come_past_the_pooler() {
    let ground = Ground::new().await;
    let bouncer = match Pgbouncer::start(ground.database.server()).await {
        Ok(bouncer) => bouncer,
        Err(missing) => return eprintln!("not tested: {missing}"),
    };
    let pooled = bouncer.url(ground.database.name());
    let reach = options(&pooled).listen_url(&ground.database.url()).unwrap();
    let [farm, other] = [ground.open(reach.clone()).await, ground.open(reach).await];
    until("both listen", async || {
        ground
            .value::<i64>(
                "select count(*) from pg_stat_activity where datname = current_database() and query ilike 'listen %'",
            )
            .await
            == 2
    })
    .await;
    ground.bot(&farm).await;
    for _ in 0..20 {
        let lease = farm.acquire(ground.ask("holder")).await.unwrap();
        let waiter = tokio::spawn({
            let (other, request) = (other.clone(), ground.ask("waiter").wait(LONG));
            async move { other.acquire(request).await }
        });
        ground.until_waiting(1).await;
        farm.release(lease.id, Ending::clean()).await.unwrap();
        let lease = in_time("the waiter is served", waiter).await.unwrap().unwrap();
        other.release(lease.id, Ending::clean()).await.unwrap();
    }
    ground.assert_sound().await;
}

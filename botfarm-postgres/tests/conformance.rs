//! The claims of the contract, by one process and by two at once. The tests that run at the same time share a database.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use botfarm_core::{
    BotFarm, Keyring, MasterKey,
    conformance::{self, Fixture},
};
use botfarm_postgres::{PostgresFarm, PostgresOptions};
use postgres_lab::Database;
use tokio::sync::Mutex;

/// Farms as separate as those of two processes, on one database. The last test to drop them removes it.
#[derive(Clone)]
struct Farms(Arc<(Vec<PostgresFarm>, Database)>);

impl Fixture for Farms {
    fn handles(&self) -> Vec<Arc<dyn BotFarm>> {
        self.0.0.iter().map(|farm| Arc::new(farm.clone()) as Arc<dyn BotFarm>).collect()
    }
}

type Shared = Mutex<Weak<(Vec<PostgresFarm>, Database)>>;

async fn farms(count: usize, shared: &Shared) -> Farms {
    let mut shared = shared.lock().await;
    if let Some(farms) = shared.upgrade() {
        return Farms(farms);
    }
    let database = Database::new().await;
    let keyring = Keyring::new(MasterKey::generate(), []);
    let mut farms = Vec::new();
    for _ in 0..count {
        let options = PostgresOptions::new(&database.url())
            .unwrap()
            .policy(conformance::policy())
            // For a machine that is busy with other things.
            .connect_timeout(Duration::from_secs(30))
            .statement_timeout(Duration::from_secs(30));
        farms.push(PostgresFarm::connect(options, keyring.clone()).await.unwrap());
    }
    let farms = Arc::new((farms, database));
    *shared = Arc::downgrade(&farms);
    Farms(farms)
}

async fn one() -> Farms {
    static SHARED: Shared = Mutex::const_new(Weak::new());
    farms(1, &SHARED).await
}

async fn two() -> Farms {
    static SHARED: Shared = Mutex::const_new(Weak::new());
    farms(2, &SHARED).await
}

mod from_one_process {
    botfarm_core::conformance!(super::one);
    botfarm_core::conformance_local!(super::one);
}

mod from_two_processes {
    botfarm_core::conformance!(super::two);
    botfarm_core::conformance_local!(super::two);
}

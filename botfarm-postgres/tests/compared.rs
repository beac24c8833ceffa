//! Two farms on one database do what the naive model of one farm does.

use std::{sync::Arc, time::Duration};

use botfarm_core::{BotFarm, Keyring, LeasePolicy, MasterKey, conformance::Fixture};
use botfarm_postgres::{PostgresFarm, PostgresOptions, testing::Database};

/// Farms as separate as those of two processes, on a database of their own.
struct Farms([PostgresFarm; 2], #[expect(dead_code, reason = "it is there until it is dropped")] Database);

impl Fixture for Farms {
    fn handles(&self) -> Vec<Arc<dyn BotFarm>> {
        self.0.iter().map(|farm| Arc::new(farm.clone()) as Arc<dyn BotFarm>).collect()
    }
}

async fn farms(policy: LeasePolicy) -> Farms {
    let database = Database::new().await;
    let keyring = Keyring::new(MasterKey::generate(), []);
    let farm = || {
        let options = PostgresOptions::new(&database.url())
            .unwrap()
            .policy(policy.clone())
            // For a machine that is busy with other things.
            .connect_timeout(Duration::from_secs(30))
            .statement_timeout(Duration::from_secs(30));
        PostgresFarm::connect(options, keyring.clone())
    };
    Farms([farm().await.unwrap(), farm().await.unwrap()], database)
}

botfarm_core::conformance_model!(farms);

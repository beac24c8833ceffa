//! `SqliteFarm` keeps the contract: each claim on a farm in a file of its own.

use std::{
    future::{Ready, ready},
    sync::Arc,
};

use botfarm_core::{
    BotFarm, LeasePolicy,
    conformance::{Fixture, policy},
};
use botfarm_sqlite::{SqliteFarm, SqliteOptions};
use tempfile::TempDir;

/// The farm, and the folder that it is in.
#[derive(Debug)]
struct Ground {
    farm: SqliteFarm,
    _folder: TempDir,
}

impl Fixture for Ground {
    fn handles(&self) -> Vec<Arc<dyn BotFarm>> {
        self.farm.handles()
    }
}

fn open(policy: LeasePolicy) -> Ready<Ground> {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions::new(folder.path().join("farm.db")).policy(policy);
    ready(Ground { farm: SqliteFarm::open(options, None).unwrap(), _folder: folder })
}

fn farm() -> Ready<Ground> {
    open(policy())
}

botfarm_core::conformance!(farm);
botfarm_core::conformance_local!(farm);
botfarm_core::conformance_model!(open);

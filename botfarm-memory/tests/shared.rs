//! `MemoryFarm` keeps the contract while a hundred others use it: all claims on one farm at the same time.

use std::{
    future::{Ready, ready},
    sync::LazyLock,
};

use botfarm_core::conformance::policy;
use botfarm_memory::MemoryFarm;

static FARM: LazyLock<MemoryFarm> = LazyLock::new(|| MemoryFarm::with_policy(policy()));

fn farm() -> Ready<MemoryFarm> {
    ready(FARM.clone())
}

botfarm_core::conformance!(farm);
botfarm_core::conformance_local!(farm);

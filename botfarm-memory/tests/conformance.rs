//! `MemoryFarm` keeps the contract: each claim on a farm of its own.

use std::future::{Ready, ready};

use botfarm_core::conformance::policy;
use botfarm_memory::MemoryFarm;

fn farm() -> Ready<MemoryFarm> {
    ready(MemoryFarm::with_policy(policy()))
}

botfarm_core::conformance!(farm);
botfarm_core::conformance_local!(farm);

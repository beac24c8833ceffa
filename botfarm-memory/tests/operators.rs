//! The claims about operators, on the farm in memory.

use std::future::{Ready, ready};

use botfarm_memory::MemoryFarm;

fn farm() -> Ready<MemoryFarm> {
    ready(MemoryFarm::new())
}

botfarm_core::conformance_operators!(farm);

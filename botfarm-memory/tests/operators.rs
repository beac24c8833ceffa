//! The claims about operators and idempotency keys, in memory.

use std::future::{Ready, ready};

use botfarm_core::idempotency::MemoryIdempotency;
use botfarm_memory::MemoryFarm;

fn farm() -> Ready<MemoryFarm> {
    ready(MemoryFarm::new())
}

botfarm_core::conformance_operators!(farm);

fn changes() -> Ready<MemoryIdempotency> {
    ready(MemoryIdempotency::default())
}

botfarm_core::conformance_idempotency!(changes);

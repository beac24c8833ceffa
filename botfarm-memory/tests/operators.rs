//! The claims about operators, idempotency keys and the audit trail, in memory.

use std::future::{Ready, ready};

use botfarm_core::{audit::MemoryAudit, idempotency::MemoryIdempotency};
use botfarm_memory::MemoryFarm;

fn farm() -> Ready<MemoryFarm> {
    ready(MemoryFarm::new())
}

botfarm_core::conformance_operators!(farm);

fn changes() -> Ready<MemoryIdempotency> {
    ready(MemoryIdempotency::default())
}

botfarm_core::conformance_idempotency!(changes);

fn trails() -> Ready<MemoryAudit> {
    ready(MemoryAudit::default())
}

botfarm_core::conformance_audit!(trails);

//! The claims about operators, idempotency keys and the audit trail, on a farm in a file.

use std::{
    future::{Ready, ready},
    sync::Arc,
};

use botfarm_core::{
    audit::Audit,
    conformance::{audit::AuditFixture, idempotency::IdempotencyFixture, operators::OperatorsFixture},
    idempotency::Idempotency,
    operators::Operators,
};
use botfarm_sqlite::{SqliteFarm, SqliteOptions};
use tempfile::TempDir;

/// The farm, and the folder that it is in.
#[derive(Debug)]
struct Ground {
    farm: SqliteFarm,
    _folder: TempDir,
}

impl OperatorsFixture for Ground {
    fn handles(&self) -> Vec<Arc<dyn Operators>> {
        vec![Arc::new(self.farm.clone()), Arc::new(self.farm.clone())]
    }
}

impl IdempotencyFixture for Ground {
    fn stores(&self) -> Vec<Arc<dyn Idempotency>> {
        vec![Arc::new(self.farm.clone()), Arc::new(self.farm.clone())]
    }
}

impl AuditFixture for Ground {
    fn trails(&self) -> Vec<Arc<dyn Audit>> {
        vec![Arc::new(self.farm.clone()), Arc::new(self.farm.clone())]
    }
}

fn farm() -> Ready<Ground> {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions::new(folder.path().join("farm.db"));
    ready(Ground { farm: SqliteFarm::open(options, None).unwrap(), _folder: folder })
}

botfarm_core::conformance_operators!(farm);
botfarm_core::conformance_idempotency!(farm);
botfarm_core::conformance_audit!(farm);

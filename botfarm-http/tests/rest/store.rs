//! Where the operators of a service under test are kept.

use std::sync::Arc;

use botfarm_core::operators::Operators;
use botfarm_memory::MemoryFarm;

/// A store that has none yet.
pub(crate) fn operators() -> Arc<dyn Operators> {
    Arc::new(MemoryFarm::new())
}

//! The farm against the naive model of one, with all that it keeps twice compared before each call.

use std::{
    future::{Ready, ready},
    sync::Arc,
};

use botfarm_core::{BotFarm, LeasePolicy, conformance::Fixture, delegate};

use crate::MemoryFarm;

/// A farm that is audited before each call.
#[derive(Debug, Clone)]
struct Audited(MemoryFarm);

impl Audited {
    fn audited(&self) -> &MemoryFarm {
        self.0.0.turn(|engine| engine.audit());
        &self.0
    }
}

delegate!(BotFarm for Audited, this => this.audited());

/// A new farm for each case: an audit looks at all that is remembered.
struct Fresh(LeasePolicy);

impl Fixture for Fresh {
    fn handles(&self) -> Vec<Arc<dyn BotFarm>> {
        Audited(MemoryFarm::with_policy(self.0.clone())).handles()
    }
}

fn farm(policy: LeasePolicy) -> Ready<Fresh> {
    ready(Fresh(policy))
}

botfarm_core::conformance_model!(farm, paused);

mod with_time_that_cannot_be_paused {
    botfarm_core::conformance_model!(super::farm);
}

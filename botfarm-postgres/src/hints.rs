//! Where claims need not look.

use std::{collections::HashMap, time::Duration};

use botfarm_core::{LeaseRequest, Selector};
use parking_lot::Mutex;
use tokio::time::Instant;

/// Since when the least recently used free bot of a selector is free, as the last claim found it. None was free before;
/// whatever is freed later is free later. So the next claim need not step over the dead rows of all claims before, which
/// a long transaction keeps in the way. Where something was put back to where it stood, the database pays no attention to
/// the hint.
#[derive(Debug, Default)]
pub(crate) struct Hints(Mutex<HashMap<Selector, (Instant, i64)>>);

impl Hints {
    /// What comes with a long import is free since before; so nothing is believed for longer.
    const BELIEVED: Duration = Duration::from_secs(1);
    const MOST: usize = 1_024;

    pub(crate) fn of(&self, request: &LeaseRequest) -> Option<i64> {
        let [selector] = request.selectors.as_slice() else { return None };
        let mut hints = self.0.lock();
        let (since, free_since) = hints.get_mut(selector)?;
        if since.elapsed() < Self::BELIEVED {
            return Some(*free_since);
        }
        // This one looks anew; the others go by the old one meanwhile.
        *since = Instant::now();
        None
    }

    pub(crate) fn learn(&self, request: &LeaseRequest, free_since: Option<i64>) {
        let (Some(free_since), [selector]) = (free_since, request.selectors.as_slice()) else { return };
        if selector.names_a_bot() || request.sticky.is_some() || !request.avoid.is_empty() {
            return;
        }
        let mut hints = self.0.lock();
        if let Some((since, known)) = hints.get_mut(selector)
            && since.elapsed() < Self::BELIEVED
        {
            *known = free_since;
            return;
        }
        if hints.len() >= Self::MOST {
            hints.retain(|_, (since, _)| since.elapsed() < Self::BELIEVED);
        }
        if hints.len() < Self::MOST {
            hints.insert(selector.clone(), (Instant::now(), free_since));
        }
    }
}

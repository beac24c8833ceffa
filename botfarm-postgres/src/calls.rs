//! The calls of this process that wait.

use std::{
    collections::{HashMap, HashSet, hash_map},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use botfarm_core::LeaseId;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};
use uuid::Uuid;

/// How long a process counts as alive without a word from it. It speaks up after a third of that.
pub(crate) const ALIVE: Duration = Duration::from_secs(15);

/// How long a task sleeps before it looks whether the farm is still in use.
pub(crate) const IN_USE: Duration = Duration::from_millis(500);

/// Of each call for one lease, what wakes it.
type Bells = Vec<(Uuid, Arc<Notify>)>;

/// The calls that wait in this process, and what there is to do for them.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    by_lease: Mutex<HashMap<LeaseId, Bells>>,
    /// The pools over which a pass runs, and whether another was asked for since it began.
    pub(crate) passes: Mutex<HashMap<i32, bool>>,
    pub(crate) asked_to_look: Notify,
    pub(crate) looked: Mutex<Looked>,
    pub(crate) others: Mutex<HashSet<Uuid>>,
    pub(crate) tell_others: Notify,
    pub(crate) listening: AtomicBool,
}

/// The last look that succeeded, and whether one has failed since.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looked {
    pub(crate) at: Instant,
    pub(crate) failed: bool,
}

impl Default for Looked {
    fn default() -> Self {
        Self { at: Instant::now(), failed: false }
    }
}

/// A call that may come to wait. Several may wait under one lease id.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    calls: &'a Calls,
    lease: LeaseId,
    pub(crate) id: Uuid,
    wake: Arc<Notify>,
}

impl Call<'_> {
    pub(crate) fn woken(&self) -> Notified<'_> {
        self.wake.notified()
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut calls = self.calls.by_lease.lock();
        if let hash_map::Entry::Occupied(mut of_lease) = calls.entry(self.lease) {
            of_lease.get_mut().retain(|(id, _)| *id != self.id);
            if of_lease.get().is_empty() {
                of_lease.remove();
            }
        }
    }
}

impl Calls {
    /// To be there before the database hears of the call: what it has of calls that are not is taken away.
    pub(crate) fn call(&self, lease: LeaseId, id: Uuid) -> Call<'_> {
        let wake = Arc::new(Notify::new());
        self.by_lease.lock().entry(lease).or_default().push((id, wake.clone()));
        Call { calls: self, lease, id, wake }
    }

    pub(crate) fn wake(&self, lease: LeaseId) {
        for (_, wake) in self.by_lease.lock().get(&lease).into_iter().flatten() {
            wake.notify_one();
        }
    }

    /// Wakes a call; false when there is none.
    pub(crate) fn wake_call(&self, lease: LeaseId, id: Uuid, waits: bool) -> bool {
        let calls = self.by_lease.lock();
        let Some((_, wake)) = calls.get(&lease).into_iter().flatten().find(|(call, _)| *call == id) else {
            return false;
        };
        if !waits {
            wake.notify_one();
        }
        true
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.by_lease.lock().is_empty()
    }

    /// Asks for a look in a moment, before the regular one.
    pub(crate) fn look_soon(&self) {
        self.asked_to_look.notify_one();
    }
}

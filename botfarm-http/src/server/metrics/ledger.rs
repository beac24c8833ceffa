//! Which of the leases that this process granted are in force, as far as it knows: so that each end is counted once.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use botfarm_core::{BotId, Lease, LeaseId, LostLease, Owner, Run, Terms, Timestamp};
use parking_lot::Mutex;
use tokio::time::Instant;

/// The most leases that are kept in mind, which takes some 20 MB. The ends of more are not counted.
const LIMIT: usize = 100_000;

/// The leases that this process granted, and of whose end it has not heard.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Leases>);

#[derive(Default)]
struct Leases {
    by_id: HashMap<LeaseId, Entry>,
    /// The latest lease of each bot.
    by_bot: HashMap<BotId, LeaseId>,
    /// Those that may be in force.
    owned: HashMap<Option<Owner>, HashSet<LeaseId>>,
}

struct Entry {
    granted: Instant,
    /// By the farm's clock.
    acquired_at: Timestamp,
    /// From when on it may have ended without our knowing.
    due: Instant,
    bots: Vec<BotId>,
    owner: Option<Owner>,
    terms: Arc<Terms>,
}

impl Ledger {
    /// Writes a lease down. False when it stands there already: it was asked for again.
    pub(crate) fn granted(&self, lease: &Lease, owner: Option<Owner>) -> bool {
        let now = Instant::now();
        let mut leases = self.0.lock();
        if let Some(entry) = leases.by_id.get_mut(&lease.id) {
            entry.due = now + lease.remaining;
            return false;
        }
        if leases.by_id.len() < LIMIT {
            let bots: Vec<_> = lease.bots.iter().map(|leased| leased.bot.id).collect();
            for bot in &bots {
                // Whatever lease the bot was of before has ended, then.
                let before = leases.by_bot.insert(*bot, lease.id);
                leases.is_due(before, now);
            }
            let due = now + lease.remaining;
            leases.owned.entry(owner.clone()).or_default().insert(lease.id);
            let terms = Arc::clone(&lease.terms);
            let entry = Entry { granted: now, acquired_at: lease.acquired_at, due, bots, owner, terms };
            leases.by_id.insert(lease.id, entry);
        }
        true
    }

    /// The lease lives on.
    pub(crate) fn lives(&self, id: LeaseId, remaining: Duration) {
        let mut leases = self.0.lock();
        let Leases { by_id, owned, .. } = &mut *leases;
        if let Some(entry) = by_id.get_mut(&id) {
            entry.due = Instant::now() + remaining;
            owned.entry(entry.owner.clone()).or_default().insert(id);
        }
    }

    /// How many leases of this owner are in force, beside the one of this id. Exact once they are `most`: before, some
    /// may have ended by themselves.
    pub(crate) fn in_force(&self, owner: Option<&Owner>, id: LeaseId, most: usize) -> usize {
        let mut leases = self.0.lock();
        let Leases { by_id, owned, .. } = &mut *leases;
        let Some(theirs) = owned.get_mut(&owner.cloned()) else { return 0 };
        if theirs.len() >= most {
            let now = Instant::now();
            theirs.retain(|id| by_id.get(id).is_some_and(|entry| entry.due > now));
        }
        theirs.len() - usize::from(theirs.contains(&id))
    }

    /// Whether the lease stands here as this owner's.
    pub(crate) fn is_owned(&self, id: LeaseId, owner: Option<&Owner>) -> bool {
        self.0.lock().by_id.get(&id).is_some_and(|entry| entry.owner.as_ref() == owner)
    }

    /// The lease has just been given back. How long it was held, unless its end is known already.
    pub(crate) fn released(&self, id: LeaseId) -> Option<Duration> {
        Some(self.0.lock().remove(id)?.granted.elapsed())
    }

    /// The farm has said how the lease ended. How long it was held, unless its end is known already.
    pub(crate) fn lost(&self, id: LeaseId, lost: &LostLease) -> Option<Duration> {
        let entry = self.0.lock().remove(id)?;
        Some((lost.at - entry.acquired_at).to_std().unwrap_or_default())
    }

    /// The farm has forgotten the lease.
    pub(crate) fn forget(&self, id: LeaseId) {
        self.0.lock().remove(id);
    }

    /// Whatever lease held the bot has probably ended.
    pub(crate) fn freed(&self, bot: BotId) {
        let mut leases = self.0.lock();
        let id = leases.by_bot.get(&bot).copied();
        leases.is_due(id, Instant::now());
    }

    /// Whatever leases the run had have probably ended.
    pub(crate) fn run_ended(&self, run: &Run) {
        let now = Instant::now();
        for entry in self.0.lock().by_id.values_mut().filter(|entry| entry.terms.run.as_ref() == Some(run)) {
            entry.due = now;
        }
    }

    /// At most so many leases that may have ended.
    pub(crate) fn due(&self, count: usize) -> Vec<LeaseId> {
        let now = Instant::now();
        self.0.lock().by_id.iter().filter(|(_, entry)| entry.due <= now).map(|(id, _)| *id).take(count).collect()
    }
}

impl Leases {
    fn remove(&mut self, id: LeaseId) -> Option<Entry> {
        let entry = self.by_id.remove(&id)?;
        if let Some(theirs) = self.owned.get_mut(&entry.owner) {
            theirs.remove(&id);
            if theirs.is_empty() {
                self.owned.remove(&entry.owner);
            }
        }
        for bot in &entry.bots {
            if self.by_bot.get(bot) == Some(&id) {
                self.by_bot.remove(bot);
            }
        }
        Some(entry)
    }

    fn is_due(&mut self, id: Option<LeaseId>, now: Instant) {
        if let Some(entry) = id.and_then(|id| self.by_id.get_mut(&id)) {
            entry.due = now;
        }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("leases", &self.0.lock().by_id.len()).finish()
    }
}

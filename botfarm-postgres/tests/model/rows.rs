//! The rows in the database, and what can be read from them.

use std::fmt;

pub(crate) type LeaseId = usize;

/// How long a lease lives, in ticks.
pub(crate) const TTL: u8 = 2;
/// How long an offer may be taken up.
pub(crate) const OFFER: u8 = 1;
/// How long a place is kept when nobody listens any more.
pub(crate) const KEPT: u8 = 1;

/// A few small numbers: bots, calls, processes or ids.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Set(pub(crate) u8);

impl Set {
    pub(crate) fn contains(self, item: usize) -> bool {
        self.overlaps(Self::default().with(item))
    }

    #[must_use]
    pub(crate) fn with(self, item: usize) -> Self {
        Self(self.0 | 1 << item)
    }

    #[must_use]
    pub(crate) fn without(self, item: usize) -> Self {
        Self(self.0 & !(1 << item))
    }

    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        !self.and(other).is_empty()
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        (0..8).filter(move |item| self.contains(*item))
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// Granted to a waiter that has not heard of it.
    Offered,
    /// This call alone has been told, if anybody.
    Granted(usize),
    /// More than one has been told, or one who did not acquire.
    Seen,
}

/// The part of a slot that is about its lease. It stays after expiry, until somebody takes the bot over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Hold {
    pub(crate) id: LeaseId,
    pub(crate) fingerprint: &'static [Set],
    pub(crate) phase: Phase,
    pub(crate) expires_at: u8,
}

/// A row of `bot_slots`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Slot {
    pub(crate) hold: Option<Hold>,
    pub(crate) free_at: u8,
    /// Grows with each hand-out; stands for the row's version as well.
    pub(crate) fence: u8,
}

/// A row of `waiters`, with its `wants` and `listeners`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Waiter {
    pub(crate) ticket: u8,
    /// Not so: it tries once, and nothing is kept for it.
    pub(crate) parked: bool,
    /// None: it has been granted something, or all who listened have gone.
    pub(crate) selectors: &'static [Set],
    pub(crate) fingerprint: &'static [Set],
    pub(crate) listeners: Set,
    /// Until when its ticket is kept for whoever asks again.
    pub(crate) kept_until: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum EndReason {
    Released,
    Expired,
    Undone,
}

/// A row of `history`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct HandOut {
    pub(crate) bot: usize,
    pub(crate) fence: u8,
    pub(crate) id: LeaseId,
    pub(crate) reason: EndReason,
}

/// How the rows of one id stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    None,
    Live,
    /// An offer that nobody took up: as if it had never been made.
    Lapsed,
    Expired,
}

/// The database.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Rows {
    pub(crate) clock: u8,
    pub(crate) slots: Vec<Slot>,
    /// By lease id.
    pub(crate) waiters: Vec<Option<Waiter>>,
    pub(crate) history: Vec<HandOut>,
}

impl Rows {
    pub(crate) fn new(bots: usize, ids: usize) -> Self {
        Self { clock: 0, slots: vec![Slot::default(); bots], waiters: vec![None; ids], history: Vec::new() }
    }

    pub(crate) fn bots_of(&self, id: LeaseId) -> impl Iterator<Item = (usize, Hold)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(move |(bot, slot)| Some((bot, slot.hold.filter(|hold| hold.id == id)?)))
    }

    /// One verdict for all rows of an id: they end at one time.
    pub(crate) fn standing(&self, id: LeaseId) -> Standing {
        match self.bots_of(id).next() {
            None => Standing::None,
            Some((_, hold)) if hold.expires_at > self.clock => Standing::Live,
            Some((_, hold)) if hold.phase == Phase::Offered => Standing::Lapsed,
            Some(_) => Standing::Expired,
        }
    }

    /// Whether the history says that the lease of this id has ended.
    pub(crate) fn has_ended(&self, id: LeaseId) -> bool {
        self.history.iter().any(|row| row.id == id && row.reason != EndReason::Undone)
    }

    /// The bots that can be had, the least recently used first.
    pub(crate) fn free(&self) -> Vec<usize> {
        let mut free: Vec<usize> = (0..self.slots.len()).filter(|bot| self.slots[*bot].free_at <= self.clock).collect();
        free.sort_by_key(|bot| (self.slots[*bot].free_at, *bot));
        free
    }

    pub(crate) fn write_history(&mut self, bot: usize, reason: EndReason) {
        let slot = self.slots[bot];
        let Some(hold) = slot.hold else { return };
        self.history.push(HandOut { bot, fence: slot.fence, id: hold.id, reason });
        // Order means nothing in a table.
        self.history.sort_unstable();
    }

    /// Ends the lease of an id, all of it.
    pub(crate) fn end(&mut self, id: LeaseId, reason: EndReason) {
        let bots: Vec<usize> = self.bots_of(id).map(|(bot, _)| bot).collect();
        for bot in bots {
            self.write_history(bot, reason);
            self.slots[bot].hold = None;
            self.slots[bot].free_at = self.clock;
        }
    }

    /// Nobody listens for an id any more, or it has what it waited for: its ticket is kept for a while.
    pub(crate) fn keep_place(&mut self, id: LeaseId) {
        let kept_until = Some(self.clock + KEPT);
        self.waiters[id] = self.waiters[id].map(|waiter| Waiter { selectors: &[], kept_until, ..waiter });
    }

    pub(crate) fn clear_lapsed(&mut self, id: LeaseId) {
        for slot in &mut self.slots {
            if slot.hold.is_some_and(|hold| hold.id == id) {
                slot.hold = None;
            }
        }
    }
}

/// A distinct bot for each of `selectors` out of `free`, the first ones first; where that cannot be, as many as can.
pub(crate) fn assign(selectors: &[Set], free: &[usize]) -> Vec<Option<usize>> {
    let Some((selector, rest)) = selectors.split_first() else { return Vec::new() };
    let mut best: Option<Vec<Option<usize>>> = None;
    let fitting = free.iter().copied().filter(|bot| selector.contains(*bot));
    for bot in fitting.map(Some).chain([None]) {
        let others: Vec<usize> = free.iter().copied().filter(|other| Some(*other) != bot).collect();
        let mut choice = vec![bot];
        choice.extend(assign(rest, &others));
        let size = |choice: &[Option<usize>]| choice.iter().flatten().count();
        if best.as_deref().is_none_or(|best| size(&choice) > size(best)) {
            best = Some(choice);
        }
    }
    best.unwrap_or_default()
}

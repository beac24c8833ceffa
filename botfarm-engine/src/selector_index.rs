//! The bots of one selector, in buckets by what the farm is doing with them.

use std::{
    collections::BTreeSet,
    ops::{Index, IndexMut},
};

use botfarm_core::{Bot, Condition, LeasePolicy, Selector};
use foldhash::HashMap;
use slab::Slab;
use smallvec::SmallVec;

use crate::{
    bots::{Bots, Entry},
    bucket::{Bucket, Counts, Position},
    line::Line,
    number::{IndexId, Slot, Ticket},
};

/// So many indexes are kept, besides those that somebody waits in: there is one for each selector in use, and few tests
/// use more.
pub(crate) const MAX: usize = 256;

/// The bots that one selector could ever fit, whatever its alias and condition.
///
/// In each bucket they stand in order: the free ones and the reserved by when they became free, the held ones by when
/// they were handed out. Taking the first and adding behind the last is what happens most, and is cheap.
#[derive(Debug)]
pub(crate) struct SelectorIndex {
    shape: Selector,
    pub(crate) buckets: [Line<u64, Slot>; Bucket::COUNT],
    /// Who waits for one of them, by the condition wanted.
    pub(crate) waiters: [BTreeSet<Ticket>; 3],
    /// In which turn it was last used.
    used: u64,
}

impl SelectorIndex {
    /// An index of these bots alone.
    pub(crate) fn of(shape: Selector, slots: impl Iterator<Item = Slot>, bots: &Bots) -> Self {
        let mut buckets = <[Vec<(u64, Slot)>; Bucket::COUNT]>::default();
        for slot in slots {
            let at = bots[slot].position();
            buckets[at.bucket.0].push((at.order, slot));
        }
        Self { shape, buckets: buckets.map(Line::from_iter), waiters: Default::default(), used: 0 }
    }

    /// Takes a bot from one position to another.
    pub(crate) fn shift(&mut self, slot: Slot, from: Option<Position>, to: Option<Position>) {
        if let Some(Position { bucket, order }) = from {
            self.buckets[bucket.0].remove(&order);
        }
        if let Some(Position { bucket, order }) = to {
            self.buckets[bucket.0].insert(order, slot);
        }
    }

    pub(crate) fn could_fit(&self, bot: &Bot, policy: &LeasePolicy) -> bool {
        could_fit(&self.shape, bot, policy)
    }

    /// The bots in a bucket, in their order.
    pub(crate) fn in_bucket(&self, of: Bucket) -> impl Iterator<Item = Slot> {
        self.buckets[of.0].iter().map(|(_, slot)| *slot)
    }

    /// All its bots.
    pub(crate) fn members(&self) -> impl Iterator<Item = Slot> {
        self.buckets.iter().flat_map(Line::iter).map(|(_, slot)| *slot)
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts(self.buckets.each_ref().map(|bucket| bucket.len() as u64))
    }

    fn is_waited_in(&self) -> bool {
        self.waiters.iter().any(|waiters| !waiters.is_empty())
    }
}

/// The indexes of the selectors in use.
#[derive(Debug, Default)]
pub(crate) struct SelectorIndexes {
    pub(crate) slab: Slab<SelectorIndex>,
    by_shape: HashMap<Selector, IndexId>,
    turn: u64,
}

impl SelectorIndexes {
    /// Starts a turn: whatever index is used in it stays at least until the next.
    pub(crate) fn start_turn(&mut self) {
        self.turn += 1;
    }

    /// The index of a selector that names no bot; made now if it is not in use.
    pub(crate) fn of(&mut self, selector: &Selector, bots: &mut Bots, policy: &LeasePolicy) -> IndexId {
        let id = match self.find(selector) {
            Some(id) => id,
            None => self.make(shape(selector), bots, policy),
        };
        self.slab[id].used = self.turn;
        id
    }

    /// The index of a selector, if it is in use.
    pub(crate) fn find(&self, selector: &Selector) -> Option<IndexId> {
        if selector.alias.is_none() && selector.condition == Condition::Ready {
            return self.by_shape.get(selector).copied();
        }
        self.by_shape.get(&shape(selector)).copied()
    }

    /// The indexes that a bot belongs in.
    pub(crate) fn fitting(&self, bot: &Bot, policy: &LeasePolicy) -> SmallVec<[IndexId; 3]> {
        self.slab.iter().filter(|(_, index)| index.could_fit(bot, policy)).map(|(id, _)| id).collect()
    }

    fn make(&mut self, shape: Selector, bots: &mut Bots, policy: &LeasePolicy) -> IndexId {
        if self.slab.len() >= MAX {
            self.evict(bots);
        }
        let id = self.slab.vacant_key();
        let mut slots = Vec::new();
        for (slot, Entry { bot, indexes, .. }) in bots.iter_mut() {
            if could_fit(&shape, bot, policy) {
                indexes.push(id);
                slots.push(slot);
            }
        }
        self.by_shape.insert(shape.clone(), id);
        self.slab.insert(SelectorIndex::of(shape, slots.into_iter(), bots))
    }

    /// Drops the index that has not been used for the longest.
    fn evict(&mut self, bots: &mut Bots) {
        let unused = self.slab.iter().filter(|(_, index)| index.used < self.turn && !index.is_waited_in());
        let Some((id, _)) = unused.min_by_key(|(_, index)| index.used) else { return };
        let index = self.slab.remove(id);
        self.by_shape.remove(&index.shape);
        for slot in index.members() {
            bots[slot].indexes.retain(|of| *of != id);
        }
    }
}

impl Index<IndexId> for SelectorIndexes {
    type Output = SelectorIndex;

    fn index(&self, id: IndexId) -> &SelectorIndex {
        &self.slab[id]
    }
}

impl IndexMut<IndexId> for SelectorIndexes {
    fn index_mut(&mut self, id: IndexId) -> &mut SelectorIndex {
        &mut self.slab[id]
    }
}

/// Whether a selector could ever be for a bot, whatever its condition and whoever holds it.
fn could_fit(selector: &Selector, bot: &Bot, policy: &LeasePolicy) -> bool {
    selector.could_fit(bot) && policy.reaches(selector, &bot.env)
}

/// What of a selector matters for which bots it could ever fit.
pub(crate) fn shape(selector: &Selector) -> Selector {
    Selector { alias: None, condition: Condition::Ready, ..selector.clone() }
}

//! The bots of one selector, on shelves.

use std::{
    collections::BTreeSet,
    ops::{Index, IndexMut},
};

use botfarm_core::{Bot, Condition, Selector};
use foldhash::HashMap;
use slab::Slab;
use smallvec::SmallVec;

use crate::{
    bots::{Bots, Entry, Slot},
    line::Line,
    queue::Ticket,
};

/// So many views are kept, besides those that somebody waits in: there is one for each selector in use, and few tests
/// use more.
pub(crate) const MAX: usize = 256;

/// What the farm is doing with a bot, as far as a view cares: which shelf it stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shelf(pub(crate) usize);

impl Shelf {
    pub(crate) const COUNT: usize = 8;
    pub(crate) const HELD: Self = Self(6);
    pub(crate) const COOLING: Self = Self(7);

    pub(crate) fn free(condition: Condition) -> Self {
        Self(condition as usize)
    }

    pub(crate) fn reserved(condition: Condition) -> Self {
        Self(3 + condition as usize)
    }

    pub(crate) fn is_free(self) -> bool {
        self.0 < 3
    }
}

/// Where a bot stands in a view: on which shelf, and where in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) shelf: Shelf,
    pub(crate) order: u64,
}

/// One number for each shelf.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts([u64; Shelf::COUNT]);

impl Counts {
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Neither held nor resting, in this condition: free, or reserved.
    pub(crate) fn idle(&self, condition: Condition) -> u64 {
        self[Shelf::free(condition)] + self[Shelf::reserved(condition)]
    }
}

impl Index<Shelf> for Counts {
    type Output = u64;

    fn index(&self, of: Shelf) -> &u64 {
        &self.0[of.0]
    }
}

impl IndexMut<Shelf> for Counts {
    fn index_mut(&mut self, of: Shelf) -> &mut u64 {
        &mut self.0[of.0]
    }
}

/// Which view.
pub(crate) type ViewId = usize;

/// The bots that one selector could ever fit, whatever its role and condition.
///
/// On each shelf they stand in order: the free ones and the reserved by when they became free, the held ones by when
/// they were handed out. Taking the first and adding behind the last is what happens most, and is cheap.
#[derive(Debug)]
pub(crate) struct View {
    shape: Selector,
    pub(crate) shelves: [Line<u64, Slot>; Shelf::COUNT],
    /// Who waits for one of them, by the condition wanted.
    pub(crate) waiters: [BTreeSet<Ticket>; 3],
    /// In which turn it was last used.
    used: u64,
}

impl View {
    /// A view of these bots alone.
    pub(crate) fn of(shape: Selector, slots: impl Iterator<Item = Slot>, bots: &Bots) -> Self {
        let mut shelves = <[Vec<(u64, Slot)>; Shelf::COUNT]>::default();
        for slot in slots {
            let at = bots[slot].spot();
            shelves[at.shelf.0].push((at.order, slot));
        }
        Self { shape, shelves: shelves.map(Line::from_iter), waiters: Default::default(), used: 0 }
    }

    /// Takes a bot from one spot to another.
    pub(crate) fn shift(&mut self, slot: Slot, from: Option<Spot>, to: Option<Spot>) {
        if let Some(Spot { shelf, order }) = from {
            self.shelves[shelf.0].remove(&order);
        }
        if let Some(Spot { shelf, order }) = to {
            self.shelves[shelf.0].insert(order, slot);
        }
    }

    pub(crate) fn could_fit(&self, bot: &Bot) -> bool {
        self.shape.could_fit(bot)
    }

    /// The bots on a shelf, in their order.
    pub(crate) fn on(&self, of: Shelf) -> impl Iterator<Item = Slot> {
        self.shelves[of.0].iter().map(|(_, slot)| *slot)
    }

    /// All its bots.
    pub(crate) fn members(&self) -> impl Iterator<Item = Slot> {
        self.shelves.iter().flat_map(Line::iter).map(|(_, slot)| *slot)
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts(self.shelves.each_ref().map(|shelf| shelf.len() as u64))
    }

    fn is_waited_in(&self) -> bool {
        self.waiters.iter().any(|waiters| !waiters.is_empty())
    }
}

/// The views of the selectors in use.
#[derive(Debug, Default)]
pub(crate) struct Views {
    pub(crate) slab: Slab<View>,
    by_shape: HashMap<Selector, ViewId>,
    turn: u64,
}

impl Views {
    /// Starts a turn: whatever view is used in it stays at least until the next.
    pub(crate) fn start_turn(&mut self) {
        self.turn += 1;
    }

    /// The view of a selector that names no bot; made now if it is not in use.
    pub(crate) fn of(&mut self, selector: &Selector, bots: &mut Bots) -> ViewId {
        let id = if let Some(id) = self.find(selector) { id } else { self.make(shape(selector), bots) };
        self.slab[id].used = self.turn;
        id
    }

    /// The view of a selector, if it is in use.
    pub(crate) fn find(&self, selector: &Selector) -> Option<ViewId> {
        if selector.role.is_none() && selector.condition == Condition::Ready {
            return self.by_shape.get(selector).copied();
        }
        self.by_shape.get(&shape(selector)).copied()
    }

    /// The views that a bot belongs in.
    pub(crate) fn fitting(&self, bot: &Bot) -> SmallVec<[ViewId; 3]> {
        self.slab.iter().filter(|(_, view)| view.could_fit(bot)).map(|(id, _)| id).collect()
    }

    fn make(&mut self, shape: Selector, bots: &mut Bots) -> ViewId {
        if self.slab.len() >= MAX {
            self.evict(bots);
        }
        let id = self.slab.vacant_key();
        let mut slots = Vec::new();
        for (slot, Entry { bot, views, .. }) in bots.iter_mut() {
            if shape.could_fit(bot) {
                views.push(id);
                slots.push(slot);
            }
        }
        self.by_shape.insert(shape.clone(), id);
        self.slab.insert(View::of(shape, slots.into_iter(), bots))
    }

    /// Drops the view that has not been used for the longest.
    fn evict(&mut self, bots: &mut Bots) {
        let unused = self.slab.iter().filter(|(_, view)| view.used < self.turn && !view.is_waited_in());
        let Some((id, _)) = unused.min_by_key(|(_, view)| view.used) else { return };
        let view = self.slab.remove(id);
        self.by_shape.remove(&view.shape);
        for slot in view.members() {
            bots[slot].views.retain(|of| *of != id);
        }
    }
}

impl Index<ViewId> for Views {
    type Output = View;

    fn index(&self, id: ViewId) -> &View {
        &self.slab[id]
    }
}

impl IndexMut<ViewId> for Views {
    fn index_mut(&mut self, id: ViewId) -> &mut View {
        &mut self.slab[id]
    }
}

/// What of a selector matters for which bots it could ever fit.
pub(crate) fn shape(selector: &Selector) -> Selector {
    Selector { role: None, condition: Condition::Ready, ..selector.clone() }
}

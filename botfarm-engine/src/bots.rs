//! Every bot, with what the farm is doing with it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::{Bound, Index, IndexMut},
};

use botfarm_core::{
    Bot, BotId, BotState, Condition, Env, Fence, Labels, LeaseId, LeasePolicy, Secret, Selector, StickyKey,
};
use slab::Slab;
use smallvec::SmallVec;

use crate::{
    bucket::{Bucket, Position},
    number::{IndexId, PastId, PoolId, Slot},
    timeline::Timer,
};

/// So many sets of labels are known at a time. Where there are more, bots have little in common.
const SETS: usize = 1_024;

/// What the farm is doing with a bot. The numbers are of the farm's one counter: whatever comes later has a greater one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Status {
    /// Nobody has it, nobody waits for it.
    Free { since: u64 },
    /// It is kept for a waiter who wants others with it.
    Reserved { since: u64 },
    /// Somebody holds it. `since` is when it last became free, for when the grant is undone.
    Held { since: u64, lease: LeaseId, hand_out: u64 },
    /// It rests.
    Cooling { rested: Timer },
}

/// One bot.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) status: Status,
    pub(crate) fence: Fence,
    /// The pool that it is counted in.
    pub(crate) pool: PoolId,
    /// The indexes that it is in.
    pub(crate) indexes: SmallVec<[IndexId; 3]>,
    /// As it was given: who holds it, and until when it rests, is known by the status.
    pub(crate) bot: Bot,
    /// `None`: it cannot be read, so nobody gets the bot.
    pub(crate) password: Option<Secret>,
    /// What its last lease was asked for with.
    pub(crate) sticky: Option<StickyKey>,
    /// The last of its hand-outs that have ended.
    pub(crate) last: Option<PastId>,
}

impl Entry {
    pub(crate) fn new(bot: Bot, password: Option<Secret>, since: u64) -> Self {
        Self {
            status: Status::Free { since },
            fence: Fence(0),
            pool: PoolId::MAX,
            indexes: SmallVec::new(),
            bot,
            password,
            sticky: None,
            last: None,
        }
    }

    /// Where it stands in each of its indexes.
    pub(crate) fn position(&self) -> Position {
        match self.status {
            // Kept from everybody.
            Status::Free { since } if self.password.is_none() => {
                Position { bucket: Bucket::reserved(self.bot.condition), order: since }
            }
            Status::Free { since } => Position { bucket: Bucket::free(self.bot.condition), order: since },
            Status::Reserved { since } => Position { bucket: Bucket::reserved(self.bot.condition), order: since },
            Status::Held { hand_out, .. } => Position { bucket: Bucket::HELD, order: hand_out },
            Status::Cooling { rested } => Position { bucket: Bucket::COOLING, order: rested.order },
        }
    }

    /// What everybody may know of its status.
    pub(crate) fn state(&self) -> BotState {
        match self.status {
            Status::Free { .. } | Status::Reserved { .. } => BotState::Free,
            Status::Held { .. } => BotState::Leased,
            Status::Cooling { .. } => BotState::Cooling,
        }
    }

    /// The lease that holds it.
    pub(crate) fn lease(&self) -> Option<LeaseId> {
        match self.status {
            Status::Held { lease, .. } => Some(lease),
            _ => None,
        }
    }

    /// Its condition, whether it rests, and its place among those that do or do not; `None` while it is held.
    pub(crate) fn idle(&self) -> Option<(Condition, bool, u64)> {
        match self.status {
            Status::Free { since } | Status::Reserved { since } => Some((self.bot.condition, false, since)),
            Status::Cooling { rested } => Some((self.bot.condition, true, rested.order)),
            Status::Held { .. } => None,
        }
    }

    /// Free as it was before it was reserved or handed out, at its old place in the order.
    pub(crate) fn put_back(&mut self) {
        if let Status::Reserved { since } | Status::Held { since, .. } = self.status {
            self.status = Status::Free { since };
        }
    }

    /// Keeps it from everybody but one waiter.
    pub(crate) fn reserve(&mut self) {
        if let Status::Free { since } = self.status {
            self.status = Status::Reserved { since };
        }
    }

    /// Whether the bot is one of those wanted, in the condition wanted, whoever holds it, and can be handed out.
    pub(crate) fn fits(&self, selector: &Selector, policy: &LeasePolicy) -> bool {
        self.password.is_some() && selector.fits(&self.bot) && policy.reaches(selector, &self.bot.env)
    }
}

/// Every bot.
#[derive(Debug, Default)]
pub(crate) struct Bots {
    entries: Slab<Entry>,
    by_id: BTreeMap<BotId, Slot>,
    /// By env and login, case aside.
    by_login: HashMap<Env, HashMap<Box<str>, Slot>>,
    /// What bots are labelled with. Mostly there are few sets, however many the bots.
    labels: HashSet<Labels>,
}

impl Bots {
    pub(crate) fn insert(&mut self, entry: Entry) -> Slot {
        let (id, env, login) = (entry.bot.id, entry.bot.env.clone(), entry.bot.login.folded());
        let slot = self.entries.insert(entry);
        self.by_id.insert(id, slot);
        self.by_login.entry(env).or_default().insert(login.into(), slot);
        slot
    }

    pub(crate) fn remove(&mut self, slot: Slot) {
        let Entry { bot, .. } = self.entries.remove(slot);
        self.by_id.remove(&bot.id);
        if let Some(logins) = self.by_login.get_mut(&bot.env) {
            logins.remove(bot.login.folded().as_str());
            if logins.is_empty() {
                self.by_login.remove(&bot.env);
            }
        }
    }

    /// The same labels, in memory that bots share: a million of them take half a gigabyte less, and a lease has one place
    /// less to fetch.
    pub(crate) fn shared(&mut self, labels: &Labels) -> Labels {
        if let Some(shared) = self.labels.get(labels) {
            return shared.clone();
        }
        if self.labels.len() == SETS {
            self.labels.clear();
        }
        self.labels.insert(labels.clone());
        labels.clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn slot(&self, id: BotId) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    /// The bot with this login, which has been folded.
    pub(crate) fn of_login(&self, env: &Env, folded: &str) -> Option<Slot> {
        self.by_login.get(env)?.get(folded).copied()
    }

    /// The bots that a selector names by id or login: at most one for each env.
    pub(crate) fn named(&self, selector: &Selector) -> SmallVec<[Slot; 3]> {
        let mut slots: SmallVec<[Slot; 3]> = match (selector.id, &selector.login) {
            (Some(id), _) => self.slot(id).into_iter().collect(),
            (None, Some(login)) => {
                let folded = login.folded();
                match &selector.env {
                    Some(env) => self.of_login(env, &folded).into_iter().collect(),
                    None => self.by_login.values().filter_map(|logins| logins.get(folded.as_str()).copied()).collect(),
                }
            }
            (None, None) => SmallVec::new(),
        };
        slots.retain(|slot| selector.could_fit(&self[*slot].bot));
        slots
    }

    /// Every bot.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Slot, &mut Entry)> {
        self.entries.iter_mut()
    }

    /// The bots after this one, oldest first.
    pub(crate) fn after(&self, id: Option<BotId>) -> impl Iterator<Item = (BotId, Slot)> {
        let start = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_id.range((start, Bound::Unbounded)).map(|(id, slot)| (*id, *slot))
    }
}

impl Index<Slot> for Bots {
    type Output = Entry;

    fn index(&self, slot: Slot) -> &Entry {
        &self.entries[slot]
    }
}

impl IndexMut<Slot> for Bots {
    fn index_mut(&mut self, slot: Slot) -> &mut Entry {
        &mut self.entries[slot]
    }
}

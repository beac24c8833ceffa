//! Who waits, and what is kept for them.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map},
    sync::Arc,
    time::Duration,
};

use botfarm_core::{Bot, BotId, LeaseId, LeaseRequest, Selector, Terms};
use foldhash::HashMap;

use crate::{assignment::Assignment, moment::Moment, number::Ticket, past::Ended, timeline::Timer};

/// Everybody who waits for the lease of one id, or for the news that it is theirs.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) ticket: Ticket,
    /// When it first asked.
    pub(crate) since: Moment,
    /// How many calls of the same id: the twins of a request under way.
    pub(crate) listeners: usize,
    pub(crate) phase: Phase,
}

#[derive(Debug)]
pub(crate) enum Phase {
    /// It stands in the line.
    Waiting(Pending),
    /// It was granted its lease; whether one of the listeners has received it.
    Granted { received: bool },
    /// The bots that it needs have gone.
    Refused { selector: usize, detail: String },
    /// It was sent away.
    Ended(Ended),
}

/// What is kept for an id that nobody listens for, and until when.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) timer: Timer,
    pub(crate) of: KeptFor,
}

#[derive(Debug)]
pub(crate) enum KeptFor {
    /// Its place, and what the request carries along.
    Place { ticket: Ticket, since: Moment, terms: Arc<Terms> },
    /// Why it was sent away.
    End(Ended),
}

/// A request that waits, and what is reserved for it so far.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) request: Arc<LeaseRequest>,
    pub(crate) ttl: Duration,
    pub(crate) reserved: Assignment,
}

/// By what a selector names the bot that it waits for.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    Id(BotId),
    Login(String),
}

impl Name {
    pub(crate) fn of(selector: &Selector) -> Option<Self> {
        let login = || selector.login.as_ref().map(|login| Self::Login(login.folded()));
        selector.id.map(Self::Id).or_else(login)
    }
}

/// Those who wait, those who were served and have not come for it yet, and the places of those who have gone.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) waiters: HashMap<LeaseId, Waiter>,
    pub(crate) line: BTreeMap<Ticket, LeaseId>,
    /// Who waits for a bot by its name. Who waits for any of a kind stands in the selector indexes.
    named: HashMap<Name, BTreeSet<Ticket>>,
    pub(crate) kept: HashMap<LeaseId, Kept>,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.line.len()
    }

    pub(crate) fn forget_place(&mut self, id: LeaseId) {
        self.kept.remove(&id);
    }

    /// The requests that wait, in their order.
    pub(crate) fn requests(&self) -> impl Iterator<Item = &LeaseRequest> {
        self.line.values().filter_map(|id| Some(&*self.pending(*id)?.request))
    }

    /// Who waits for a bot by its name.
    pub(crate) fn named(&self, bot: &Bot) -> impl Iterator<Item = &BTreeSet<Ticket>> {
        let names = || [Name::Id(bot.id), Name::Login(bot.login.folded())];
        let names = (!self.named.is_empty()).then(names).into_iter().flatten();
        names.filter_map(|name| self.named.get(&name))
    }

    pub(crate) fn wait_for(&mut self, name: Name, ticket: Ticket) {
        self.named.entry(name).or_default().insert(ticket);
    }

    pub(crate) fn wait_no_more_for(&mut self, name: Name, ticket: Ticket) {
        if let hash_map::Entry::Occupied(mut waiters) = self.named.entry(name) {
            waiters.get_mut().remove(&ticket);
            if waiters.get().is_empty() {
                waiters.remove();
            }
        }
    }

    pub(crate) fn pending(&self, id: LeaseId) -> Option<&Pending> {
        match &self.waiters.get(&id)?.phase {
            Phase::Waiting(pending) => Some(pending),
            _ => None,
        }
    }

    pub(crate) fn pending_mut(&mut self, id: LeaseId) -> Option<&mut Pending> {
        match &mut self.waiters.get_mut(&id)?.phase {
            Phase::Waiting(pending) => Some(pending),
            _ => None,
        }
    }
}

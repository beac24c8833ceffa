//! Leases that have ended, and the hand-outs within them.

use std::{collections::VecDeque, iter::successors, sync::Arc};

use botfarm_core::{
    BotId, EndReason, Error, Fence, Holder, LeaseEnd, LeaseId, LeaseRecord, Note, Outcome, ProjectId, Terms,
};
use foldhash::HashMap;

use crate::{kept::KeptHandOut, moment::Moment, number::PastId};

/// So many hand-outs that have ended are remembered.
pub const REMEMBERED: usize = 100_000;

/// How a lease ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) at: Moment,
    pub(crate) reason: EndReason,
    /// What was said at the end; mostly nothing.
    pub(crate) remark: Option<Arc<EndRemark>>,
}

/// What was said at the end of a lease.
#[derive(Debug)]
pub(crate) struct EndRemark {
    pub(crate) by: Option<Holder>,
    pub(crate) note: Option<Note>,
}

impl Ended {
    fn shown(&self, outcome: Option<Outcome>) -> LeaseEnd {
        let (by, note) = self.said();
        LeaseEnd { at: self.at.timestamp(), reason: self.reason, outcome, by, note }
    }

    fn said(&self) -> (Option<Holder>, Option<Note>) {
        self.remark.as_ref().map(|remark| (remark.by.clone(), remark.note.clone())).unwrap_or_default()
    }

    /// The error for whoever uses the lease's id.
    pub(crate) fn lost(&self) -> Error {
        let LeaseEnd { at, reason, by, note, .. } = self.shown(None);
        Error::lost(reason, at, by, note)
    }
}

/// A hand-out of a bot that has ended.
#[derive(Debug)]
pub(crate) struct Past {
    pub(crate) lease: LeaseId,
    pub(crate) bot: BotId,
    pub(crate) fence: Fence,
    pub(crate) project: ProjectId,
    pub(crate) terms: Arc<Terms>,
    pub(crate) from: Moment,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) end: Ended,
    /// The hand-out of the bot before this one.
    pub(crate) earlier: Option<PastId>,
}

impl Past {
    pub(crate) fn record(&self) -> LeaseRecord {
        LeaseRecord {
            bot: self.bot,
            fence: self.fence,
            project: self.project.clone(),
            terms: Arc::clone(&self.terms),
            from: self.from.timestamp(),
            end: Some(self.end.shown(self.outcome)),
        }
    }

    /// As a journal keeps it.
    pub(crate) fn kept(&self) -> KeptHandOut {
        let (by, remark) = self.end.said();
        KeptHandOut {
            lease: self.lease,
            bot: self.bot,
            fence: self.fence,
            project: self.project.clone(),
            terms: Arc::clone(&self.terms),
            from: self.from,
            at: self.end.at,
            reason: self.end.reason,
            outcome: self.outcome,
            by,
            remark,
        }
    }

    /// As a journal kept it.
    pub(crate) fn restored(kept: KeptHandOut, earlier: Option<PastId>) -> Self {
        let KeptHandOut { lease, bot, fence, project, terms, from, at, reason, outcome, by, remark } = kept;
        let remark = (by.is_some() || remark.is_some()).then(|| Arc::new(EndRemark { by, note: remark }));
        let end = Ended { at, reason, remark };
        Self { lease, bot, fence, project, terms, from, outcome, end, earlier }
    }
}

/// The latest hand-outs that have ended.
#[derive(Debug, Default)]
pub(crate) struct PastLog {
    /// The last hand-out of each lease that has ended.
    ended: HashMap<LeaseId, PastId>,
    /// Oldest first; those of a lease one after the other. One log for all bots: a log for each takes memory wherever a
    /// bot is leased for the first time, and half the time of a lease at a million.
    log: VecDeque<Past>,
    /// How many have been forgotten: the id of the first in the log.
    forgotten: PastId,
}

impl PastLog {
    /// How a lease ended, if it has.
    pub(crate) fn ended(&self, id: LeaseId) -> Option<&Ended> {
        self.get(*self.ended.get(&id)?).map(|past| &past.end)
    }

    /// How a lease of this bot ended, if it has.
    pub(crate) fn ended_of(&self, bot: BotId, id: LeaseId) -> Option<&Ended> {
        let last = *self.ended.get(&id)?;
        let mut hand_outs = (0..=last).rev().map_while(|at| self.get(at)).take_while(|past| past.lease == id);
        hand_outs.find(|past| past.bot == bot).map(|past| &past.end)
    }

    /// A hand-out that has ended, and those of the same bot before it, as far as they are remembered.
    pub(crate) fn history(&self, last: Option<PastId>) -> impl Iterator<Item = &Past> {
        successors(last.and_then(|id| self.get(id)), |past| self.get(past.earlier?))
    }

    /// The hand-outs before one of them, those that ended last first.
    pub(crate) fn latest(&self, before: Option<PastId>) -> impl Iterator<Item = (PastId, &Past)> {
        let end =
            before.map_or(self.log.len(), |before| usize::try_from(before.saturating_sub(self.forgotten)).unwrap_or(0));
        let log = self.log.iter().enumerate().take(end).rev();
        log.map(|(at, past)| (self.forgotten + at as PastId, past))
    }

    fn get(&self, id: PastId) -> Option<&Past> {
        self.log.get(usize::try_from(id.checked_sub(self.forgotten)?).ok()?)
    }

    /// Remembers a hand-out that has ended.
    pub(crate) fn remember(&mut self, past: Past) -> PastId {
        if self.log.len() == REMEMBERED
            && let Some(oldest) = self.log.pop_front()
        {
            if self.ended.get(&oldest.lease) == Some(&self.forgotten) {
                self.ended.remove(&oldest.lease);
            }
            self.forgotten += 1;
        }
        let id = self.forgotten + self.log.len() as PastId;
        self.ended.insert(past.lease, id);
        self.log.push_back(past);
        id
    }
}

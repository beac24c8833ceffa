//! Runs: what one has leased and waits for, and how it is ended.

use std::ops::Bound;

use botfarm_core::{ActiveLease, BotId, EndReason, Ending, LeaseId, Result, Run, RunEnding};

use super::Engine;
use crate::{
    past::{EndRemark, Ended},
    queue::{Kept, KeptFor, Phase},
    timeline::Event,
};

impl Engine {
    /// Goes on with a list of the leases in force of a run, as [`leases`](Self::leases) does.
    pub fn leases_of_run(
        &self,
        run: &Run,
        after: Option<BotId>,
        limit: usize,
        items: &mut Vec<(BotId, ActiveLease)>,
    ) -> Option<BotId> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let leases = self.leases.of_run(run, after).filter_map(|(first, id)| Some((first, self.leases.get(id)?)));
        items.extend(leases.take(limit + 1).map(|(first, held)| (first, self.shown(held))));
        None
    }

    /// The leases in force that are to be ended with a run.
    #[must_use]
    pub fn to_end(&self, run: &Run, ending: &RunEnding) -> Vec<LeaseId> {
        let leases = self.leases.of_run(run, Bound::Unbounded).map(|(_, id)| id);
        leases.filter(|id| self.leases.get(*id).is_some_and(|held| ending.means(run, &held.request.terms))).collect()
    }

    /// Sends away all who wait as a part of a run, and those who have a place. Gives how many those were. Their ids stay
    /// refused for as long as a place is kept.
    pub fn send_away(&mut self, run: &Run, ending: &RunEnding) -> u64 {
        let waiting = self.queue.requests().filter(|request| ending.means(run, &request.terms));
        let waiting: Vec<_> = waiting.map(|request| request.id).collect();
        let places = self.queue.kept.iter().filter_map(|(id, kept)| match &kept.of {
            KeptFor::Place { terms, .. } if ending.means(run, terms) => Some(*id),
            _ => None,
        });
        let mut places: Vec<_> = places.collect();
        places.sort_unstable();
        let (mut slots, count) = (Vec::new(), waiting.len() + places.len());
        for id in waiting {
            let pending = self.step_out(id);
            slots.extend(pending.into_iter().flat_map(|pending| pending.reserved).flatten());
            let ended = self.ended_with_run(ending);
            if let Some(waiter) = self.queue.waiters.get_mut(&id) {
                waiter.phase = Phase::Ended(ended);
            }
            self.woken.push(id);
        }
        for id in places {
            if let Some(Kept { timer, .. }) = self.queue.kept.remove(&id) {
                self.timeline.cancel(timer);
            }
            let ended = self.ended_with_run(ending);
            self.keep_for(id, KeptFor::End(ended));
        }
        self.put_back(slots);
        count as u64
    }

    /// Ends a lease of a run, if it is in force. Says whether it was.
    pub fn take(&mut self, id: LeaseId, ending: &RunEnding) -> bool {
        let Ending { outcome, note } = ending.ending.clone();
        let remark = EndRemark { by: Some(ending.by.clone()), note };
        self.end(id, self.now, EndReason::Taken, Some(outcome), Some(remark)).is_ok()
    }

    /// What is known of an id whose waiters were sent away.
    pub(super) fn sent_away(&self, id: LeaseId) -> Result<()> {
        match self.queue.kept.get(&id).map(|kept| &kept.of) {
            Some(KeptFor::End(ended)) => Err(ended.lost()),
            _ => Ok(()),
        }
    }

    /// Keeps something for an id, for as long as a place is kept.
    pub(super) fn keep_for(&mut self, id: LeaseId, of: KeptFor) {
        if self.policy.place_kept.is_zero() {
            return;
        }
        let timer = self.timer(self.now.plus(self.policy.place_kept), Event::Forgotten(id));
        self.queue.kept.insert(id, Kept { timer, of });
    }

    fn ended_with_run(&self, RunEnding { ending, by, .. }: &RunEnding) -> Ended {
        let remark = EndRemark { by: Some(by.clone()), note: ending.note.clone() };
        Ended { at: self.now, reason: EndReason::Taken, remark: Some(remark.into()) }
    }
}

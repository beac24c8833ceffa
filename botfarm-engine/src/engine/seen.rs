//! What is seen of all bots together: the hand-outs that have ended, and the queue.

use std::ops::Bound;

use botfarm_core::{HandOut, HandOutFilter, LOOKED_AT, QueuedRequest};

use super::Engine;
use crate::{
    assignment::unmet,
    number::{PastId, Ticket},
    past::Past,
};

/// For so many requests of a page it is told what keeps them waiting.
const REASONS: usize = 50;

impl Engine {
    /// The hand-outs that have ended and pass a filter, the latest first, from before one of them on: one more than a page
    /// has, if so many are found. Each comes with its number; and the number to go on before, unless all were looked at.
    #[must_use]
    pub fn hand_outs(
        &self,
        filter: &HandOutFilter,
        before: Option<PastId>,
        limit: usize,
    ) -> (Vec<(PastId, HandOut)>, Option<PastId>) {
        let (mut found, mut last) = (Vec::new(), None);
        for (count, (id, past)) in self.past.latest(before).enumerate() {
            let is_older = filter.since.is_some_and(|since| past.end.at.timestamp() < since);
            if is_older || found.len() > limit {
                return (found, None);
            }
            if count == LOOKED_AT {
                return (found, last);
            }
            last = Some(id);
            found.extend(self.of_a_bot(past).filter(|hand_out| filter.passes(hand_out)).map(|hand_out| (id, hand_out)));
        }
        (found, None)
    }

    /// One of a bot that is there.
    fn of_a_bot(&self, past: &Past) -> Option<HandOut> {
        let bot = &self.bots[self.bots.slot(past.bot)?].bot;
        Some(HandOut { login: bot.login.clone(), env: bot.env.clone(), record: past.record() })
    }

    /// The requests that wait, in their order, after one of them: one more than a page has, if there are so many. Each comes
    /// with its ticket.
    pub fn queued(&mut self, after: Option<Ticket>, limit: usize) -> Vec<(Ticket, QueuedRequest)> {
        let ahead = after.map_or(0, |after| self.queue.line.range(..=after).count() as u64);
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let line: Vec<_> =
            self.queue.line.range((after, Bound::Unbounded)).take(limit + 1).map(|(t, id)| (*t, *id)).collect();
        let mut looked = 0;
        let line = line.into_iter().enumerate().filter_map(|(index, (ticket, id))| {
            let since = self.queue.waiters.get(&id)?.since;
            let pending = self.queue.pending(id)?;
            let (request, unmet) = (pending.request.clone(), unmet(&pending.reserved).unwrap_or_default());
            let is_looked_into = looked < REASONS;
            looked += 1;
            let reason = is_looked_into.then(|| self.standing(&request, unmet).reason());
            let run = request.terms.run.as_ref();
            let request = QueuedRequest {
                place: ahead + index as u64 + 1,
                terms: request.terms.clone(),
                since: since.timestamp(),
                alive: true,
                selectors: request.selectors.clone(),
                reason,
                holds: run.map_or(0, |run| self.leases.of_run(run, Bound::Unbounded).count() as u64),
            };
            Some((ticket, request))
        });
        line.collect()
    }
}

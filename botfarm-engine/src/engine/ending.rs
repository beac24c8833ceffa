//! How leases end.

use std::{sync::Arc, time::Duration};

use botfarm_core::{
    BotId, BotRelease, Condition, EndReason, Ending, Error, Lease, LeaseId, Outcome, Result, Revocation,
};

use crate::{
    bots::{Slot, Status},
    clock::{Event, Moment},
    lease::{Ended, Held, Past, Told},
    state::State,
};

impl State {
    /// A lease that must be in force.
    pub(crate) fn live(&self, id: LeaseId) -> Result<&Held> {
        self.leases
            .live(id)
            .ok_or_else(|| self.leases.ended(id).map_or(Error::NoSuchLease, |end| end.lost(&self.clock)))
    }

    pub(crate) fn lookup(&mut self, id: LeaseId) -> Result<Lease> {
        let lease = self.live(id).map(|held| held.lease(&self.clock, &self.bots))?;
        self.mark_received(id);
        Ok(lease)
    }

    pub(crate) fn renew(&mut self, id: LeaseId, ttl: Option<Duration>) -> Result<Lease> {
        let ttl = ttl.map(|ttl| self.policy.ttl(Some(ttl))).transpose()?;
        let held = self.live(id)?;
        let (ttl, old) = (ttl.unwrap_or(held.ttl), held.ends);
        self.timeline.cancel(old);
        let ends = self.timer(self.clock.now.plus(ttl), Event::Expired(id));
        if let Some(held) = self.leases.live_mut(id) {
            (held.ttl, held.ends) = (ttl, ends);
        }
        self.lookup(id)
    }

    pub(crate) fn release(&mut self, id: LeaseId, Ending { outcome, note }: Ending) -> Result<()> {
        let told = note.map(|note| Told { by: None, note: Some(note) });
        match self.end(id, self.clock.now, EndReason::Released, Some(outcome), told) {
            Err(Error::LeaseLost(lost)) if lost.reason == EndReason::Released => Ok(()),
            ended => ended,
        }
    }

    pub(crate) fn release_bot(&mut self, bot: BotId, release: BotRelease) -> Result<()> {
        let slot = self.slot(bot)?;
        let current = self.bots[slot].lease();
        if let Some(named) = release.lease
            && current != Some(named)
        {
            let never = || Error::lost(EndReason::Released, self.clock.shown(self.clock.now), None, None);
            return Err(self.leases.ended_of(bot, named).map_or_else(never, |end| end.lost(&self.clock)));
        }
        let Some(id) = current else { return Ok(()) };
        let held = self.live(id)?;
        if release.owner.is_some() && release.owner != held.request.owner {
            return Err(Error::NotHolder { bot, holder: held.request.holder.clone() });
        }
        self.release(id, release.ending)
    }

    pub(crate) fn revoke(&mut self, bot: BotId, Revocation { reason, by }: Revocation) -> Result<()> {
        let slot = self.slot(bot)?;
        if let Some(id) = self.bots[slot].lease() {
            let told = Some(Told { by: Some(by), note: Some(reason) });
            self.end(id, self.clock.now, EndReason::Revoked, None, told)?;
        }
        Ok(())
    }

    /// Ends a lease that must be in force, as of `at`.
    pub(crate) fn end(
        &mut self,
        id: LeaseId,
        at: Moment,
        reason: EndReason,
        outcome: Option<Outcome>,
        told: Option<Told>,
    ) -> Result<()> {
        let Some(held) = self.leases.take(id) else { return self.live(id).map(drop) };
        let end = Ended { at, reason, told: told.map(Arc::new) };
        self.timeline.cancel(held.ends);
        let (condition, rest) = match outcome {
            Some(Outcome::Clean) => (Some(Condition::Ready), self.policy.reuse_delay),
            Some(Outcome::Dirty) => (Some(Condition::Dirty), Duration::ZERO),
            Some(Outcome::Broken) => (Some(Condition::Broken), Duration::ZERO),
            None => (None, self.policy.cooling),
        };
        for &(slot, _) in &held.bots {
            let status = if rest.is_zero() {
                Status::Free { since: self.count() }
            } else {
                Status::Cooling { rested: self.timer(at.plus(rest), Event::Rested(slot)) }
            };
            let past = Past::new(&held, &self.bots[slot], outcome, end.clone());
            let last = self.leases.remember(past);
            self.change(slot, |entry| {
                entry.last = Some(last);
                entry.bot.condition = condition.unwrap_or(entry.bot.condition);
                entry.sticky.clone_from(&held.request.sticky);
                entry.status = status;
            });
        }
        if rest.is_zero() {
            for (slot, _) in held.bots {
                self.offer(slot);
            }
        }
        Ok(())
    }

    /// Undoes a grant that nobody received, as if it had not been; only the fences stay where they are. Gives the bots,
    /// still to be put back.
    pub(crate) fn undo(&mut self, id: LeaseId) -> Option<Vec<Slot>> {
        let held = self.leases.take(id)?;
        self.timeline.cancel(held.ends);
        Some(held.bots.into_iter().map(|(slot, _)| slot).collect())
    }
}

//! How leases end.

use std::time::Duration;

use botfarm_core::{
    BotId, BotRelease, Condition, EndReason, Ending, Error, Lease, LeaseEnd, LeaseId, Outcome, Result, Revocation,
};

use crate::{
    bots::{Slot, Status},
    clock::{Event, Moment},
    lease::{Known, Past},
    state::State,
};

impl State {
    pub(crate) fn lookup(&mut self, id: LeaseId) -> Result<Lease> {
        let lease = self.leases.live(id).map(|held| self.lease(held))?;
        self.mark_received(id);
        Ok(lease)
    }

    pub(crate) fn renew(&mut self, id: LeaseId, ttl: Option<Duration>) -> Result<Lease> {
        let ttl = ttl.map(|ttl| self.policy.ttl(Some(ttl))).transpose()?;
        let held = self.leases.live(id)?;
        let (ttl, old) = (ttl.unwrap_or(held.ttl), held.ends);
        self.timeline.cancel(old);
        let ends = self.timer(self.clock.now.plus(ttl), Event::Expired(id));
        if let Some(held) = self.leases.live_mut(id) {
            (held.ttl, held.ends) = (ttl, ends);
        }
        self.lookup(id)
    }

    pub(crate) fn release(&mut self, id: LeaseId, Ending { outcome, note }: Ending) -> Result<()> {
        match self.leases.get(id) {
            Some(Known::Ended(past)) if past.reason() == EndReason::Released => return Ok(()),
            _ => self.leases.live(id)?,
        };
        self.end(id, self.clock.now, EndReason::Released, |end| LeaseEnd { outcome: Some(outcome), note, ..end });
        Ok(())
    }

    pub(crate) fn release_bot(&mut self, bot: BotId, release: BotRelease) -> Result<()> {
        let slot = self.slot(bot)?;
        let current = self.bots[slot].lease();
        if let Some(named) = release.lease
            && current != Some(named)
        {
            return Err(match self.leases.get(named) {
                Some(Known::Ended(past)) if past.bots.contains(&bot) => past.lost(),
                _ => Error::lost(EndReason::Released, self.clock.shown(self.clock.now), None, None),
            });
        }
        let Some(id) = current else { return Ok(()) };
        let held = self.leases.live(id)?;
        if release.owner.is_some() && release.owner != held.request.owner {
            return Err(Error::NotHolder { bot, holder: held.request.holder.clone() });
        }
        self.release(id, release.ending)
    }

    pub(crate) fn revoke(&mut self, bot: BotId, Revocation { reason, by }: Revocation) -> Result<()> {
        let slot = self.slot(bot)?;
        if let Some(id) = self.bots[slot].lease() {
            let end = |end| LeaseEnd { by: Some(by), note: Some(reason), ..end };
            self.end(id, self.clock.now, EndReason::Revoked, end);
        }
        Ok(())
    }

    /// Nobody has renewed the lease until `at`.
    pub(crate) fn expire(&mut self, id: LeaseId, at: Moment) {
        self.end(id, at, EndReason::Expired, |end| end);
    }

    fn end(&mut self, id: LeaseId, at: Moment, reason: EndReason, told: impl FnOnce(LeaseEnd) -> LeaseEnd) {
        let clock = &self.clock;
        let ended = self.leases.end(id, |held| {
            let end = LeaseEnd { at: clock.shown(at), reason, outcome: None, by: None, note: None };
            Past::new(held, clock.shown(held.since), told(end))
        });
        let Some((held, past)) = ended else { return };
        self.timeline.cancel(held.ends);
        let (condition, rest) = match past.outcome() {
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
            self.change(slot, |entry| {
                entry.remember(past.clone());
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
    }

    /// Undoes a grant that nobody received, as if it had not been; only the fences stay where they are. Gives the bots,
    /// still to be put back.
    pub(crate) fn undo(&mut self, id: LeaseId) -> Option<Vec<Slot>> {
        let held = self.leases.undo(id)?;
        self.timeline.cancel(held.ends);
        Some(held.bots.into_iter().map(|(slot, _)| slot).collect())
    }
}

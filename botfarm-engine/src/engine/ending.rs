//! How leases end.

use std::{sync::Arc, time::Duration};

use botfarm_core::{
    BotId, BotRelease, EndReason, Ending, Env, Error, Lease, LeaseId, Outcome, Result, Revocation, Terms,
    rules::{self, Aftermath},
};

use super::Engine;
use crate::{
    bots::{Entry, Status},
    kept::Change,
    lease::Held,
    moment::Moment,
    number::Slot,
    past::{EndRemark, Ended, Past},
    timeline::Event,
};

impl Engine {
    /// A lease in force. Whoever sees it has received it.
    ///
    /// # Errors
    /// Those of [`BotFarm::lookup`](botfarm_core::BotFarm::lookup).
    pub fn lookup(&mut self, id: LeaseId) -> Result<Lease> {
        let lease = self.live(id).map(|held| held.lease(self.now, &self.bots))?;
        self.received(id);
        Ok(lease)
    }

    /// Gives a lease in force another deadline.
    ///
    /// # Errors
    /// Those of [`BotFarm::renew`](botfarm_core::BotFarm::renew).
    pub fn renew(&mut self, id: LeaseId, ttl: Option<Duration>) -> Result<Lease> {
        let of = self.leases.get(id).into_iter().flat_map(|held| self.envs(held));
        let ttl = ttl.map(|ttl| self.policy.ttl_in(of, ttl)).transpose()?;
        let held = self.live(id)?;
        let (ttl, old) = (ttl.unwrap_or(held.ttl), held.ends);
        self.timeline.cancel(old);
        let ends = self.timer(self.now.plus(ttl), Event::Expired(id));
        if let Some(held) = self.leases.get_mut(id) {
            (held.ttl, held.ends) = (ttl, ends);
        }
        self.note(|_| Change::Renewed { id, ttl, expires_at: ends.at });
        self.lookup(id)
    }

    /// Ends a lease for its holder.
    ///
    /// # Errors
    /// Those of [`BotFarm::release`](botfarm_core::BotFarm::release).
    pub fn release(&mut self, id: LeaseId, Ending { outcome, note }: Ending) -> Result<()> {
        let remark = note.map(|note| EndRemark { by: None, note: Some(note) });
        match self.end(id, self.now, EndReason::Released, Some(outcome), remark) {
            Err(Error::LeaseLost(lost)) if lost.reason == EndReason::Released => Ok(()),
            ended => ended,
        }
    }

    /// Ends the lease that holds a bot, as its holder would.
    ///
    /// # Errors
    /// Those of [`BotFarm::release_bot`](botfarm_core::BotFarm::release_bot).
    pub fn release_bot(&mut self, bot: BotId, release: BotRelease) -> Result<()> {
        let slot = self.slot(bot)?;
        let current = self.bots[slot].lease();
        if let Some(named) = release.lease
            && current != Some(named)
        {
            let never = || rules::never_held(self.now.timestamp());
            return Err(self.past.ended_of(bot, named).map_or_else(never, Ended::lost));
        }
        let Some(id) = current else { return Ok(()) };
        let held = self.live(id)?;
        if !release.means(bot, &held.request.terms)? {
            return Err(Error::Busy(Box::new(self.busy(slot))));
        }
        self.release(id, release.ending)
    }

    /// Takes a bot away from whoever holds it.
    ///
    /// # Errors
    /// Those of [`BotFarm::revoke`](botfarm_core::BotFarm::revoke).
    pub fn revoke(&mut self, bot: BotId, revocation: Revocation) -> Result<()> {
        let slot = self.slot(bot)?;
        let is_meant = |id: &LeaseId| self.leases.get(*id).is_some_and(|held| revocation.means(&held.request.terms));
        if let Some(id) = self.bots[slot].lease().filter(is_meant) {
            let remark = Some(EndRemark { by: Some(revocation.by), note: Some(revocation.reason) });
            self.end(id, self.now, EndReason::Revoked, None, remark)?;
        }
        Ok(())
    }

    /// The envs of the bots of a lease.
    fn envs<'a>(&'a self, held: &'a Held) -> impl Iterator<Item = &'a Env> {
        held.bots.iter().map(|(slot, _)| &self.bots[*slot].bot.env)
    }

    /// Ends a lease that must be in force, as of `at`.
    pub(super) fn end(
        &mut self,
        id: LeaseId,
        at: Moment,
        reason: EndReason,
        outcome: Option<Outcome>,
        remark: Option<EndRemark>,
    ) -> Result<()> {
        let Some(held) = self.leases.remove(id) else { return self.live(id).map(drop) };
        let end = Ended { at, reason, remark: remark.map(Arc::new) };
        self.note(|_| Change::LeaseOver(id));
        self.timeline.cancel(held.ends);
        let Aftermath { condition, rest } = self.policy.aftermath(outcome, self.envs(&held));
        for &(slot, _) in &held.bots {
            let status = if rest.is_zero() {
                Status::Free { since: self.count() }
            } else {
                Status::Cooling { rested: self.timer(at.plus(rest), Event::Rested(slot)) }
            };
            let Entry { bot, fence, last, .. } = &self.bots[slot];
            let past = Past {
                lease: id,
                bot: bot.id,
                fence: *fence,
                project: bot.project.clone(),
                terms: Arc::clone(&held.request.terms),
                from: held.since,
                outcome,
                end: end.clone(),
                earlier: *last,
            };
            self.note(|_| Change::Ended(past.kept()));
            let last = self.past.remember(past);
            let bot = &self.bots[slot].bot;
            let condition = match (condition, reason) {
                (Some(condition), _) => condition,
                (None, EndReason::Expired) => self.policy.condition_after_expiry(bot),
                (None, _) => bot.condition,
            };
            self.change(slot, |entry| {
                entry.last = Some(last);
                entry.bot.condition = condition;
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

    /// Undoes a grant that nobody received, as if it had not been; only the fences stay where they are. Gives what it
    /// carried along, and the bots, still to be put back.
    pub(super) fn undo(&mut self, id: LeaseId) -> Option<(Arc<Terms>, Vec<Slot>)> {
        let held = self.leases.remove(id)?;
        self.timeline.cancel(held.ends);
        self.note(|_| Change::LeaseOver(id));
        Some((held.request.terms, held.bots.into_iter().map(|(slot, _)| slot).collect()))
    }
}

//! A farm as its journal kept it.

use std::{collections::HashMap, fmt, time::Duration};

use botfarm_core::{BotId, Condition, EndReason, Fence, LeasePolicy};
use smallvec::SmallVec;

use super::Engine;
use crate::{
    bots::{Entry, Status},
    kept::{Change, KeptBot, KeptLease, KeptLeasedBot, Snapshot},
    lease::Held,
    moment::Moment,
    past::{EndRemark, Past},
    timeline::{Event, Timer},
};

/// What was kept contradicts itself. Says how, and shows no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction(String);

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Contradiction {}

impl Engine {
    /// The farm that a journal kept, whose changes are to be kept from now on. Nobody waits any more.
    ///
    /// Leases that have expired meanwhile, or are about to, live until `grace` from now: their holders had nobody to
    /// renew them with. Those of a bot whose password cannot be read are over.
    ///
    /// # Errors
    /// When the snapshot is not what changes can add up to: a bot is held twice, or a lease holds a bot that is not
    /// there, or two bots are one account.
    pub fn restore(
        policy: LeasePolicy,
        snapshot: Snapshot,
        now: Moment,
        grace: Duration,
    ) -> Result<Self, Contradiction> {
        let mut engine = Self::new(policy);
        engine.now = now.max(snapshot.latest());
        engine.changes = Some(Vec::new());
        engine.restore_bots(snapshot.bots)?;
        engine.restore_leases(snapshot.leases, grace)?;
        for ended in snapshot.ended {
            let slot = engine.bots.slot(ended.bot);
            let earlier = slot.and_then(|slot| engine.bots[slot].last);
            let fence = ended.fence;
            let last = engine.past.remember(Past::restored(ended, earlier));
            if let Some(slot) = slot {
                let entry = &mut engine.bots[slot];
                entry.last = Some(last);
                entry.fence = entry.fence.max(fence);
            }
        }
        for (operator, password) in snapshot.operators {
            engine.directory.put_operator(operator, password);
        }
        for (token, digest) in snapshot.tokens {
            engine.directory.put_token(token, digest);
        }
        for (session, until) in snapshot.sessions {
            engine.directory.end_session(session, until);
        }
        engine.end_what_cannot_be_read();
        Ok(engine)
    }

    /// Takes bots whose password cannot be read from whoever holds them.
    fn end_what_cannot_be_read(&mut self) {
        let unreadable = self.bots.iter_mut().filter(|(_, entry)| entry.password.is_none());
        let leases: Vec<_> = unreadable.filter_map(|(_, entry)| Some((entry.lease()?, entry.bot.id))).collect();
        for (lease, bot) in leases {
            let note = format!("the password that was kept of account {bot} cannot be read");
            let remark = EndRemark { by: "botfarm".parse().ok(), note: note.parse().ok() };
            // Two of them may have been in one lease.
            let _ = self.end(lease, self.now, EndReason::Revoked, None, Some(remark));
        }
    }

    fn restore_bots(&mut self, mut bots: Vec<KeptBot>) -> Result<(), Contradiction> {
        // Of two that are one account, the one that cannot be read yields.
        bots.sort_by_key(|kept| (kept.password.is_none(), kept.bot.id));
        for KeptBot { mut bot, password, status } in bots {
            let taken = self.bots.of_login(&bot.env, &bot.login.folded()).is_some();
            if taken && password.is_none() {
                continue;
            }
            if taken || self.bots.slot(bot.id).is_some() {
                return Err(Contradiction(format!("there are two bots {} in {}", bot.login, bot.env)));
            }
            self.counter = self.counter.max(status.order);
            bot.labels = self.bots.shared(&bot.labels);
            bot.condition = if password.is_some() { status.condition } else { Condition::Broken };
            let mut entry = Entry::new(bot, password, status.order);
            (entry.fence, entry.sticky) = (status.fence, status.sticky);
            let slot = self.bots.insert(entry);
            if let Some(at) = status.rests_until {
                let rested = Timer { at, order: status.order };
                self.timeline.set(rested, Event::Rested(slot));
                self.bots[slot].status = Status::Cooling { rested };
            }
            self.put_into_buckets(slot);
        }
        Ok(())
    }

    fn restore_leases(&mut self, mut leases: Vec<KeptLease>, grace: Duration) -> Result<(), Contradiction> {
        // Whoever has held a bot for the longest is told by the order of hand-outs.
        leases.sort_by_key(|lease| lease.acquired_at);
        let mut holders: HashMap<BotId, Fence> = HashMap::new();
        let earliest = self.now.plus(grace);
        for lease in leases {
            if lease.bots.is_empty() || self.leases.get(lease.id).is_some() {
                return Err(Contradiction(format!("a lease of {} has no bot, or is there twice", lease.terms.holder)));
            }
            let mut bots = SmallVec::new();
            for KeptLeasedBot { bot, fence, .. } in &lease.bots {
                let slot = self.bots.slot(*bot);
                let slot = slot
                    .ok_or_else(|| Contradiction(format!("{} holds {bot}, which is not there", lease.terms.holder)))?;
                if holders.insert(*bot, *fence).is_some() || matches!(self.bots[slot].status, Status::Cooling { .. }) {
                    return Err(Contradiction(format!("{} holds {bot}, which is not free", lease.terms.holder)));
                }
                bots.push((slot, *bot));
            }
            let expires_at = lease.expires_at.max(earliest);
            let (id, ttl, renewed) = (lease.id, lease.ttl, expires_at != lease.expires_at);
            let ends = self.timer(expires_at, Event::Expired(id));
            for &(slot, bot) in &bots {
                let (hand_out, fence) = (self.count(), holders[&bot]);
                let since = self.bots[slot].position().order;
                self.take_out_of_buckets(slot);
                let entry = &mut self.bots[slot];
                entry.status = Status::Held { since, lease: id, hand_out };
                entry.fence = entry.fence.max(fence);
                self.put_into_buckets(slot);
            }
            self.leases.insert(Held::restored(lease, ends, bots));
            if renewed {
                self.note(|_| Change::Renewed { id, ttl, expires_at });
            }
        }
        Ok(())
    }
}

//! What is seen of the farm.

use botfarm_core::{
    ActiveLease, Bot, BotFilter, BotId, Condition, Cursor, Fence, Holding, LeaseRecord, Login, PageRequest, PoolStats,
    Result, Selector, Stats,
};

use super::Engine;
use crate::{bucket::Bucket, lease::Held, number::Slot, past::Past, pools::Pool};

/// So many hand-outs of a bot that have ended are told.
const HISTORY: usize = 100;

/// So many bots are looked at in one turn of a list, so that a filter that few bots of a million pass does not keep
/// others from their leases.
const STRIDE: usize = 4_096;

impl Engine {
    /// A bot as everybody may see it.
    ///
    /// # Errors
    /// Those of [`BotFarm::get`](botfarm_core::BotFarm::get).
    pub fn get(&self, id: BotId) -> Result<Bot> {
        self.slot(id).map(|slot| self.seen(slot))
    }

    /// Goes on with a list of bots after one of them: adds each that passes the filter, until `items` are one more than
    /// `limit`. Gives the bot to go on after in another turn, unless that was all.
    pub fn list(
        &self,
        filter: &BotFilter,
        after: Option<BotId>,
        limit: usize,
        items: &mut Vec<(BotId, Bot)>,
    ) -> Option<BotId> {
        self.page(filter.login.as_ref(), after, limit, items, |slot| self.filtered(filter, slot))
    }

    /// Goes on with a list of the leases in force, as [`list`](Self::list) does. Each comes with the least id among its
    /// bots.
    pub fn leases(&self, after: Option<BotId>, limit: usize, items: &mut Vec<(BotId, ActiveLease)>) -> Option<BotId> {
        self.page(None, after, limit, items, |slot| self.active_lease(slot))
    }

    /// Goes on with a list of what is shown of all bots, or of those with a login.
    fn page<T>(
        &self,
        login: Option<&Login>,
        after: Option<BotId>,
        limit: usize,
        items: &mut Vec<(BotId, T)>,
        show: impl Fn(Slot) -> Option<T>,
    ) -> Option<BotId> {
        if let Some(login) = login {
            let slots = self.bots.named(&Selector::any().login(login.clone()));
            let mut bots: Vec<_> = slots.into_iter().map(|slot| (self.bots[slot].bot.id, slot)).collect();
            bots.sort_unstable();
            bots.retain(|(id, _)| after.is_none_or(|after| *id > after));
            items.extend(bots.into_iter().filter_map(|(id, slot)| Some((id, show(slot)?))));
            return None;
        }
        for (count, (id, slot)) in self.bots.after(after).enumerate() {
            if items.len() > limit {
                return None;
            }
            items.extend(show(slot).map(|item| (id, item)));
            if count == STRIDE {
                return Some(id);
            }
        }
        None
    }

    /// The bot as everybody may see it, if a list with this filter holds it, whatever its login.
    fn filtered(&self, filter: &BotFilter, slot: Slot) -> Option<Bot> {
        let BotFilter { project, env, domain, login: _, condition, state, labels } = filter;
        let entry = &self.bots[slot];
        let bot = &entry.bot;
        let passes = project.as_ref().is_none_or(|project| *project == bot.project)
            && env.as_ref().is_none_or(|env| *env == bot.env)
            && domain.as_ref().is_none_or(|domain| *domain == bot.domain)
            && condition.is_none_or(|condition| condition == bot.condition)
            && state.is_none_or(|state| state == entry.state())
            && bot.labels.contain(labels);
        passes.then(|| self.seen(slot))
    }

    /// The lease that holds a bot, as everybody may see it, if the bot is the one it is listed by: that with the least
    /// id.
    fn active_lease(&self, slot: Slot) -> Option<ActiveLease> {
        let held = self.holder_of(slot)?;
        if held.bots.iter().any(|(_, id)| *id < self.bots[slot].bot.id) {
            return None;
        }
        Some(self.shown(held))
    }

    /// A lease in force as everybody may see it.
    pub(super) fn shown(&self, held: &Held) -> ActiveLease {
        let Holding { terms, since, expires_at } = held.holding();
        let bots = held.bots.iter().zip(&held.request.selectors);
        let bots = bots.map(|(&(slot, _), selector)| (selector.alias.clone(), self.seen(slot))).collect();
        ActiveLease { terms, acquired_at: since, expires_at, bots }
    }

    /// The hand-outs of a bot, newest first, from before one of them on: one more than a page has, if there are so many.
    /// Past ones are told as far as they are remembered, and no more than a hundred.
    ///
    /// # Errors
    /// Those of [`BotFarm::history`](botfarm_core::BotFarm::history).
    pub fn history(&self, bot: BotId, page: &PageRequest) -> Result<Vec<LeaseRecord>> {
        let (limit, before) = history_page(page)?;
        let current = self.current(bot)?;
        let past = self.past.history(self.bots[self.slot(bot)?].last).take(HISTORY).map(Past::record);
        let records = current.into_iter().chain(past);
        let records = records.filter(|record| before.is_none_or(|before| record.fence < before));
        Ok(records.take(limit + 1).collect())
    }

    /// The hand-out of a bot that is in force, if one is.
    ///
    /// # Errors
    /// `NoSuchBot`.
    pub fn current(&self, bot: BotId) -> Result<Option<LeaseRecord>> {
        let slot = self.slot(bot)?;
        Ok(self.holder_of(slot).map(|held| {
            let Holding { terms, since, .. } = held.holding();
            let entry = &self.bots[slot];
            LeaseRecord { bot, fence: entry.fence, project: entry.bot.project.clone(), terms, from: since, end: None }
        }))
    }

    /// Counts the bots and the queue.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let pools = self.pools.iter().map(|Pool { place, counts }| {
            let mut pool = PoolStats::new(place.project.clone(), place.env.clone(), place.domain.clone());
            pool.total = counts.total();
            pool.free = counts.idle(Condition::Ready);
            pool.leased = counts[Bucket::HELD];
            pool.cooling = counts[Bucket::COOLING];
            pool.dirty = counts.idle(Condition::Dirty);
            pool.broken = counts.idle(Condition::Broken);
            pool
        });
        Stats::new(pools.collect(), self.queue.len() as u64)
    }
}

/// How many hand-outs a page of a history has, and before which one.
///
/// # Errors
/// `Malformed` for a bad cursor, `Invalid` for a bad limit.
pub(crate) fn history_page(page: &PageRequest) -> Result<(usize, Option<Fence>)> {
    Ok((page.checked_limit()?, page.cursor.as_ref().map(Cursor::fence).transpose()?))
}

//! How bots come, change and go.

use botfarm_core::{Bot, BotChanges, BotFilter, BotId, Error, Fault, ImportReport, Login, NewBot, Result, Selector};

use crate::{
    bots::{Entry, Slot, Status},
    state::State,
};

/// So many bots are looked at in one turn of a list, so that a filter that few bots of a million pass does not keep
/// others from their leases.
const STRIDE: usize = 4_096;

impl State {
    pub(crate) fn create(&mut self, bot: NewBot) -> Result<Bot> {
        if self.bots.of_login(bot.env, &bot.login.folded()).is_some() {
            return Err(Error::LoginTaken { login: bot.login, env: bot.env });
        }
        let slot = self.keep(bot);
        // As it was created, though a waiter may have it at once.
        let bot = self.seen(slot);
        self.offer(slot);
        Ok(bot)
    }

    /// Keeps a bot of a new login. The waiters are yet to be served.
    fn keep(&mut self, new: NewBot) -> Slot {
        let since = self.count();
        // Version 7 UUIDs made by one process sort by their creation.
        let mut bot = Bot::new(BotId::new(), &new, self.clock.shown(self.clock.now));
        bot.labels = self.bots.shared(&new.labels);
        let mut entry = Entry::new(bot, new.password, since);
        entry.views = self.views.fitting(&entry.bot);
        let slot = self.bots.insert(entry);
        self.put_on_shelves(slot);
        slot
    }

    pub(crate) fn import(&mut self, rows: Vec<NewBot>, dry_run: bool) -> Result<ImportReport> {
        let mut faults = NewBot::twins(&rows);
        let (mut report, mut changed) = (ImportReport::default(), Vec::new());
        for (row, new) in rows.into_iter().enumerate() {
            let Some(slot) = self.bots.of_login(new.env, &new.login.folded()) else {
                report.created += 1;
                changed.push((None, new));
                continue;
            };
            let Entry { bot, password, .. } = &self.bots[slot];
            let moved = [("project_id", bot.project != new.project), ("domain", bot.domain != new.domain)];
            if let Some(held) = self.holder_of(slot) {
                let holder = &held.request.holder;
                let detail = format!("must stay as it is while {holder} holds the bot");
                let moved = moved.iter().filter(|(_, moved)| *moved);
                faults.extend(moved.map(|(field, _)| (row, Fault::new(format!("/{row}/{field}"), detail.clone()))));
            }
            if moved.iter().any(|(_, moved)| *moved) || bot.labels != new.labels || *password != new.password {
                report.updated += 1;
                changed.push((Some(slot), new));
            } else {
                report.unchanged += 1;
            }
        }
        if !faults.is_empty() {
            faults.sort_by_key(|(row, _)| *row);
            return Err(Error::Invalid { faults: faults.into_iter().map(|(_, fault)| fault).collect() });
        }
        if dry_run || changed.is_empty() {
            return Ok(report);
        }
        for (slot, new) in changed {
            match slot {
                Some(slot) => {
                    let labels = self.bots.shared(&new.labels);
                    self.reshape(slot, |entry| {
                        entry.password = new.password;
                        entry.bot.labels = labels;
                        (entry.bot.project, entry.bot.domain) = (new.project, new.domain);
                    });
                }
                None => drop(self.keep(new)),
            }
        }
        self.rematch();
        Ok(report)
    }

    pub(crate) fn get(&self, id: BotId) -> Result<Bot> {
        self.slot(id).map(|slot| self.seen(slot))
    }

    /// Goes on with a list of all bots, or of those with a login, after a bot: adds what is shown of each, until `items`
    /// are one more than `limit`. Gives the bot to go on after in another turn, unless that was all.
    pub(crate) fn list<T>(
        &self,
        login: Option<&Login>,
        after: Option<BotId>,
        limit: usize,
        items: &mut Vec<(BotId, T)>,
        show: impl Fn(&Self, Slot) -> Option<T>,
    ) -> Option<BotId> {
        if let Some(login) = login {
            let slots = self.bots.named(&Selector::any().login(login.clone()));
            let mut bots: Vec<_> = slots.into_iter().map(|slot| (self.bots[slot].bot.id, slot)).collect();
            bots.sort_unstable();
            bots.retain(|(id, _)| after.is_none_or(|after| *id > after));
            items.extend(bots.into_iter().filter_map(|(id, slot)| Some((id, show(self, slot)?))));
            return None;
        }
        for (count, (id, slot)) in self.bots.after(after).enumerate() {
            if items.len() > limit {
                return None;
            }
            items.extend(show(self, slot).map(|item| (id, item)));
            if count == STRIDE {
                return Some(id);
            }
        }
        None
    }

    /// The bot as everybody may see it, if a list with this filter holds it, whatever its login.
    pub(crate) fn filtered(&self, filter: &BotFilter, slot: Slot) -> Option<Bot> {
        let BotFilter { project, env, domain, login: _, condition, state, labels } = filter;
        let entry = &self.bots[slot];
        let bot = &entry.bot;
        let passes = project.is_none_or(|project| project == bot.project)
            && env.is_none_or(|env| env == bot.env)
            && domain.is_none_or(|domain| domain == bot.domain)
            && condition.is_none_or(|condition| condition == bot.condition)
            && state.is_none_or(|state| state == entry.state())
            && bot.labels.contain(labels);
        passes.then(|| self.seen(slot))
    }

    pub(crate) fn update(&mut self, id: BotId, changes: BotChanges) -> Result<Bot> {
        let slot = self.slot(id)?;
        if changes.need_a_free_bot() {
            self.check_free(slot)?;
        }
        let BotChanges { password, labels, condition, domain, project } = changes;
        let labels = labels.map(|labels| self.bots.shared(&labels));
        self.reshape(slot, |entry| {
            let bot = &mut entry.bot;
            entry.password = password.unwrap_or_else(|| entry.password.clone());
            bot.labels = labels.unwrap_or_else(|| bot.labels.clone());
            bot.condition = condition.unwrap_or(bot.condition);
            bot.domain = domain.unwrap_or(bot.domain);
            bot.project = project.unwrap_or(bot.project);
        });
        let bot = self.seen(slot);
        self.rematch();
        Ok(bot)
    }

    pub(crate) fn delete(&mut self, id: BotId) -> Result<()> {
        let slot = self.slot(id)?;
        self.check_free(slot)?;
        self.unreserve();
        self.take_off_shelves(slot);
        if let Status::Cooling { rested } = self.bots[slot].status {
            self.timeline.cancel(rested);
        }
        self.bots.remove(slot);
        self.rematch();
        Ok(())
    }

    fn check_free(&self, slot: Slot) -> Result<()> {
        let Some(held) = self.holder_of(slot) else { return Ok(()) };
        Err(Error::InUse {
            bot: self.bots[slot].bot.id,
            holder: held.request.holder.clone(),
            expires_at: self.clock.shown(held.ends.at),
        })
    }
}

//! How bots come, change and go.

use botfarm_core::{
    Bot, BotChanges, BotId, Condition, Error, Field, ImportReport, NewBot, Result,
    rules::{self, Difference},
};

use super::Engine;
use crate::{
    bots::{Entry, Status},
    kept::Change,
    number::Slot,
};

impl Engine {
    /// Keeps a new bot, under this id.
    ///
    /// # Errors
    /// Those of [`BotFarm::create`](botfarm_core::BotFarm::create).
    pub fn create(&mut self, id: BotId, bot: NewBot) -> Result<Bot> {
        if self.bots.of_login(&bot.env, &bot.login.folded()).is_some() {
            return Err(Error::LoginTaken { login: bot.login, env: bot.env });
        }
        let slot = self.keep(id, bot);
        // As it was created, though a waiter may have it at once.
        let bot = self.seen(slot);
        self.offer(slot);
        Ok(bot)
    }

    /// Keeps a bot of a new login. The waiters are yet to be served.
    fn keep(&mut self, id: BotId, new: NewBot) -> Slot {
        let since = self.count();
        let mut bot = Bot::new(id, &new, self.now.timestamp());
        bot.labels = self.bots.shared(&new.labels);
        let mut entry = Entry::new(bot, Some(new.password), since);
        entry.indexes = self.indexes.fitting(&entry.bot, &self.policy);
        let slot = self.bots.insert(entry);
        self.put_into_buckets(slot);
        self.note(|engine| Change::Bot(engine.kept_bot(slot)));
        slot
    }

    /// Keeps many bots, all or nothing; the new ones under ids that are made when they are needed.
    ///
    /// # Errors
    /// Those of [`BotFarm::import`](botfarm_core::BotFarm::import).
    pub fn import(
        &mut self,
        rows: Vec<NewBot>,
        dry_run: bool,
        mut new_id: impl FnMut() -> BotId,
    ) -> Result<ImportReport> {
        let mut faults = rules::twins(&rows);
        let (mut report, mut changed) = (ImportReport::default(), Vec::new());
        for (row, new) in rows.into_iter().enumerate() {
            let Some(slot) = self.bots.of_login(&new.env, &new.login.folded()) else {
                report.created += 1;
                changed.push((None, new));
                continue;
            };
            let Entry { bot, password, .. } = &self.bots[slot];
            let difference = Difference {
                project: bot.project != new.project,
                domain: bot.domain != new.domain,
                login: bot.login.as_str() != new.login.as_str(),
                labels: bot.labels != new.labels,
                password: password.as_ref() != Some(&new.password),
            };
            if let Some(held) = self.holder_of(slot) {
                faults.extend(difference.held(row, &held.request.terms.holder).map(|fault| (row, fault)));
            }
            if difference.is_none() {
                report.unchanged += 1;
            } else {
                report.updated += 1;
                changed.push((Some(slot), new));
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
                        entry.password = Some(new.password);
                        entry.bot.labels = labels;
                        entry.bot.login = new.login;
                        (entry.bot.project, entry.bot.domain) = (new.project, new.domain);
                    });
                }
                None => drop(self.keep(new_id(), new)),
            }
        }
        self.rematch();
        Ok(report)
    }

    /// Changes a bot.
    ///
    /// # Errors
    /// Those of [`BotFarm::update`](botfarm_core::BotFarm::update).
    pub fn update(&mut self, id: BotId, changes: BotChanges) -> Result<Bot> {
        let slot = self.slot(id)?;
        if changes.need_a_free_bot() {
            self.check_free(slot)?;
        }
        let BotChanges { password, labels, condition, domain, project } = changes;
        let becomes_usable = condition.is_some_and(|condition| condition != Condition::Broken);
        if becomes_usable && password.is_none() && self.bots[slot].password.is_none() {
            return Err(Error::invalid(
                Field::Password,
                "must be given again, since what was kept of it cannot be read",
            ));
        }
        let labels = labels.map(|labels| self.bots.shared(&labels));
        self.reshape(slot, |entry| {
            let bot = &mut entry.bot;
            entry.password = password.or_else(|| entry.password.take());
            bot.labels = labels.unwrap_or_else(|| bot.labels.clone());
            bot.condition = condition.unwrap_or(bot.condition);
            bot.domain = domain.unwrap_or_else(|| bot.domain.clone());
            bot.project = project.unwrap_or_else(|| bot.project.clone());
        });
        let bot = self.seen(slot);
        self.rematch();
        Ok(bot)
    }

    /// Forgets a bot.
    ///
    /// # Errors
    /// Those of [`BotFarm::delete`](botfarm_core::BotFarm::delete).
    pub fn delete(&mut self, id: BotId) -> Result<()> {
        let slot = self.slot(id)?;
        self.check_free(slot)?;
        self.unreserve();
        self.take_out_of_buckets(slot);
        if let Status::Cooling { rested } = self.bots[slot].status {
            self.timeline.cancel(rested);
        }
        self.bots.remove(slot);
        self.note(|_| Change::BotDeleted(id));
        self.rematch();
        Ok(())
    }

    fn check_free(&self, slot: Slot) -> Result<()> {
        let Some(held) = self.holder_of(slot) else { return Ok(()) };
        Err(Error::InUse {
            bot: self.bots[slot].bot.id,
            holder: held.request.terms.holder.clone(),
            expires_at: held.ends.at.timestamp(),
        })
    }
}

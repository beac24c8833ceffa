//! How bots come, change and go.

use super::super::state::{Is, ModelLease};
use super::{BOTS, Game, Played, Stop, code, expect, labels, pick, same};
use crate::{Bot, BotChanges, BotFilter, Condition, ImportReport, NewBot, PageRequest};

impl Game {
    pub(super) fn new_bot(&self, kind: u8) -> NewBot {
        self.trial.new_bot().labels(labels(kind))
    }

    pub(super) async fn create(&mut self, kind: u8) -> Played {
        if self.state.bots.len() < BOTS {
            let new = self.new_bot(kind);
            let bot = expect(self.trial.farm().create(new.clone()).await, "create")?;
            self.state.add(bot, new.password);
        }
        Ok(())
    }

    /// Imports a bot that is known, with other labels, and one that is new.
    pub(super) async fn import(&mut self, bot: usize, kind: u8) -> Played {
        let new = (self.state.bots.len() < BOTS).then(|| self.new_bot(kind));
        let mut report = ImportReport { created: new.iter().count() as u64, ..ImportReport::default() };
        let mut rows: Vec<_> = new.iter().cloned().collect();
        let known = pick(&self.state.bots, bot).map(|bot| bot.bot.id);
        if let Some(bot) = known.and_then(|id| self.state.bot_mut(id)) {
            let differs = bot.bot.labels != labels(kind);
            bot.bot.labels = labels(kind);
            (report.updated, report.unchanged) = (u64::from(differs), u64::from(!differs));
            let Bot { login, project, env, .. } = bot.bot.clone();
            rows.push(NewBot::new(login, bot.password.clone(), project, env).labels(labels(kind)));
        }
        let told = expect(self.trial.farm().import(rows, false).await, "import")?;
        same(&told, &report, "an import's report")?;
        if let Some(new) = new {
            let filter = BotFilter { login: Some(new.login.clone()), ..BotFilter::default() };
            let listed = self.trial.farm().list(&filter, &PageRequest::default()).await;
            let [bot] = &expect(listed, "list")?.items[..] else {
                return Err(Stop::Found(format!("an imported bot is not listed: {}", new.login)));
            };
            let bot = Bot { holding: None, cooling_until: None, ..bot.clone() };
            self.state.add(bot, new.password);
        }
        Ok(())
    }

    pub(super) async fn update(&mut self, bot: usize, kind: Option<u8>, condition: Option<Condition>) -> Played {
        let Some(bot) = pick(&self.state.bots, bot) else { return Ok(()) };
        let (id, in_use) = (bot.bot.id, matches!(bot.is, Is::Held(_)) && condition.is_some());
        let changes = BotChanges { labels: kind.map(labels), condition, ..BotChanges::default() };
        let answer = self.trial.farm().update(id, changes).await;
        same(&code(&answer), &in_use.then_some("in-use"), "an update's answer")?;
        if let Some(bot) = self.state.bot_mut(id).filter(|_| !in_use) {
            bot.bot.labels = kind.map_or_else(|| bot.bot.labels.clone(), labels);
            bot.bot.condition = condition.unwrap_or(bot.bot.condition);
        }
        Ok(())
    }

    pub(super) async fn delete(&mut self, bot: usize) -> Played {
        let Some(bot) = pick(&self.state.bots, bot) else { return Ok(()) };
        let (id, held) = (bot.bot.id, matches!(bot.is, Is::Held(_)));
        let answer = self.trial.farm().delete(id).await;
        same(&code(&answer), &held.then_some("in-use"), "a deletion's answer")?;
        if !held {
            self.state.bots.retain(|bot| bot.bot.id != id);
            // A bot takes its history with it: what an id of it is told then is up to the farm.
            let gone = |(lease, _): &mut (ModelLease, _)| lease.bots.iter().any(|(bot, _)| *bot == id);
            for (lease, _) in self.state.ended.extract_if(.., gone) {
                self.asked.retain(|request| request.id != lease.request.id);
            }
        }
        Ok(())
    }
}

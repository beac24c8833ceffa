//! What a file does not have any more.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use botfarm_core::{BotFarm, BotFarmExt, BotFilter, Env, Error, NewBot, ProjectId};
use serde::Serialize;

use super::Updates;
use crate::{failure::Failure, output::named};

/// The accounts of a file, and where else accounts are none of its business.
pub(super) struct Kept {
    places: BTreeSet<(ProjectId, Env)>,
    accounts: HashSet<(Env, String)>,
}

/// The accounts that the file does not have.
#[derive(Debug, Serialize)]
pub(super) struct Pruned {
    /// Those that were taken away, or would be.
    #[serde(rename = "pruned")]
    removed: Vec<String>,
    /// Those that somebody holds: they stay.
    held: Vec<String>,
    #[serde(skip)]
    dry_run: bool,
}

impl Kept {
    pub(super) fn of(bots: &[NewBot], updates: &Updates) -> Self {
        let mut kept = Self { places: BTreeSet::new(), accounts: HashSet::new() };
        for bot in bots {
            kept.places.insert((bot.project.clone(), bot.env.clone()));
            kept.accounts.insert((bot.env.clone(), bot.login.folded()));
        }
        for bot in updates.bots() {
            kept.places.insert((bot.project.clone(), bot.env.clone()));
            kept.accounts.insert((bot.env.clone(), bot.login.folded()));
        }
        kept
    }

    /// Takes the others away, or lists them.
    pub(super) async fn prune(self, farm: &Arc<dyn BotFarm>, dry_run: bool) -> Result<Pruned, Failure> {
        let mut pruned = Pruned { removed: Vec::new(), held: Vec::new(), dry_run };
        for (project, env) in &self.places {
            let filter = BotFilter { project: Some(project.clone()), env: Some(env.clone()), ..BotFilter::default() };
            for bot in farm.list_all(&filter).await? {
                if self.accounts.contains(&(env.clone(), bot.login.folded())) {
                    continue;
                }
                let is_held = if dry_run {
                    bot.holding.is_some()
                } else {
                    match farm.delete(bot.id).await {
                        Ok(()) | Err(Error::NoSuchBot { .. }) => false,
                        Err(Error::InUse { .. }) => true,
                        Err(error) => return Err(error.into()),
                    }
                };
                let list = if is_held { &mut pruned.held } else { &mut pruned.removed };
                list.push(named(&bot));
            }
        }
        Ok(pruned)
    }
}

impl Pruned {
    /// A line for those that went, and one for those that stay.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        let went = if self.dry_run { "would be removed" } else { "removed" };
        let lines =
            [(went, &self.removed), ("not in the file, but held, so they stay until the next import", &self.held)];
        lines
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what} ({}): {}", names.len(), names.join(", ")))
    }
}

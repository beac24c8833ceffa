//! Rows without a password: they change accounts that the farm has.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use botfarm_core::{
    AllowedNames, Bot, BotChanges, BotFarm, BotFarmExt, BotFilter, Env, Error, Fault, Faults, Field, ImportReport,
    Location, rules::Difference,
};
use botfarm_http::import::Update;

use crate::failure::Failure;

/// What is to be changed about which account.
pub(super) struct Updates(Vec<(Bot, BotChanges)>);

/// Checks the domains that rows take accounts to.
pub(super) fn check(names: &AllowedNames, updates: &[Update]) -> Result<(), Error> {
    let mut faults = Faults::default();
    for update in updates {
        if let Err(Error::Invalid { faults: of_row }) = names.check_changes(&update.changes) {
            let in_row = |fault: Fault| Fault { at: fault.at.in_row(update.row), ..fault };
            faults.extend(of_row.into_iter().map(in_row));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.into()) }
}

impl Updates {
    /// Finds the accounts, and what of the rows is news about them.
    ///
    /// # Errors
    /// That the farm cannot be reached; within, what is wrong with the rows.
    pub(super) async fn plan(farm: &Arc<dyn BotFarm>, rows: Vec<Update>) -> Result<Result<Self, Error>, Failure> {
        let mut known: HashMap<(Env, String), Bot> = HashMap::new();
        let mut envs: Vec<_> = rows.iter().map(|row| row.env.clone()).collect();
        envs.sort_unstable();
        envs.dedup();
        for env in envs {
            let filter = BotFilter { env: Some(env.clone()), ..BotFilter::default() };
            let bots = farm.list_all(&filter).await?;
            known.extend(bots.into_iter().map(|bot| ((env.clone(), bot.login.folded()), bot)));
        }
        let (mut planned, mut faults, mut above) = (Vec::with_capacity(rows.len()), Faults::default(), HashSet::new());
        for Update { row, login, env, changes } in rows {
            let account = (env.clone(), login.folded());
            let Some(bot) = known.remove(&account) else {
                faults.push(if above.contains(&account) {
                    Fault::new(Location::row(row).field(Field::Login), "names an account that a row above names")
                } else {
                    let detail = format!("is required: {env} has no account of this login yet");
                    Fault::new(Location::row(row).field(Field::Password), detail)
                });
                continue;
            };
            above.insert(account);
            let changes = news(&bot, changes);
            if let Some(holding) = bot.holding.as_ref().filter(|_| changes.need_a_free_bot()) {
                let moved = Difference {
                    project: changes.project.is_some(),
                    domain: changes.domain.is_some(),
                    ..Difference::default()
                };
                faults.extend(moved.held(row, &holding.terms.holder));
            }
            planned.push((bot, changes));
        }
        Ok(if faults.is_empty() { Ok(Self(planned)) } else { Err(faults.into()) })
    }

    /// The accounts.
    pub(super) fn bots(&self) -> impl Iterator<Item = &Bot> {
        self.0.iter().map(|(bot, _)| bot)
    }

    /// Makes the changes, and counts them.
    pub(super) async fn make(
        self,
        farm: &dyn BotFarm,
        dry_run: bool,
        report: &mut ImportReport,
    ) -> Result<(), Failure> {
        for (bot, changes) in self.0 {
            if changes == BotChanges::default() {
                report.unchanged += 1;
                continue;
            }
            if !dry_run {
                farm.update(bot.id, changes).await.map_err(|error| {
                    let done = report.created + report.updated;
                    let name = format!("{}/{}", bot.env, bot.login);
                    Failure::new(format!(
                        "{name} was not changed: {error}; {done} accounts before it were created or updated, and an \
                         import of the same file goes on from there"
                    ))
                })?;
            }
            report.updated += 1;
        }
        Ok(())
    }
}

/// What of some changes a bot does not have yet.
fn news(bot: &Bot, changes: BotChanges) -> BotChanges {
    let BotChanges { labels, domain, project, .. } = changes;
    BotChanges {
        labels: labels.filter(|labels| *labels != bot.labels),
        domain: domain.filter(|domain| *domain != bot.domain),
        project: project.filter(|project| *project != bot.project),
        ..BotChanges::default()
    }
}

//! A farm that ends where a token's scope does.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use botfarm_core::{
    ActiveLease, Bot, BotChanges, BotFarm, BotFilter, BotId, BotRelease, Cursor, EndedRun, Ending, Error, Fault,
    Faults, Field, HandOut, HandOutFilter, ImportReport, Lease, LeaseId, LeaseRecord, LeaseRequest, Location, NewBot,
    Page, PageRequest, QueuedRequest, Result, Revocation, Run, RunEnding, Selector, Stats, operators::Scope,
};

use crate::wire::pointer;

/// What of a farm is within a scope: the rest is as if it did not exist.
///
/// Two things of the whole farm cannot be hidden: that a login is taken in an env, and that a lease ends for all its
/// bots when it ends for one of them.
#[derive(Debug, Clone)]
pub(super) struct Confined {
    farm: Arc<dyn BotFarm>,
    scope: Scope,
}

impl Confined {
    pub(super) fn new(farm: Arc<dyn BotFarm>, scope: Scope) -> Self {
        Self { farm, scope }
    }

    /// What is wrong with the place of a bot that is out of scope.
    fn misplaced(&self, bot: &NewBot, at: &Location) -> Faults {
        let Scope { project, env } = &self.scope;
        let project = project.as_ref().filter(|only| **only != bot.project);
        let env = env.as_ref().filter(|only| **only != bot.env);
        let project = project.map(|only| Fault::new(at.clone().field(Field::Project), confined_to(only)));
        project.into_iter().chain(env.map(|only| Fault::new(at.clone().field(Field::Env), confined_to(only)))).collect()
    }

    /// Whether the env has an account of this login out of scope, which an import would pull in.
    async fn is_elsewhere(&self, bot: &NewBot) -> Result<bool> {
        let filter = BotFilter { env: Some(bot.env.clone()), login: Some(bot.login.clone()), ..BotFilter::default() };
        let found = self.farm.list(&filter, &PageRequest::first(1)).await?;
        Ok(found.items.iter().any(|bot| !self.scope.contains(bot)))
    }

    /// Whether a selector wants nothing but what is within the scope.
    fn is_within(&self, selector: &Selector) -> bool {
        let Scope { project, env } = &self.scope;
        (project.is_none() || *project == selector.project) && (env.is_none() || *env == selector.env)
    }

    /// The same selector within the scope. One for bots out of it becomes one for a bot that does not exist.
    fn narrowed(&self, selector: &Selector) -> Selector {
        let Scope { project, env } = self.scope.clone();
        let reaches_out =
            is_another(project.as_ref(), selector.project.as_ref()) || is_another(env.as_ref(), selector.env.as_ref());
        Selector {
            id: if reaches_out { Some(BotId::new()) } else { selector.id },
            project: project.or_else(|| selector.project.clone()),
            env: env.or_else(|| selector.env.clone()),
            ..selector.clone()
        }
    }

    /// A page of the leases, or of those of a run, that have a bot in scope, with those bots.
    async fn within(&self, run: Option<&Run>, page: &PageRequest) -> Result<Page<ActiveLease>> {
        let limit = page.checked_limit()?;
        let after = page.cursor.as_ref().map(Cursor::bot).transpose()?;
        let mut within = BTreeMap::new();
        let mut all = PageRequest::first(PageRequest::MAX);
        loop {
            let Page { items, next } = match run {
                Some(run) => self.farm.leases_of_run(run, &all).await?,
                None => self.farm.leases(&all).await?,
            };
            for mut lease in items {
                lease.bots.retain(|(_, bot)| self.scope.contains(bot));
                let least = lease.bots.iter().map(|(_, bot)| bot.id).min();
                if let Some(least) = least.filter(|least| after.is_none_or(|after| *least > after)) {
                    within.insert(least, lease);
                }
            }
            if next.is_none() {
                break;
            }
            all = all.after(next);
        }
        let page = within.into_iter().take(limit + 1).collect();
        Ok(Page::of(page, limit, |(least, _)| Cursor::after_bot(*least)).map(|(_, lease)| lease))
    }

    fn covers(&self, lease: &Lease) -> bool {
        lease.bots.iter().all(|leased| self.scope.contains(&leased.bot))
    }
}

/// Whether what is asked for is something else than what alone is to be had.
fn is_another<T: PartialEq>(only: Option<T>, asked: Option<T>) -> bool {
    only.zip(asked).is_some_and(|(only, asked)| only != asked)
}

fn confined_to(only: impl std::fmt::Display) -> String {
    format!("must be {only}: the token is confined to it")
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl BotFarm for Confined {
    async fn create(&self, bot: NewBot) -> Result<Bot> {
        if let Some(Fault { at, detail }) = Vec::from(self.misplaced(&bot, &Location::whole())).into_iter().next() {
            return Err(Error::Forbidden { detail: format!("{} {detail}", pointer(&at).trim_start_matches('/')) });
        }
        self.farm.create(bot).await
    }

    async fn import(&self, bots: Vec<NewBot>, dry_run: bool) -> Result<ImportReport> {
        let mut faults = Faults::default();
        for (row, bot) in bots.iter().enumerate() {
            let misplaced = self.misplaced(bot, &Location::row(row));
            // Within one env, a login is in one project.
            if misplaced.is_empty() && self.scope.project.is_some() && self.is_elsewhere(bot).await? {
                faults.push(Fault::new(Location::row(row).field(Field::Login), "is taken in this env"));
            }
            faults.append(misplaced);
        }
        if !faults.is_empty() {
            return Err(faults.into());
        }
        self.farm.import(bots, dry_run).await
    }

    async fn get(&self, id: BotId) -> Result<Bot> {
        let bot = self.farm.get(id).await?;
        if self.scope.contains(&bot) { Ok(bot) } else { Err(Error::NoSuchBot { id }) }
    }

    async fn list(&self, filter: &BotFilter, page: &PageRequest) -> Result<Page<Bot>> {
        let Scope { project, env } = self.scope.clone();
        let (own, asked) = ((project.as_ref(), env.as_ref()), (filter.project.as_ref(), filter.env.as_ref()));
        if is_another(own.0, asked.0) || is_another(own.1, asked.1) {
            page.checked_limit()?;
            page.cursor.as_ref().map(Cursor::bot).transpose()?;
            return Ok(Page { items: Vec::new(), next: None });
        }
        let filter = filter.clone();
        let filter = BotFilter { project: project.or(filter.project), env: env.or(filter.env), ..filter };
        self.farm.list(&filter, page).await
    }

    async fn update(&self, id: BotId, changes: BotChanges) -> Result<Bot> {
        self.get(id).await?;
        if let Some(only) = self.scope.project.as_ref().filter(|only| is_another(Some(*only), changes.project.as_ref()))
        {
            return Err(Error::Forbidden { detail: format!("project_id {}", confined_to(only)) });
        }
        self.farm.update(id, changes).await
    }

    async fn delete(&self, id: BotId) -> Result<()> {
        self.get(id).await?;
        self.farm.delete(id).await
    }

    async fn acquire(&self, request: LeaseRequest) -> Result<Lease> {
        let asked = request.selectors;
        let selectors = asked.iter().map(|selector| self.narrowed(selector)).collect();
        match self.farm.acquire(LeaseRequest { selectors, ..request }).await {
            // A lease in force that somebody else has acquired under this id.
            Ok(lease) if !self.covers(&lease) => Err(Error::KeyReused),
            // In the words of the request, and without those of the farm, which may speak of what else there is.
            Err(Error::NoMatch { selector, .. }) => {
                let described = asked.get(selector).map_or_else(String::new, Selector::to_string);
                Err(Error::NoMatch { selector, detail: format!("no user that this token may use matches {described}") })
            }
            answer => answer,
        }
    }

    async fn lookup(&self, id: LeaseId) -> Result<Lease> {
        let lease = self.farm.lookup(id).await?;
        if self.covers(&lease) { Ok(lease) } else { Err(Error::NoSuchLease) }
    }

    async fn renew(&self, id: LeaseId, ttl: Option<Duration>) -> Result<Lease> {
        self.lookup(id).await?;
        self.farm.renew(id, ttl).await
    }

    async fn release(&self, id: LeaseId, ending: Ending) -> Result<()> {
        match self.lookup(id).await {
            // To release a lease again succeeds.
            Ok(_) | Err(Error::LeaseLost(_)) => self.farm.release(id, ending).await,
            Err(error) => Err(error),
        }
    }

    async fn release_bot(&self, bot: BotId, release: BotRelease) -> Result<()> {
        self.get(bot).await?;
        self.farm.release_bot(bot, release).await
    }

    async fn revoke(&self, bot: BotId, revocation: Revocation) -> Result<()> {
        self.get(bot).await?;
        self.farm.revoke(bot, revocation).await
    }

    /// Of a confined caller's runs only what it has leased itself: the rest may be out of scope.
    async fn end_run(&self, run: &Run, ending: RunEnding) -> Result<EndedRun> {
        if ending.owner.is_none() && !self.scope.is_everything() {
            let detail = "this token is confined: of a run it ends what it has leased itself".to_owned();
            return Err(Error::Forbidden { detail });
        }
        self.farm.end_run(run, ending).await
    }

    async fn leases_of_run(&self, run: &Run, page: &PageRequest) -> Result<Page<ActiveLease>> {
        self.within(Some(run), page).await
    }

    /// Every lease that has a bot in scope, with those bots, ordered by the least id among them. That is another order
    /// than the farm's, and a cursor of the farm's could name a bot out of scope: so each page looks at all leases.
    async fn leases(&self, page: &PageRequest) -> Result<Page<ActiveLease>> {
        self.within(None, page).await
    }

    /// The hand-outs of the bot while it was in scope: who had it in another project is that project's to know.
    async fn history(&self, bot: BotId, page: &PageRequest) -> Result<Page<LeaseRecord>> {
        self.get(bot).await?;
        let Some(only) = &self.scope.project else { return self.farm.history(bot, page).await };
        let limit = page.checked_limit()?;
        let mut all = PageRequest { limit: limit.max(100), cursor: page.cursor.clone() };
        let mut within = Vec::new();
        loop {
            let Page { items, next } = self.farm.history(bot, &all).await?;
            within.extend(items.into_iter().filter(|record| record.project == *only));
            if next.is_none() || within.len() > limit {
                return Ok(Page::of(within, limit, |record| Cursor::before_fence(record.fence)));
            }
            all = all.after(next);
        }
    }

    async fn hand_outs(&self, filter: &HandOutFilter, page: &PageRequest) -> Result<Page<HandOut>> {
        let Scope { project, env } = self.scope.clone();
        if is_another(project.as_ref(), filter.project.as_ref()) || is_another(env.as_ref(), filter.env.as_ref()) {
            page.checked_limit()?;
            return Ok(Page { items: Vec::new(), next: None });
        }
        let mut filter = filter.clone();
        (filter.project, filter.env) = (project.or(filter.project), env.or(filter.env));
        self.farm.hand_outs(&filter, page).await
    }

    /// The requests that want nothing but what is within the scope, with their places among each other.
    async fn queue(&self, page: &PageRequest) -> Result<Page<QueuedRequest>> {
        if self.scope.is_everything() {
            return self.farm.queue(page).await;
        }
        let limit = page.checked_limit()?;
        let after = page.cursor.as_ref().map(Cursor::ticket).transpose()?.unwrap_or_default();
        let (mut within, mut place, mut all) = (Vec::new(), 0, PageRequest::first(PageRequest::MAX));
        loop {
            let Page { items, next } = self.farm.queue(&all).await?;
            for request in items.into_iter().filter(|request| request.selectors.iter().all(|of| self.is_within(of))) {
                place += 1;
                if place > after && within.len() <= limit {
                    within.push(QueuedRequest { place, ..request });
                }
            }
            if next.is_none() {
                return Ok(Page::of(within, limit, |request| Cursor::after_ticket(request.place)));
            }
            all = all.after(next);
        }
    }

    /// Of the queue a farm tells its whole length alone, which is not a confined caller's to know.
    async fn stats(&self) -> Result<Stats> {
        let mut stats = self.farm.stats().await?;
        stats.pools.retain(|pool| self.scope.covers(&pool.project, &pool.env));
        if !self.scope.is_everything() {
            stats.waiting = 0;
        }
        Ok(stats)
    }

    async fn check(&self) -> Result<()> {
        self.farm.check().await
    }
}

/// With nothing out of scope, all that a farm promises holds.
#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};

    use botfarm_core::conformance::{Fixture, policy};
    use botfarm_memory::MemoryFarm;

    use super::*;

    #[derive(Debug)]
    struct Views(Arc<dyn BotFarm>);

    impl Fixture for Views {
        fn handles(&self) -> Vec<Arc<dyn BotFarm>> {
            vec![Arc::new(Confined::new(self.0.clone(), Scope::default())), self.0.clone()]
        }
    }

    fn farm() -> Ready<Views> {
        ready(Views(Arc::new(MemoryFarm::with_policy(policy()))))
    }

    botfarm_core::conformance!(farm);
    botfarm_core::conformance_local!(farm);
}

//! The pools that bots are counted in: one for each project, env and domain that has bots.

use std::collections::BTreeMap;

use botfarm_core::{Bot, Domain, Env, Place, ProjectId};
use slab::Slab;

use crate::{
    bucket::{Bucket, Counts},
    number::PoolId,
};

/// The bots of one project, env and domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) place: Place,
    pub(crate) counts: Counts,
}

/// Every pool.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    slab: Slab<Pool>,
    by_names: BTreeMap<(ProjectId, Env, Domain), PoolId>,
}

impl Pools {
    /// The pool that a bot belongs in, which is made if there is none. From then on the bot has its names in memory that
    /// all of the pool share.
    pub(crate) fn of(&mut self, bot: &mut Bot) -> PoolId {
        let names = (bot.project.clone(), bot.env.clone(), bot.domain.clone());
        let id = *self.by_names.entry(names).or_insert_with_key(|(project, env, domain)| {
            let place = Place { project: project.clone(), env: env.clone(), domain: domain.clone() };
            self.slab.insert(Pool { place, counts: Counts::default() })
        });
        let place = &self.slab[id].place;
        bot.project.clone_from(&place.project);
        bot.env.clone_from(&place.env);
        bot.domain.clone_from(&place.domain);
        id
    }

    /// Counts a bot elsewhere. A pool that has none left is gone.
    pub(crate) fn shift(&mut self, id: PoolId, from: Option<Bucket>, to: Option<Bucket>) {
        let pool = &mut self.slab[id];
        if let Some(from) = from {
            pool.counts[from] -= 1;
        }
        if let Some(to) = to {
            pool.counts[to] += 1;
        } else if pool.counts.total() == 0 {
            let Place { project, env, domain } = self.slab.remove(id).place;
            self.by_names.remove(&(project, env, domain));
        }
    }

    /// All of them, by project, env and domain.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pool> {
        self.by_names.values().map(|id| &self.slab[*id])
    }
}

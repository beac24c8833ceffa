//! A bot on the wire: a user.

use std::sync::Arc;

use botfarm_core::{
    Bot, BotChanges, BotId, Condition, Domain, Env, Holding, Labels, Login, NewBot, PoolStats, ProjectId,
};
use serde::{Deserialize, Serialize};

use super::{
    macros::request,
    terms::Terms,
    value::{Password, Time},
};

/// A test account, as everybody may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct User {
    /// Its id.
    pub id: BotId,
    /// The name that it logs in with; unique within its env, case aside.
    pub login: Login,
    /// The project it belongs to.
    pub project_id: ProjectId,
    /// The installation it belongs to.
    pub env: Env,
    /// The kind of account it is.
    pub domain: Domain,
    /// What else is known of it.
    pub labels: Labels,
    /// Whether it is fit for use.
    pub condition: Condition,
    /// When the farm got it.
    pub created_at: Time,
    /// When it was handed out; null when it is free.
    pub locktime: Option<Time>,
    /// Until when it rests after its last lease; null when it does not.
    pub cooling_until: Option<Time>,
    /// The lease that holds it; null when it is free.
    pub lease: Option<UserLease>,
}

/// What everybody may know of the lease that holds a user: all but its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct UserLease {
    /// Who holds it, and what else it carries along.
    #[serde(flatten)]
    pub terms: Terms,
    /// Since when.
    pub since: Time,
    /// When the lease ends unless it is renewed.
    pub expires_at: Time,
}

impl From<Bot> for User {
    fn from(bot: Bot) -> Self {
        Self {
            id: bot.id,
            login: bot.login,
            project_id: bot.project,
            env: bot.env,
            domain: bot.domain,
            labels: bot.labels,
            condition: bot.condition,
            created_at: Time(bot.created_at),
            locktime: bot.holding.as_ref().map(|holding| Time(holding.since)),
            cooling_until: bot.cooling_until.map(Time),
            lease: bot.holding.map(UserLease::from),
        }
    }
}

impl From<User> for Bot {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            login: user.login,
            project: user.project_id,
            env: user.env,
            domain: user.domain,
            labels: user.labels,
            condition: user.condition,
            created_at: user.created_at.0,
            holding: user.lease.map(Holding::from),
            cooling_until: user.cooling_until.map(|at| at.0),
        }
    }
}

impl From<Holding> for UserLease {
    fn from(holding: Holding) -> Self {
        let Holding { terms, since, expires_at } = holding;
        Self { terms: terms.into(), since: Time(since), expires_at: Time(expires_at) }
    }
}

impl From<UserLease> for Holding {
    fn from(lease: UserLease) -> Self {
        let UserLease { terms, since, expires_at } = lease;
        Self { terms: Arc::new(terms.into()), since: since.0, expires_at: expires_at.0 }
    }
}

request! {
    /// An account to be kept: the body of `POST /users`, and each row of an import.
    pub struct NewUser {
        /// The name that it logs in with.
        login: Login = required,
        /// The password that it logs in with.
        password: Password = required,
        /// The project it belongs to.
        project_id: ProjectId = required,
        /// The installation it belongs to.
        env: Env = required,
        /// The kind of account it is. `canary` unless given.
        #[cfg_attr(feature = "server", schema(value_type = Option<Domain>))]
        domain: Domain = default,
        /// What else is known of it. None unless given.
        #[cfg_attr(feature = "server", schema(value_type = Option<Labels>))]
        labels: Labels = default,
    }
}

impl From<NewBot> for NewUser {
    fn from(bot: NewBot) -> Self {
        let NewBot { login, password, project, env, domain, labels } = bot;
        Self { login, password: Password(password), project_id: project, env, domain, labels }
    }
}

impl From<NewUser> for NewBot {
    fn from(user: NewUser) -> Self {
        let NewUser { login, password, project_id, env, domain, labels } = user;
        Self { login, password: password.0, project: project_id, env, domain, labels }
    }
}

request! {
    /// What to change about a user: the body of `PATCH /users/{id}`. What is not given stays as it is.
    #[derive(Default)]
    pub struct UserChanges {
        /// A new password.
        #[serde(skip_serializing_if = "Option::is_none")]
        password: Option<Password> = optional,
        /// New labels, in place of all the old ones.
        #[serde(skip_serializing_if = "Option::is_none")]
        labels: Option<Labels> = optional,
        /// Another condition. Needs a user that nobody holds.
        #[serde(skip_serializing_if = "Option::is_none")]
        condition: Option<Condition> = optional,
        /// Another domain. Needs a user that nobody holds.
        #[serde(skip_serializing_if = "Option::is_none")]
        domain: Option<Domain> = optional,
        /// Another project. Needs a user that nobody holds.
        #[serde(skip_serializing_if = "Option::is_none")]
        project_id: Option<ProjectId> = optional,
    }
}

impl From<BotChanges> for UserChanges {
    fn from(changes: BotChanges) -> Self {
        let BotChanges { password, labels, condition, domain, project } = changes;
        Self { password: password.map(Password), labels, condition, domain, project_id: project }
    }
}

impl From<UserChanges> for BotChanges {
    fn from(changes: UserChanges) -> Self {
        let UserChanges { password, labels, condition, domain, project_id } = changes;
        Self { password: password.map(|password| password.0), labels, condition, domain, project: project_id }
    }
}

/// How the farm is doing, all of it: the answer of `GET /stats`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Stats {
    /// Its users, counted by project, env and domain, in that order.
    pub pools: Vec<Pool>,
    /// How many requests stand in the queue.
    pub waiting: u64,
}

/// The users of one project, env and domain. Each is counted once: `total` is the sum of the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Pool {
    /// The project.
    pub project_id: ProjectId,
    /// The env.
    pub env: Env,
    /// The domain.
    pub domain: Domain,
    /// All of them.
    pub total: u64,
    /// Ready, and nobody holds them.
    pub free: u64,
    /// Held.
    pub leased: u64,
    /// Resting.
    pub cooling: u64,
    /// Dirty; nobody holds them, and they do not rest.
    pub dirty: u64,
    /// Broken; nobody holds them, and they do not rest.
    pub broken: u64,
}

impl From<botfarm_core::Stats> for Stats {
    fn from(stats: botfarm_core::Stats) -> Self {
        Self { pools: stats.pools.into_iter().map(Pool::from).collect(), waiting: stats.waiting }
    }
}

impl From<Stats> for botfarm_core::Stats {
    fn from(stats: Stats) -> Self {
        Self::new(stats.pools.into_iter().map(PoolStats::from).collect(), stats.waiting)
    }
}

impl From<PoolStats> for Pool {
    fn from(pool: PoolStats) -> Self {
        let PoolStats { project, env, domain, total, free, leased, cooling, dirty, broken, .. } = pool;
        Self { project_id: project, env, domain, total, free, leased, cooling, dirty, broken }
    }
}

impl From<Pool> for PoolStats {
    fn from(pool: Pool) -> Self {
        let Pool { project_id, env, domain, total, free, leased, cooling, dirty, broken } = pool;
        let mut stats = Self::new(project_id, env, domain);
        (stats.total, stats.free, stats.leased) = (total, free, leased);
        (stats.cooling, stats.dirty, stats.broken) = (cooling, dirty, broken);
        stats
    }
}

/// What was done, for people to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Message {
    /// One sentence.
    pub message: String,
}

/// Whether the service can serve: the answer of `/health`, `/livez` and `/readyz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Health {
    /// Whether it can.
    pub status: HealthStatus,
}

/// Whether the service can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// It can.
    Healthy,
    /// The farm's store cannot be reached.
    Unhealthy,
    /// It is about to stop.
    Draining,
}

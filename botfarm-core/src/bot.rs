//! One real test account.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    condition::{BotState, Condition},
    id::BotId,
    labels::Labels,
    name::{Domain, Env, ProjectId},
    secret::Secret,
    terms::Terms,
    text::Login,
    time::Timestamp,
};

/// A bot as everybody may see it: without its password, and without the id of the lease that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bot {
    /// Its id, made by the farm.
    pub id: BotId,
    /// The name that it logs in with; unique within its env, case aside.
    pub login: Login,
    /// The project it belongs to.
    pub project: ProjectId,
    /// The installation it belongs to.
    pub env: Env,
    /// The kind of account it is.
    pub domain: Domain,
    /// What else is known of it.
    pub labels: Labels,
    /// Whether it is fit for use.
    pub condition: Condition,
    /// When the farm got it.
    pub created_at: Timestamp,
    /// Who holds it, if anybody does.
    pub holding: Option<Holding>,
    /// Until when it rests, if it does.
    pub cooling_until: Option<Timestamp>,
}

impl Bot {
    /// A bot that nobody holds; for those who write a backend.
    #[must_use]
    pub fn new(id: BotId, bot: &NewBot, created_at: Timestamp) -> Self {
        Self {
            id,
            login: bot.login.clone(),
            project: bot.project.clone(),
            env: bot.env.clone(),
            domain: bot.domain.clone(),
            labels: bot.labels.clone(),
            condition: Condition::Ready,
            created_at,
            holding: None,
            cooling_until: None,
        }
    }

    /// What the farm is doing with it.
    #[must_use]
    pub fn state(&self) -> BotState {
        match (&self.holding, self.cooling_until) {
            (Some(_), _) => BotState::Leased,
            (None, Some(_)) => BotState::Cooling,
            (None, None) => BotState::Free,
        }
    }
}

/// The lease that holds a bot: all but its id. Over the wire, everybody may know it, but for the owner and the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Who holds it, and what else it carries along.
    pub terms: Arc<Terms>,
    /// Since when.
    pub since: Timestamp,
    /// When the lease ends unless it is renewed.
    pub expires_at: Timestamp,
}

/// A bot to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBot {
    /// The name that it logs in with.
    pub login: Login,
    /// The password that it logs in with.
    pub password: Secret,
    /// The project it belongs to.
    pub project: ProjectId,
    /// The installation it belongs to.
    pub env: Env,
    /// The kind of account it is.
    pub domain: Domain,
    /// What else is known of it.
    pub labels: Labels,
}

impl NewBot {
    /// A bot of the default domain, without labels.
    #[must_use]
    pub fn new(login: Login, password: Secret, project: ProjectId, env: Env) -> Self {
        Self { login, password, project, env, domain: Domain::default(), labels: Labels::none() }
    }

    /// The same bot, of this domain.
    #[must_use]
    pub fn domain(self, domain: Domain) -> Self {
        Self { domain, ..self }
    }

    /// The same bot, with these labels instead of its own.
    #[must_use]
    pub fn labels(self, labels: Labels) -> Self {
        Self { labels, ..self }
    }
}

/// What to change about a bot. What is `None` stays as it is.
///
/// Password and labels may change at any time; project, domain and condition only while nobody holds the bot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BotChanges {
    /// A new password. Who holds the bot sees it at the next look-up or renewal.
    pub password: Option<Secret>,
    /// New labels, in place of all the old ones.
    pub labels: Option<Labels>,
    /// Another condition.
    pub condition: Option<Condition>,
    /// Another domain.
    pub domain: Option<Domain>,
    /// Another project.
    pub project: Option<ProjectId>,
}

impl BotChanges {
    /// Whether the bot must be free for them.
    #[must_use]
    pub fn need_a_free_bot(&self) -> bool {
        self.condition.is_some() || self.domain.is_some() || self.project.is_some()
    }
}

/// What an import did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReport {
    /// Bots that the farm did not have.
    pub created: u64,
    /// Bots that it had, with something else about them.
    pub updated: u64,
    /// Bots that it had just so.
    pub unchanged: u64,
}

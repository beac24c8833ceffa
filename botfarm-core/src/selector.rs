//! Which bot is wanted.

use std::fmt;

use crate::{
    bot::Bot,
    condition::Condition,
    id::BotId,
    labels::Labels,
    name::{Domain, Env, ProjectId},
    text::{Alias, Login},
};

/// Which bot is wanted: all that is given must match. An empty selector matches any ready bot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    /// What the bot is called within the lease; `as` on the wire.
    pub alias: Option<Alias>,
    /// This very bot.
    pub id: Option<BotId>,
    /// The bot with this login, case aside.
    pub login: Option<Login>,
    /// A bot of this project.
    pub project: Option<ProjectId>,
    /// A bot of this env.
    pub env: Option<Env>,
    /// A bot of this domain.
    pub domain: Option<Domain>,
    /// A bot with all of these labels.
    pub labels: Labels,
    /// A bot in this condition.
    pub condition: Condition,
}

impl Selector {
    /// Any bot that is ready.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// This very bot.
    #[must_use]
    pub fn bot(id: BotId) -> Self {
        Self { id: Some(id), ..Self::default() }
    }

    /// The same, under this alias.
    #[must_use]
    pub fn alias(self, alias: Alias) -> Self {
        Self { alias: Some(alias), ..self }
    }

    /// The same, with this login.
    #[must_use]
    pub fn login(self, login: Login) -> Self {
        Self { login: Some(login), ..self }
    }

    /// The same, of this project.
    #[must_use]
    pub fn project(self, project: ProjectId) -> Self {
        Self { project: Some(project), ..self }
    }

    /// The same, of this env.
    #[must_use]
    pub fn env(self, env: Env) -> Self {
        Self { env: Some(env), ..self }
    }

    /// The same, of this domain.
    #[must_use]
    pub fn domain(self, domain: Domain) -> Self {
        Self { domain: Some(domain), ..self }
    }

    /// The same, with these labels.
    #[must_use]
    pub fn labels(self, labels: Labels) -> Self {
        Self { labels, ..self }
    }

    /// The same, in this condition.
    #[must_use]
    pub fn condition(self, condition: Condition) -> Self {
        Self { condition, ..self }
    }

    /// Whether it names its bot, by id or by login.
    #[must_use]
    pub fn names_a_bot(&self) -> bool {
        self.id.is_some() || self.login.is_some()
    }

    /// Whether `bot` is one of those wanted, whatever its condition and whoever holds it.
    #[must_use]
    pub fn could_fit(&self, bot: &Bot) -> bool {
        self.id.is_none_or(|id| id == bot.id)
            && self.project.as_ref().is_none_or(|project| *project == bot.project)
            && self.env.as_ref().is_none_or(|env| *env == bot.env)
            && self.domain.as_ref().is_none_or(|domain| *domain == bot.domain)
            && self.login.as_ref().is_none_or(|login| login.folded() == bot.login.folded())
            && bot.labels.contain(&self.labels)
    }

    /// Whether one bot could be wanted by both, as far as the selectors tell; whatever its condition.
    ///
    /// ```
    /// # use botfarm_core::{Env, Labels, Selector};
    /// let stage = Selector::any().env(Env::STAGE);
    /// let admin = Selector::any().labels(Labels::try_from([("role", "admin")])?);
    /// assert!(stage.overlaps(&admin) && !stage.overlaps(&Selector::any().env(Env::PROD)));
    /// assert!(!admin.overlaps(&Selector::any().labels(Labels::try_from([("role", "member")])?)));
    /// # Ok::<_, botfarm_core::BadText>(())
    /// ```
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        fn agree<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
            one.zip(other).is_none_or(|(one, other)| one == other)
        }
        agree(self.id, other.id)
            && agree(self.project.as_ref(), other.project.as_ref())
            && agree(self.env.as_ref(), other.env.as_ref())
            && agree(self.domain.as_ref(), other.domain.as_ref())
            && agree(self.login.as_ref().map(Login::folded), other.login.as_ref().map(Login::folded))
            && self.labels.iter().all(|(key, value)| agree(other.labels.get(key), Some(value)))
    }

    /// Whether `bot` is one of those wanted, in the condition wanted, whoever holds it.
    #[must_use]
    pub fn fits(&self, bot: &Bot) -> bool {
        self.condition == bot.condition && self.could_fit(bot)
    }
}

/// `any bot`, or what is wanted: `env=stage, label role=admin`.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut given = Vec::new();
        given.extend(self.id.map(|id| format!("id={id}")));
        given.extend(self.login.as_ref().map(|login| format!("login={login}")));
        given.extend(self.project.as_ref().map(|project| format!("project_id={project}")));
        given.extend(self.env.as_ref().map(|env| format!("env={env}")));
        given.extend(self.domain.as_ref().map(|domain| format!("domain={domain}")));
        given.extend(self.labels.iter().map(|(key, value)| format!("label {key}={value}")));
        if self.condition != Condition::Ready {
            given.push(format!("condition={}", self.condition));
        }
        if given.is_empty() {
            return f.write_str("any bot");
        }
        f.write_str(&given.join(", "))
    }
}

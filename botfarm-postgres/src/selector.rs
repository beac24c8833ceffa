//! A request, as the functions of the database read it.

use botfarm_core::{BotId, Env, LeasePolicy, LeaseRequest, Login, Selector};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    rows::label_texts,
};

/// One selector.
#[derive(Debug, Serialize)]
struct SentSelector<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'a str>,
    labels: Vec<String>,
    condition: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bot: Option<Uuid>,
    /// Folded.
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<String>,
    /// The envs that it takes no bot of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_envs: Vec<Env>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<&'a str>,
}

/// What is sent with each try of a request.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The selectors, in JSON.
    pub(crate) selectors: serde_json::Value,
    pub(crate) avoid: Vec<Uuid>,
    pub(crate) terms: serde_json::Value,
}

impl Asked {
    pub(crate) fn of(request: &LeaseRequest, policy: &LeasePolicy) -> Result<Self> {
        let selectors: Vec<_> = request.selectors.iter().map(|selector| sent(selector, policy)).collect();
        Ok(Self {
            selectors: serde_json::to_value(selectors).map_err(Error::corrupt)?,
            avoid: request.avoid.iter().map(BotId::as_uuid).collect(),
            terms: serde_json::to_value(&*request.terms).map_err(Error::corrupt)?,
        })
    }
}

fn sent<'a>(selector: &'a Selector, policy: &LeasePolicy) -> SentSelector<'a> {
    SentSelector {
        project: selector.project.as_deref(),
        env: selector.env.as_deref(),
        domain: selector.domain.as_deref(),
        labels: label_texts(&selector.labels),
        condition: selector.condition.as_str(),
        bot: selector.id.map(|id| id.as_uuid()),
        login: selector.login.as_ref().map(Login::folded),
        not_envs: policy.spared(selector),
        alias: selector.alias.as_deref(),
    }
}

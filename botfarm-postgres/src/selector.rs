//! A request, as the functions of the database read it.

use botfarm_core::{BotId, LeaseRequest, Login, Selector};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    rows::{Terms, label_texts},
};

/// One selector.
#[derive(Debug, Serialize)]
struct Wanted<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'static str>,
    labels: Vec<String>,
    condition: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bot: Option<Uuid>,
    /// Folded.
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<String>,
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
    pub(crate) fn of(request: &LeaseRequest) -> Result<Self> {
        let selectors: Vec<_> = request.selectors.iter().map(wanted).collect();
        Ok(Self {
            selectors: serde_json::to_value(selectors).map_err(Error::corrupt)?,
            avoid: request.avoid.iter().map(BotId::as_uuid).collect(),
            terms: serde_json::to_value(Terms::of(request)).map_err(Error::corrupt)?,
        })
    }
}

fn wanted(selector: &Selector) -> Wanted<'_> {
    Wanted {
        project: selector.project.map(|project| project.to_string()),
        env: selector.env.map(botfarm_core::Env::as_str),
        domain: selector.domain.map(botfarm_core::Domain::as_str),
        labels: label_texts(&selector.labels),
        condition: selector.condition.as_str(),
        bot: selector.id.map(|id| id.as_uuid()),
        login: selector.login.as_ref().map(Login::folded),
        alias: selector.role.as_deref(),
    }
}

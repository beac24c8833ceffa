//! Why no bot could ever match.

use std::collections::BTreeSet;

use crate::{
    error::Error,
    lease::LeaseRequest,
    name::{Domain, Env, ProjectId},
    policy::LeasePolicy,
    rules::nearest::nearest,
    selector::Selector,
};

/// So many names are listed where none is near.
const LISTED: usize = 5;

/// Where a farm has bots: for those who write a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The project.
    pub project: ProjectId,
    /// The env.
    pub env: Env,
    /// The domain.
    pub domain: Domain,
}

impl LeasePolicy {
    /// What a request is told that no bots could ever satisfy: its selector number `index`, counted from 0, is fit by
    /// `fitting` bots, too few for the whole of it. Says which name is in no place where the farm has bots, and the
    /// nearest that is in one.
    #[must_use]
    pub fn no_match(&self, request: &LeaseRequest, index: usize, fitting: usize, places: &[Place]) -> Error {
        let selector = &request.selectors[index];
        let detail = if fitting > 0 {
            format!("only {fitting} bots match {selector}, too few for the whole request; add bots, or ask for fewer")
        } else {
            let besides = if request.avoid.is_empty() { "" } else { ", besides those to avoid" };
            format!("no bot matches {selector}{besides}; {}", self.remedy(selector, places))
        };
        Error::NoMatch { selector: index, detail }
    }

    fn remedy(&self, selector: &Selector, places: &[Place]) -> String {
        let unknown = unknown("project", selector.project.as_deref(), places, |place| &place.project)
            .or_else(|| unknown("env", selector.env.as_deref(), places, |place| &place.env))
            .or_else(|| unknown("domain", selector.domain.as_deref(), places, |place| &place.domain));
        if let Some(unknown) = unknown {
            return unknown;
        }
        let could_be = |place: &&Place| {
            selector.project.as_ref().is_none_or(|project| *project == place.project)
                && selector.domain.as_ref().is_none_or(|domain| *domain == place.domain)
        };
        let envs: BTreeSet<_> = places.iter().filter(could_be).map(|place| &place.env).collect();
        let spared: Vec<_> = envs.into_iter().filter(|env| !self.reaches(selector, env)).map(Env::as_str).collect();
        if !spared.is_empty() {
            let spared = spared.join(", ");
            return format!("bots of {spared} are for those alone who name the env, the login or the id");
        }
        "check the selector, or add such a bot".to_owned()
    }
}

/// What to say of a name that is in none of the places.
fn unknown(what: &str, name: Option<&str>, places: &[Place], of: impl Fn(&Place) -> &str) -> Option<String> {
    let known: BTreeSet<_> = places.iter().map(of).collect();
    let name = name.filter(|name| !known.contains(name))?;
    if let Some(near) = nearest(name, known.iter().copied()) {
        return Some(format!("no bot is of the {what} {name}; did you mean {near}?"));
    }
    let more = known.len().saturating_sub(LISTED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let listed = known.into_iter().take(LISTED).collect::<Vec<_>>().join(", ");
    Some(if listed.is_empty() {
        "the farm has no bots; add some".to_owned()
    } else {
        format!("no bot is of the {what} {name}; there are {listed}{more}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(selector: Selector, places: &[(&str, &str, &str)]) -> String {
        let places = places.iter().map(|(project, env, domain)| Place {
            project: project.parse().unwrap(),
            env: env.parse().unwrap(),
            domain: domain.parse().unwrap(),
        });
        let request = LeaseRequest::new("ada".parse().unwrap(), selector);
        LeasePolicy::default().no_match(&request, 0, 0, &places.collect::<Vec<_>>()).to_string()
    }

    #[test]
    fn a_misspelt_name_has_the_nearest_beside_it() {
        let places = [("shop", "stage", "canary"), ("shop", "qa", "canary"), ("blog", "prod", "regular")];
        let any = Selector::any;
        for (selector, expected) in [
            (any().env("stgae".parse().unwrap()), "env=stgae; no bot is of the env stgae; did you mean stage?"),
            (any().env("dev".parse().unwrap()), "env=dev; no bot is of the env dev; there are prod, qa, stage"),
            (any().project("shap".parse().unwrap()), "no bot is of the project shap; did you mean shop?"),
            (any().domain("regulr".parse().unwrap()), "no bot is of the domain regulr; did you mean regular?"),
            (any().env(Env::STAGE).domain(Domain::REGULAR), "domain=regular; check the selector, or add such a bot"),
        ] {
            let told = told(selector, &places);
            assert!(told.starts_with("no bot matches ") && told.ends_with(expected), "{told}");
        }
        assert!(told(any().env(Env::STAGE), &[]).ends_with("the farm has no bots; add some"));
        let many: Vec<_> = (0..9).map(|number| format!("env-number-{number}")).collect();
        let many: Vec<_> = many.iter().map(|env| ("shop", env.as_str(), "canary")).collect();
        assert!(told(any().env("q".parse().unwrap()), &many).ends_with("env-number-4 and 4 more"));
    }

    #[test]
    fn who_names_no_env_is_told_which_must_be_named() {
        let told = told(Selector::any().project("shop".parse().unwrap()), &[("shop", "prod", "canary")]);
        assert!(told.ends_with("bots of prod are for those alone who name the env, the login or the id"), "{told}");
    }
}

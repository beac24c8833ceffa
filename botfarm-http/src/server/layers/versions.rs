//! Tells clients that are made for another version of the service.

use std::{
    cmp::Ordering,
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use axum::http::{HeaderMap, HeaderValue, header};
use semver::Version;

use crate::version::{NOTICE, OURS, VERSION};

/// The clients that are released together with the service, as they call themselves in `User-Agent`.
const CLIENTS: [&str; 4] = ["botfarm", "botfarm-junit", "botfarm-playwright", "pytest-botfarm"];

/// So many different notices are logged.
const LOGGED: usize = 32;

/// What has been said about versions.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    logged: Mutex<BTreeSet<String>>,
}

impl Versions {
    /// What is to be said to a client that sends these headers; nothing to who is of our version, or none of ours. It is
    /// logged when it is said for the first time.
    pub(crate) fn notice(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let (name, version) = headers.get(header::USER_AGENT)?.to_str().ok()?.split_once('/')?;
        let name = CLIENTS.into_iter().find(|client| *client == name)?;
        if version == OURS {
            return None;
        }
        let notice = notice(name, &Version::parse(version).ok()?, &Version::parse(OURS).ok()?)?;
        let value = HeaderValue::try_from(&notice).ok()?;
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() < LOGGED && !logged.contains(&notice) {
            tracing::warn!("{notice}");
            logged.insert(notice);
        }
        Some(value)
    }
}

/// Adds the version of the service, and what is to be said about the client's.
pub(crate) fn tell(headers: &mut HeaderMap, notice: Option<HeaderValue>) {
    headers.insert(VERSION, HeaderValue::from_static(OURS));
    if let Some(notice) = notice {
        headers.insert(NOTICE, notice);
    }
}

/// What to say when the two are not made for each other.
fn notice(client: &str, theirs: &Version, ours: &Version) -> Option<String> {
    let [their, our] = [theirs, ours].map(|version| format!("{}.{}.{}", version.major, version.minor, version.patch));
    match line(theirs).cmp(&line(ours)) {
        Ordering::Equal => None,
        Ordering::Less => Some(format!(
            "{client} {their} is older than the service, which is botfarm {our}, and may not understand it: update {client}"
        )),
        Ordering::Greater => Some(format!(
            "the service is botfarm {our}, older than {client} {their}, and may refuse what it asks for: update the service"
        )),
    }
}

/// What versions have in common that are made for each other: the major, and before 1.0 the minor.
fn line(version: &Version) -> (u64, u64) {
    (version.major, if version.major == 0 { version.minor } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(theirs: &str, ours: &str) -> Option<String> {
        notice("pytest-botfarm", &theirs.parse().unwrap(), &ours.parse().unwrap())
    }

    #[test]
    fn versions_of_one_line_are_made_for_each_other() {
        for (theirs, ours) in [("0.1.0", "0.1.9"), ("0.1.9", "0.1.0-rc.1"), ("1.7.0", "1.0.0"), ("2.0.0", "2.9.1")] {
            assert_eq!(said(theirs, ours), None, "{theirs} {ours}");
        }
    }

    #[test]
    fn the_older_one_is_to_be_updated() {
        let expected = "pytest-botfarm 0.1.4 is older than the service, which is botfarm 0.2.0, and may not understand it: \
                        update pytest-botfarm";
        assert_eq!(said("0.1.4", "0.2.0").unwrap(), expected);
        let expected = "the service is botfarm 0.9.0, older than pytest-botfarm 1.0.0, and may refuse what it asks for: \
                        update the service";
        assert_eq!(said("1.0.0", "0.9.0").unwrap(), expected);
    }

    #[test]
    fn only_clients_of_ours_are_told_and_the_log_is_told_so_often_and_no_more() {
        let versions = Versions::default();
        let told = |agent: &str| {
            versions.notice(&HeaderMap::from_iter([(header::USER_AGENT, HeaderValue::try_from(agent).unwrap())]))
        };
        let current = format!("botfarm/{OURS}");
        for agent in ["curl/8.1.2", "botfarm", "botfarm/", "botfarm/1", "botfarm/new", "other/99.0.0", &current] {
            assert_eq!(told(agent), None, "{agent}");
        }
        for major in 90..200 {
            assert!(told(&format!("botfarm-junit/{major}.0.0")).is_some());
        }
        assert_eq!(versions.logged.lock().unwrap().len(), LOGGED);
    }
}

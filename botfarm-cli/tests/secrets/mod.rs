//! What neither a service nor a command is to say.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

static SECRETS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Has all services and commands that end from now on be searched for this.
pub(crate) fn is_secret(text: &str) {
    SECRETS.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned());
}

/// Panics if a secret is in a text. The secret itself is not told: what a test prints is kept somewhere.
#[track_caller]
pub(crate) fn has_none(place: &str, text: &str) {
    let secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for secret in &secrets {
        let found = text.lines().find_map(|line| line.split_once(secret.as_str()));
        assert!(found.is_none(), "a secret is in {place}, after {:?}", found.unwrap().0);
    }
}

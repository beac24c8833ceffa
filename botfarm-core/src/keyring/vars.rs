//! Keys from the environment.

use std::{ffi::OsString, fs, path::PathBuf};

use zeroize::Zeroizing;

use super::{error::KeyError, master_key::MasterKey};

const CURRENT: &str = "BOTFARM_KEY";
const OLD: &str = "BOTFARM_OLD_KEYS";

type Vars<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The current key.
pub(super) fn current(vars: Vars<'_>) -> Result<MasterKey, KeyError> {
    let text = read(CURRENT, vars)?.ok_or(KeyError::Missing)?;
    text.parse().map_err(|_| KeyError::NotAKey { place: CURRENT.into() })
}

/// The keys for reading. A comma at the end is allowed, and line breaks for commas.
pub(super) fn old(vars: Vars<'_>) -> Result<Vec<MasterKey>, KeyError> {
    let Some(text) = read(OLD, vars)? else { return Ok(Vec::new()) };
    text.split([',', '\n'])
        .filter(|key| !key.trim().is_empty())
        .enumerate()
        .map(|(i, key)| key.parse().map_err(|_| KeyError::NotAKey { place: format!("key {} of {OLD}", i + 1) }))
        .collect()
}

/// An empty value counts as none: that is what an unset variable becomes on its way through a compose file.
fn read(name: &'static str, vars: Vars<'_>) -> Result<Option<Zeroizing<String>>, KeyError> {
    let set = |name: &str| vars(name).filter(|value| !value.is_empty());
    match (set(name), set(&format!("{name}_FILE"))) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(KeyError::SetTwice { name }),
        (Some(value), None) => {
            let value = value.into_string().map_err(|_| KeyError::NotAKey { place: name.into() })?;
            Ok(Some(Zeroizing::new(value)))
        }
        (None, Some(path)) => {
            let path = PathBuf::from(path);
            match fs::read_to_string(&path) {
                Ok(text) => Ok(Some(Zeroizing::new(text))),
                Err(source) => Err(KeyError::Unreadable { name, path, source }),
            }
        }
    }
}

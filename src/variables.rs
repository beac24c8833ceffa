//! Settings out of the environment.

use std::{ffi::OsString, fs};

use botfarm_core::{Error, Result};

/// The value of the variable `name`, or of the file that the variable `name` with `_FILE` after it names; a line break
/// at the file's end is left out. The usual way for a secret to come into a container.
///
/// # Errors
/// `Malformed` when both are set, the value is not UTF-8, or the file cannot be read.
pub fn env_or_file(name: &str) -> Result<Option<String>> {
    read(name, &process)
}

/// Looks variables up; so that tests need not change those of the process.
pub(crate) type Vars<'a> = &'a (dyn Fn(&str) -> Option<OsString> + Sync);

/// Those of the process.
pub(crate) fn process(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

pub(crate) fn read(name: &str, vars: Vars<'_>) -> Result<Option<String>> {
    let file_name = format!("{name}_FILE");
    // An empty value is none: that is what a variable that is not set becomes on its way through a compose file.
    let set = |name: &str| vars(name).filter(|value| !value.is_empty());
    match (set(name), set(&file_name)) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(malformed(format!("{name} and {file_name} are both set; keep one of them"))),
        (Some(value), None) => {
            value.into_string().map(Some).map_err(|_| malformed(format!("{name} is not a text in UTF-8")))
        }
        (None, Some(path)) => match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(error) => {
                Err(malformed(format!("{file_name} names {}, which cannot be read: {error}", path.display())))
            }
        },
    }
}

pub(crate) fn malformed(detail: impl Into<String>) -> Error {
    Error::Malformed { detail: detail.into() }
}

#[cfg(not(all(feature = "memory", feature = "postgres", feature = "sqlite", feature = "http")))]
pub(crate) fn feature_off(scheme: &str, feature: &str) -> Error {
    malformed(format!(
        "a farm at {scheme} needs the feature `{feature}`; turn it on: botfarm = {{ features = [\"{feature}\"] }}"
    ))
}

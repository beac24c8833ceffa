//! Variables that look like settings, and are none.

use std::collections::BTreeSet;

use botfarm_core::nearest;
use clap::Command;
use tracing::warn;

/// What all settings begin with.
const PREFIX: &str = "BOTFARM_";

/// What is read beside the variables of flags.
const OTHERS: [&str; 10] = [
    "BOTFARM_ADMIN_LOGIN",
    "BOTFARM_ADMIN_PASSWORD",
    "BOTFARM_CA_FILE",
    "BOTFARM_KEEP_HISTORY",
    "BOTFARM_KEY",
    "BOTFARM_LISTEN_URL",
    "BOTFARM_MAX_CONNECTIONS",
    "BOTFARM_OLD_KEYS",
    "BOTFARM_OPERATOR_PASSWORD",
    "BOTFARM_TOKEN",
];

/// What others call what is called differently here.
const MEANT: [(&str, &str); 6] = [
    ("ADDRESS", "BOTFARM_LISTEN"),
    ("DATABASE_URL", "BOTFARM_STORE"),
    ("DB_URL", "BOTFARM_STORE"),
    ("HOST", "BOTFARM_LISTEN"),
    ("PORT", "BOTFARM_LISTEN"),
    ("TIMEOUT", "BOTFARM_WAIT"),
];

/// What is read by the name of what may also be in a file.
const STORES: [&str; 2] = ["BOTFARM_STORE", "BOTFARM_URL"];

/// Says which variables of the environment are no settings, though they are called like some.
pub(crate) fn warn_of_unknown(command: &Command) {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for (name, nearest) in unknown(names, &known(command)) {
        let hint = nearest.map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default();
        warn!("{name} is no setting of botfarm{hint}");
    }
}

/// Says that no traces are sent, where somebody has said where to.
#[cfg(not(feature = "otel"))]
pub(crate) fn warn_of_traces() {
    for name in ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] {
        if std::env::var_os(name).is_some_and(|value| !value.is_empty()) {
            warn!("{name} is set, but this botfarm sends no traces: it was built without --features otel");
        }
    }
}

/// The variables that are settings.
fn known(command: &Command) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut commands = vec![command];
    while let Some(command) = commands.pop() {
        names.extend(command.get_arguments().filter_map(|flag| Some(flag.get_env()?.to_str()?.to_owned())));
        commands.extend(command.get_subcommands());
    }
    for name in OTHERS.iter().chain(&STORES) {
        names.extend([(*name).to_owned(), format!("{name}_FILE")]);
    }
    names
}

/// Those of the names that are none of the known ones, each with the nearest of these.
fn unknown(names: impl Iterator<Item = String>, known: &BTreeSet<String>) -> Vec<(String, Option<String>)> {
    // What `run` gives its child, and what tests are told.
    let is_ours = |name: &str| {
        name.starts_with("BOTFARM_USER_") || ["BOTFARM_LEASE_ID", "BOTFARM_TEST_DATABASE_URL"].contains(&name)
    };
    let names = names.filter(|name| name.starts_with(PREFIX) && !is_ours(name) && !known.contains(name));
    names
        .map(|name| {
            // Without what all of them begin with, or all would be alike.
            let own = name.trim_start_matches(PREFIX);
            let ours = known.iter().filter_map(|known| known.strip_prefix(PREFIX));
            let meant = MEANT.iter().find(|(other, _)| *other == own).map(|(_, ours)| *ours);
            let meant = meant.map(str::to_owned).or_else(|| Some(format!("{PREFIX}{}", nearest(own, ours)?)));
            (name, meant)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn variables_of_the_example_are_known() {
        let known = known(&crate::Cli::command());
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.env.example");
        let example = fs::read_to_string(example).unwrap();
        let told: Vec<_> =
            example.lines().filter_map(|line| Some(line.strip_prefix('#')?.split_once('=')?.0)).collect();
        let unknown: Vec<_> =
            told.iter().filter(|name| name.starts_with("BOTFARM_") && !known.contains(**name)).collect();
        assert!(unknown.is_empty() && told.len() > 30, "{unknown:?}");
    }

    #[test]
    fn unknown_variable_has_the_nearest_setting_beside_it() {
        let known = known(&crate::Cli::command());
        let ours = |name: &str| format!("BOTFARM_{name}");
        let names = ["TOEKN", "URL", "USER_LOGIN", "STOER", "FAVOURITE", "PORT"].map(ours);
        let unknown = unknown(names.into_iter().chain(["PATH".to_owned()]), &known);
        let expected =
            [("TOEKN", Some("TOKEN")), ("STOER", Some("STORE")), ("FAVOURITE", None), ("PORT", Some("LISTEN"))];
        assert_eq!(unknown, expected.map(|(name, meant)| (ours(name), meant.map(ours))));
    }
}

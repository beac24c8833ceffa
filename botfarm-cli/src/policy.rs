//! What `botfarm.toml` says of envs: which one `run` takes bots of, or what is allowed in each.

use std::{collections::BTreeMap, fmt, time::Duration};

use botfarm_core::{AfterExpiry, Env, EnvPolicy, LeasePolicy};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::span::setting;

/// `env = "stage"`, or a table `[env.stage]` for each env.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct EnvSetting {
    /// `run --env`
    pub(crate) name: Option<Env>,
    envs: BTreeMap<Env, EnvPolicy>,
}

impl EnvSetting {
    /// The policy of a farm in the store that a command opens.
    pub(crate) fn policy(&self) -> LeasePolicy {
        LeasePolicy { envs: self.envs.clone(), ..LeasePolicy::default() }
    }
}

/// The table of one env.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvTable {
    #[serde(default, deserialize_with = "setting")]
    default_ttl: Option<Duration>,
    #[serde(default, deserialize_with = "setting")]
    min_ttl: Option<Duration>,
    #[serde(default, deserialize_with = "setting")]
    max_ttl: Option<Duration>,
    #[serde(default, deserialize_with = "setting")]
    reuse_delay: Option<Duration>,
    #[serde(default, deserialize_with = "setting")]
    cooling: Option<Duration>,
    named_only: Option<bool>,
    #[serde(default)]
    after_expiry: Left,
}

/// How a bot is left whose lease expired.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Left {
    #[default]
    Keep,
    Dirty,
}

impl TryFrom<EnvTable> for EnvPolicy {
    type Error = &'static str;

    fn try_from(table: EnvTable) -> Result<Self, Self::Error> {
        let EnvTable { default_ttl, min_ttl, max_ttl, reuse_delay, cooling, named_only, after_expiry } = table;
        let LeasePolicy { min_ttl: least, max_ttl: greatest, .. } = LeasePolicy::default();
        let (least, greatest) = (min_ttl.unwrap_or(least), max_ttl.unwrap_or(greatest));
        if least > greatest {
            return Err("min_ttl must not be greater than max_ttl");
        }
        if default_ttl.is_some_and(|ttl| ttl < least || ttl > greatest) {
            return Err("default_ttl must be from min_ttl to max_ttl");
        }
        let after_expiry = match after_expiry {
            Left::Keep => AfterExpiry::Keep,
            Left::Dirty => AfterExpiry::Dirty,
        };
        Ok(Self { default_ttl, min_ttl, max_ttl, reuse_delay, cooling, named_only, after_expiry })
    }
}

impl<'de> Deserialize<'de> for EnvSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either)
    }
}

struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = EnvSetting;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an env, or a table for each")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<EnvSetting, E> {
        let name = name.parse().map_err(E::custom)?;
        Ok(EnvSetting { name: Some(name), envs: BTreeMap::new() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EnvSetting, A::Error> {
        let tables = BTreeMap::<String, EnvTable>::deserialize(MapAccessDeserializer::new(map))?;
        let mut envs = BTreeMap::new();
        for (name, table) in tables {
            let env = name.parse::<Env>().map_err(|error| A::Error::custom(format!("[env.{name}] {error}")))?;
            let policy = table.try_into().map_err(|error| A::Error::custom(format!("[env.{name}] {error}")))?;
            envs.insert(env, policy);
        }
        Ok(EnvSetting { name: None, envs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        env: EnvSetting,
    }

    fn read(text: &str) -> Result<EnvSetting, String> {
        toml::from_str::<File>(text).map(|file| file.env).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn an_env_is_named_or_has_a_table() {
        assert_eq!(read("env = 'QA'").unwrap().name, Some("qa".parse().unwrap()));
        let policy =
            read("[env.stage]\nmax_ttl = '1h'\ncooling = '1m'\nafter_expiry = 'dirty'\n[env.prod]\nnamed_only = false")
                .unwrap()
                .policy();
        let stage = EnvPolicy {
            max_ttl: Some(Duration::from_hours(1)),
            cooling: Some(Duration::from_mins(1)),
            after_expiry: AfterExpiry::Dirty,
            ..EnvPolicy::default()
        };
        let prod = EnvPolicy { named_only: Some(false), ..EnvPolicy::default() };
        assert_eq!(policy.envs, [(Env::STAGE, stage), (Env::PROD, prod)].into());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (text, expected) in [
            ("env = 'a b'", "must be a name"),
            ("[env.'a b']", "[env.a b] must be a name"),
            ("[env.stage]\nmax_tll = '1h'", "unknown field `max_tll`"),
            ("[env.stage]\nmax_ttl = 'soon'", "must be a time: a number of seconds"),
            ("[env.stage]\nmin_ttl = '2h'\nmax_ttl = '1h'", "min_ttl must not be greater than max_ttl"),
            ("[env.stage]\ndefault_ttl = '2h'\nmax_ttl = '1h'", "default_ttl must be from min_ttl to max_ttl"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}

//! In which envs and domains accounts may be created.

use botfarm_core::{AllowedNames, Domain, Env};
use clap::Args;

use crate::config::File;

/// The flags that say so.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Allowed {
    /// The envs that accounts may be created in, so that a typo makes no new one [default: prod,preprod,stage]
    #[arg(long, value_name = "ENV,…", env = "BOTFARM_ENVS", value_delimiter = ',')]
    envs: Vec<Env>,
    /// The domains that accounts may be created in [default: canary,regular]
    #[arg(long, value_name = "DOMAIN,…", env = "BOTFARM_DOMAINS", value_delimiter = ',')]
    domains: Vec<Domain>,
}

impl Allowed {
    /// By flag and environment, by the file, or by default.
    pub(crate) fn or(self, file: &File) -> AllowedNames {
        let AllowedNames { envs, domains } = AllowedNames::default();
        AllowedNames {
            envs: first([self.envs, file.envs.clone(), envs]),
            domains: first([self.domains, file.domains.clone(), domains]),
        }
    }
}

/// The first list that has something in it.
fn first<T>(lists: [Vec<T>; 3]) -> Vec<T> {
    lists.into_iter().find(|list| !list.is_empty()).unwrap_or_default()
}

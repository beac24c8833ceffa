//! The flags that select bots.

use std::{collections::BTreeMap, str::FromStr};

use botfarm_core::{Alias, BadText, Condition, Domain, Env, Labels, Login, ProjectId, Selector};
use clap::Args;

use crate::config::File;

/// The flags that select bots.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SelectorArgs {
    /// A user of this env
    #[arg(long, value_name = "ENV", env = "BOTFARM_ENV")]
    env: Option<Env>,

    /// A user of this domain
    #[arg(long, value_name = "DOMAIN", env = "BOTFARM_DOMAIN")]
    domain: Option<Domain>,

    /// A user of this project
    #[arg(long, value_name = "PROJECT", env = "BOTFARM_PROJECT")]
    project: Option<ProjectId>,

    /// The user with this login
    #[arg(long, value_name = "LOGIN")]
    login: Option<Login>,

    /// A user with this label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,

    /// Several users, all or none: a name for the variables, and what only this user must be. Keys are env, domain,
    /// project, login and id; every other key is a label. May be repeated
    #[arg(long = "user", value_name = "NAME:KEY=VALUE,…")]
    users: Vec<User>,
}

/// One of several users: its name, and what is given for it beyond what is given for all.
#[derive(Debug, Clone, PartialEq, Eq)]
struct User {
    alias: Alias,
    pairs: Vec<(String, String)>,
}

impl FromStr for User {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (alias, pairs) = text.split_once(':').unwrap_or((text, ""));
        let alias = alias.parse().map_err(|error: BadText| format!("a user's name {error}"))?;
        let pairs: Result<_, _> = pairs.split(',').filter(|pair| !pair.is_empty()).map(pair).collect();
        let user = Self { alias, pairs: pairs? };
        user.selector(&Selector::any())?;
        Ok(user)
    }
}

impl User {
    /// `common`, and what is given for this user, which wins.
    fn selector(&self, common: &Selector) -> Result<Selector, String> {
        let mut selector = common.clone().alias(self.alias.clone());
        let mut labels = BTreeMap::from(common.labels.clone());
        for (key, value) in &self.pairs {
            match key.as_str() {
                "env" => selector.env = Some(read(key, value)?),
                "domain" => selector.domain = Some(read(key, value)?),
                "project" | "project_id" => selector.project = Some(read(key, value)?),
                "login" => selector.login = Some(read(key, value)?),
                "id" => selector.id = Some(read(key, value)?),
                "condition" => selector.condition = read::<Condition>(key, value)?,
                _ => {
                    labels.insert(key.clone(), value.clone());
                }
            }
        }
        selector.labels = labels.try_into().map_err(|error: BadText| error.to_string())?;
        Ok(selector)
    }
}

impl SelectorArgs {
    /// The same, with what the file says where no flag and no variable does.
    pub(crate) fn or(self, file: &File) -> Self {
        let (env, domain, project) = (
            self.env.or(file.env.name.clone()),
            self.domain.or(file.domain.clone()),
            self.project.or(file.project.clone()),
        );
        Self { env, domain, project, ..self }
    }

    /// One selector, or one for each `--user`.
    ///
    /// # Errors
    /// What is wrong with the labels.
    pub(crate) fn selectors(&self) -> Result<Vec<Selector>, String> {
        let common = Selector {
            env: self.env.clone(),
            domain: self.domain.clone(),
            project: self.project.clone(),
            login: self.login.clone(),
            labels: labels(&self.labels)?,
            ..Selector::any()
        };
        if self.users.is_empty() {
            return Ok(vec![common]);
        }
        self.users.iter().map(|user| user.selector(&common)).collect()
    }

    /// The names of the users, when they have any.
    pub(crate) fn aliases(&self) -> Vec<Alias> {
        self.users.iter().map(|user| user.alias.clone()).collect()
    }
}

/// Reads `KEY=VALUE`, or `KEY:VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = Labels::split(text).ok_or("must be KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Labels out of what [`pair`] has read.
///
/// # Errors
/// What is wrong with them; a key that is there twice is.
pub(crate) fn labels(pairs: &[(String, String)]) -> Result<Labels, String> {
    let mut labels = BTreeMap::new();
    for (key, value) in pairs {
        if labels.insert(key.clone(), value.clone()).is_some() {
            return Err(format!("the label {key} is given twice"));
        }
    }
    labels.try_into().map_err(|error: BadText| format!("--label: {error}"))
}

fn read<T: FromStr<Err: ToString>>(key: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|error: T::Err| format!("{key}: {}", error.to_string()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        selectors: SelectorArgs,
    }

    fn selectors(flags: &[&str]) -> Result<Vec<Selector>, String> {
        let flags = Flags::try_parse_from([&["test"], flags].concat()).map_err(|error| error.to_string())?;
        flags.selectors.selectors()
    }

    #[test]
    fn flags_make_one_selector() {
        let selectors =
            selectors(&["--env", "stage", "--domain=regular", "--label", "role=admin", "--label", "plan=a=b"]);
        let labels = Labels::try_from([("role", "admin"), ("plan", "a=b")]).unwrap();
        assert_eq!(selectors.unwrap(), [Selector::any().env(Env::STAGE).domain(Domain::REGULAR).labels(labels)]);
    }

    #[test]
    fn a_colon_does_for_a_label_as_the_service_has_it() {
        let expected = Selector::any().labels(Labels::try_from([("role", "admin"), ("site", "a=b")]).unwrap());
        assert_eq!(selectors(&["--label", "role:admin", "--label", "site:a=b"]).unwrap(), [expected]);
    }

    #[test]
    fn without_flags_any_bot_will_do() {
        assert_eq!(selectors(&[]).unwrap(), [Selector::any()]);
    }

    #[test]
    fn users_add_to_what_is_given_for_all_and_win() {
        let flags =
            ["--env=stage", "--label=plan=free", "--user", "admin:role=admin,env=prod", "--user=member:plan=paid"];
        let named = |alias: &str| Selector::any().alias(alias.parse().unwrap());
        let admin = Labels::try_from([("role", "admin"), ("plan", "free")]).unwrap();
        let member = Labels::try_from([("plan", "paid")]).unwrap();
        let expected = [named("admin").env(Env::PROD).labels(admin), named("member").env(Env::STAGE).labels(member)];
        assert_eq!(selectors(&flags).unwrap(), expected);
        assert_eq!(selectors(&["--user", "solo"]).unwrap(), [named("solo")]);
    }

    #[test]
    fn faults_are_named() {
        let refused = |flags: &[&str], what: &str| {
            let error = selectors(flags).unwrap_err();
            assert!(error.contains(what), "{flags:?}: {error}");
        };
        refused(&["--env", "a moon"], "must be a name");
        refused(&["--label", "role"], "must be KEY=VALUE");
        refused(&["--label", "a=b", "--label", "a=c"], "the label a is given twice");
        refused(&["--user", "a b:role=x"], "a user's name must consist of");
        refused(&["--user", "a:role"], "must be KEY=VALUE");
        refused(&["--user", "a:env=@"], "env: must be a name");
        refused(&["--user", "a:id=7"], "id: ");
    }
}

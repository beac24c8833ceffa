//! Where accounts may be created.

use crate::{
    bot::{BotChanges, NewBot},
    error::{Error, Fault, Result},
    faults::Faults,
    location::{Field, Location},
    name::{Domain, Env},
    rules::nearest,
};

/// The envs and domains that accounts may be created in, so that a typo makes no new one: a setting of a service, and of
/// a command that works on a store. What is in other ones already is leased, listed and deleted as ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedNames {
    /// The envs. None: any.
    pub envs: Vec<Env>,
    /// The domains. None: any.
    pub domains: Vec<Domain>,
}

/// `prod`, `preprod` and `stage`; `canary` and `regular`.
impl Default for AllowedNames {
    fn default() -> Self {
        let (envs, domains) = ([Env::PROD, Env::PREPROD, Env::STAGE], [Domain::CANARY, Domain::REGULAR]);
        Self { envs: envs.into(), domains: domains.into() }
    }
}

impl AllowedNames {
    /// Whatever is a name.
    #[must_use]
    pub fn any() -> Self {
        Self { envs: Vec::new(), domains: Vec::new() }
    }

    /// Checks a bot that is to be created.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every name that is not allowed.
    pub fn check(&self, bot: &NewBot) -> Result<()> {
        refused(self.faults(bot, &Location::whole()))
    }

    /// Checks the bots of an import.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every name that is not allowed, with its row.
    pub fn check_all(&self, bots: &[NewBot]) -> Result<()> {
        let mut faults = Faults::default();
        for (row, bot) in bots.iter().enumerate() {
            faults.append(self.faults(bot, &Location::row(row)));
        }
        refused(faults)
    }

    /// Checks changes, which may take a bot to another domain.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a domain that is not allowed.
    pub fn check_changes(&self, changes: &BotChanges) -> Result<()> {
        let domain = changes.domain.as_ref();
        refused(
            domain
                .and_then(|domain| fault(Field::Domain, domain, &self.domains, &Location::whole()))
                .into_iter()
                .collect(),
        )
    }

    fn faults(&self, bot: &NewBot, at: &Location) -> Faults {
        let env = fault(Field::Env, &bot.env, &self.envs, at);
        env.into_iter().chain(fault(Field::Domain, &bot.domain, &self.domains, at)).collect()
    }
}

fn refused(faults: Faults) -> Result<()> {
    if faults.is_empty() { Ok(()) } else { Err(Error::from(faults)) }
}

/// What is wrong with a name that is none of the allowed ones.
fn fault<T: AsRef<str> + PartialEq>(field: Field, name: &T, allowed: &[T], at: &Location) -> Option<Fault> {
    if allowed.is_empty() || allowed.contains(name) {
        return None;
    }
    let words = || allowed.iter().map(AsRef::as_ref);
    let hint = nearest(name.as_ref(), words()).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    let listed = words().collect::<Vec<_>>().join(", ");
    let detail = format!("must be one of {listed}, unless the setting {field}s has others{hint}");
    Some(Fault::new(at.clone().field(field), detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bot(env: &str, domain: &str) -> NewBot {
        let bot = NewBot::new(
            "ada".parse().unwrap(),
            "pw".try_into().unwrap(),
            "shop".parse().unwrap(),
            env.parse().unwrap(),
        );
        bot.domain(domain.parse().unwrap())
    }

    fn told(result: Result<()>) -> Vec<(String, String)> {
        match result.unwrap_err() {
            Error::Invalid { faults } => faults.into_iter().map(|fault| (fault.at.to_string(), fault.detail)).collect(),
            error => panic!("{error:?}"),
        }
    }

    #[test]
    fn a_typo_makes_no_new_env() {
        let allowed = AllowedNames::default();
        allowed.check(&bot("stage", "regular")).unwrap();
        let detail = "must be one of prod, preprod, stage, unless the setting envs has others; did you mean stage?";
        assert_eq!(told(allowed.check(&bot("stgae", "canary"))), [("env".to_owned(), detail.to_owned())]);
        let rows = [bot("stage", "canary"), bot("dev", "smoke")];
        let places: Vec<_> = told(allowed.check_all(&rows)).into_iter().map(|(at, _)| at).collect();
        assert_eq!(places, ["row 2, env", "row 2, domain"]);
        let changes = BotChanges { domain: Some("smoke".parse().unwrap()), ..BotChanges::default() };
        let detail = "must be one of canary, regular, unless the setting domains has others";
        assert_eq!(told(allowed.check_changes(&changes)), [("domain".to_owned(), detail.to_owned())]);
    }

    #[test]
    fn a_team_says_which_envs_it_has() {
        let allowed = AllowedNames { envs: vec!["dev".parse().unwrap()], ..AllowedNames::default() };
        allowed.check(&bot("dev", "canary")).unwrap();
        assert!(allowed.check(&bot("stage", "canary")).is_err(), "the list is whole");
        AllowedNames::any().check(&bot("stgae", "smoke")).unwrap();
        AllowedNames::any().check_changes(&BotChanges::default()).unwrap();
    }
}

//! What the command finds in its environment.

use std::{
    collections::BTreeSet,
    env,
    ffi::{OsStr, OsString},
    str::FromStr,
};

use botfarm_core::{Alias, Lease, LeasedBot};

/// What every variable about a bot starts with.
const PREFIX: &str = "BOTFARM_USER_";

/// What there is about a bot, besides its labels.
const FIELDS: [&str; 6] = ["LOGIN", "PASSWORD", "ID", "PROJECT_ID", "ENV", "DOMAIN"];

/// What a label's variable starts with, after the prefix and the alias.
const LABEL: &str = "LABEL_";

/// A further name for one of the variables: `LOGIN=CYPRESS_USERNAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapping {
    field: String,
    variable: String,
}

impl FromStr for Mapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (field, variable) = text.split_once('=').ok_or("must be FIELD=VARIABLE, such as LOGIN=CYPRESS_USERNAME")?;
        let field = field.strip_prefix(PREFIX).unwrap_or(field);
        if variable != in_capitals(variable, false)
            || variable.is_empty()
            || variable.starts_with(|c: char| c.is_ascii_digit())
        {
            return Err("a variable's name must consist of letters, digits and '_', and not start with a digit".into());
        }
        Ok(Self { field: field.to_owned(), variable: variable.to_owned() })
    }
}

impl Mapping {
    /// Whether bots of these aliases could have the field.
    ///
    /// # Errors
    /// What there is instead.
    pub(crate) fn check(&self, aliases: &[Alias]) -> Result<(), String> {
        let known = |field: &str| FIELDS.contains(&field) || field.starts_with(LABEL);
        let field = &self.field;
        if aliases.is_empty() && known(field) {
            return Ok(());
        }
        let named =
            |alias: &Alias| field.strip_prefix(&in_capitals(alias, true)).and_then(|rest| rest.strip_prefix('_'));
        if aliases.iter().any(|alias| named(alias).is_some_and(known)) {
            return Ok(());
        }
        let alias = aliases.first().map(|alias| in_capitals(alias, true) + "_").unwrap_or_default();
        let fields: Vec<_> = FIELDS.iter().map(|field| format!("{alias}{field}")).collect();
        Err(format!("--map {field}=…: there is no such field; there are {}, {alias}{LABEL}<KEY>", fields.join(", ")))
    }
}

/// Whether no two aliases would have the same variables.
///
/// # Errors
/// Those that would.
pub(crate) fn check_aliases(aliases: &[Alias]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    match aliases.iter().map(|alias| in_capitals(alias, true)).find(|alias| !seen.insert(alias.clone())) {
        None => Ok(()),
        Some(alias) => Err(format!("two users would have the variables {PREFIX}{alias}_…; give them other names")),
    }
}

/// The variables of a lease: `BOTFARM_USER_LOGIN` and so on, with the alias in between for a bot that has one; the
/// mapped ones; and the lease's id. Of two labels that differ in case or punctuation alone, the last one by key counts.
///
/// # Errors
/// Names a mapped label that the bot does not have.
pub(crate) fn variables(lease: &Lease, mappings: &[Mapping]) -> Result<Vec<(String, String)>, String> {
    let mut variables = Vec::new();
    for LeasedBot { alias, bot, password, .. } in &lease.bots {
        let alias = alias.as_ref().map(|alias| in_capitals(alias, true) + "_").unwrap_or_default();
        let values = [
            bot.login.to_string(),
            password.expose().to_owned(),
            bot.id.to_string(),
            bot.project.to_string(),
            bot.env.to_string(),
            bot.domain.to_string(),
        ];
        variables.extend(FIELDS.iter().zip(values).map(|(field, value)| (format!("{PREFIX}{alias}{field}"), value)));
        for (key, value) in bot.labels.iter() {
            variables.push((format!("{PREFIX}{alias}{LABEL}{}", in_capitals(key, true)), value.to_owned()));
        }
    }
    for Mapping { field, variable } in mappings {
        let value = variables.iter().rfind(|(name, _)| name.strip_prefix(PREFIX) == Some(field));
        let (_, value) = value.ok_or_else(|| format!("--map {field}={variable}: the bot has no such label"))?;
        variables.push((variable.clone(), value.clone()));
    }
    variables.push(("BOTFARM_LEASE_ID".to_owned(), lease.id.as_uuid().to_string()));
    Ok(variables)
}

/// The variables of botfarm's own environment that are none of the command's business: secrets, and what an outer
/// `botfarm run` has set; where botfarm's farm is a database, also what leads there.
pub(crate) fn withheld(of_database: bool) -> Vec<OsString> {
    let names = env::vars_os().map(|(name, _)| name);
    names.filter(|name| is_withheld(name) || of_database && leads_to_a_database(name)).collect()
}

/// Whether a client of PostgreSQL, or what is built on one, connects by this variable.
fn leads_to_a_database(name: &OsStr) -> bool {
    const NAMES: [&str; 11] = [
        "DATABASE_URL",
        "PGDATABASE",
        "PGHOST",
        "PGHOSTADDR",
        "PGOPTIONS",
        "PGPASSFILE",
        "PGPASSWORD",
        "PGPORT",
        "PGSERVICE",
        "PGSERVICEFILE",
        "PGUSER",
    ];
    let bytes = name.as_encoded_bytes();
    bytes.starts_with(b"PGSSL") || NAMES.iter().any(|known| bytes == known.as_bytes())
}

fn is_withheld(name: &OsStr) -> bool {
    const STARTS: [&str; 10] = [
        "BOTFARM_TOKEN",
        "BOTFARM_KEY",
        "BOTFARM_OLD_KEY",
        "BOTFARM_ADMIN_",
        "BOTFARM_OPERATOR_",
        // That of a database may hold its password.
        "BOTFARM_URL",
        "BOTFARM_LISTEN_URL",
        "BOTFARM_STORE",
        PREFIX,
        "BOTFARM_LEASE_ID",
    ];
    STARTS.iter().any(|start| name.as_encoded_bytes().starts_with(start.as_bytes()))
}

/// As a variable's name has it: letters, digits and `_`.
fn in_capitals(text: &str, upper: bool) -> String {
    let fit = |c: char| match c {
        c if !c.is_ascii_alphanumeric() => '_',
        c if upper => c.to_ascii_uppercase(),
        c => c,
    };
    text.chars().map(fit).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use botfarm_core::{Bot, BotId, Env, Fence, Labels, LeaseId, NewBot, ProjectId, Timestamp};

    use super::*;

    fn leased(alias: Option<&str>, login: &str, labels: Labels) -> LeasedBot {
        let project = "11111111-1111-4111-8111-111111111111".parse::<ProjectId>().unwrap();
        let new = NewBot::new(login.parse().unwrap(), "s3cr=t \"x\"".try_into().unwrap(), project, Env::STAGE);
        let id = "01900000-0000-7000-8000-000000000001".parse::<BotId>().unwrap();
        let bot = Bot::new(id, &new.labels(labels), Timestamp::UNIX_EPOCH);
        LeasedBot { alias: alias.map(|alias| alias.parse().unwrap()), bot, password: new_password(), fence: Fence(1) }
    }

    fn new_password() -> botfarm_core::Secret {
        "s3cr=t \"x\"".try_into().unwrap()
    }

    fn lease(bots: Vec<LeasedBot>) -> Lease {
        Lease {
            id: "22222222-2222-4222-8222-222222222222".parse::<LeaseId>().unwrap(),
            terms: botfarm_core::Terms::new("test".parse().unwrap()).into(),
            acquired_at: Timestamp::UNIX_EPOCH,
            expires_at: Timestamp::UNIX_EPOCH,
            ttl: Duration::from_mins(1),
            remaining: Duration::from_mins(1),
            bots,
        }
    }

    #[test]
    fn a_bot_alone_has_plain_names() {
        let labels = Labels::try_from([("role", "admin"), ("2fa-app", "yes")]).unwrap();
        let mappings = ["LOGIN=CYPRESS_USERNAME".parse().unwrap(), "LABEL_ROLE=E2E_ROLE".parse().unwrap()];
        let variables = variables(&lease(vec![leased(None, "qa-1", labels)]), &mappings).unwrap();
        let expected = [
            ("BOTFARM_USER_LOGIN", "qa-1"),
            ("BOTFARM_USER_PASSWORD", "s3cr=t \"x\""),
            ("BOTFARM_USER_ID", "01900000-0000-7000-8000-000000000001"),
            ("BOTFARM_USER_PROJECT_ID", "11111111-1111-4111-8111-111111111111"),
            ("BOTFARM_USER_ENV", "stage"),
            ("BOTFARM_USER_DOMAIN", "canary"),
            ("BOTFARM_USER_LABEL_2FA_APP", "yes"),
            ("BOTFARM_USER_LABEL_ROLE", "admin"),
            ("CYPRESS_USERNAME", "qa-1"),
            ("E2E_ROLE", "admin"),
            ("BOTFARM_LEASE_ID", "22222222-2222-4222-8222-222222222222"),
        ];
        assert_eq!(variables, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn bots_with_aliases_have_the_alias_in_their_names() {
        let bots =
            vec![leased(Some("admin"), "qa-1", Labels::none()), leased(Some("member-2"), "qa-2", Labels::none())];
        let variables = variables(&lease(bots), &["MEMBER_2_LOGIN=MEMBER".parse().unwrap()]).unwrap();
        let value = |name: &str| variables.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        assert_eq!(value("BOTFARM_USER_ADMIN_LOGIN"), Some("qa-1"));
        assert_eq!(value("BOTFARM_USER_MEMBER_2_LOGIN"), Some("qa-2"));
        assert_eq!(value("MEMBER"), Some("qa-2"));
        assert_eq!(value("BOTFARM_USER_LOGIN"), None);
    }

    #[test]
    fn a_mapped_label_must_be_there() {
        let error = variables(&lease(vec![leased(None, "qa-1", Labels::none())]), &["LABEL_ROLE=R".parse().unwrap()]);
        assert_eq!(error, Err("--map LABEL_ROLE=R: the bot has no such label".to_owned()));
    }

    #[test]
    fn mappings_are_checked_before_anything_is_leased() {
        let check = |mapping: &str, aliases: &[&str]| {
            let aliases: Vec<_> = aliases.iter().map(|alias| alias.parse().unwrap()).collect();
            mapping.parse::<Mapping>().unwrap().check(&aliases).is_ok()
        };
        assert!(check("LOGIN=X", &[]) && check("LABEL_ANY=X", &[]) && check("BOTFARM_USER_LOGIN=X", &[]));
        assert!(check("ADMIN_LOGIN=X", &["admin"]) && check("A_B_ENV=X", &["other", "a-b"]));
        assert!(!check("login=X", &[]) && !check("LOGIN=X", &["admin"]) && !check("ADMIN_LOGIN=X", &[]));
        for bad in ["LOGIN", "LOGIN=", "LOGIN=A B", "LOGIN=1A", "LOGIN=Ä", "LOGIN=A=B"] {
            assert!(bad.parse::<Mapping>().is_err(), "{bad}");
        }
    }

    #[test]
    fn aliases_that_would_share_variables_are_refused() {
        let aliases =
            |aliases: &[&str]| check_aliases(&aliases.iter().map(|alias| alias.parse().unwrap()).collect::<Vec<_>>());
        assert_eq!(aliases(&["a", "b"]), Ok(()));
        assert_eq!(
            aliases(&["a-b", "A_B"]),
            Err("two users would have the variables BOTFARM_USER_A_B_…; give them other names".to_owned())
        );
    }

    #[test]
    fn what_leads_to_botfarm_s_database_is_known() {
        for name in ["DATABASE_URL", "PGPASSWORD", "PGHOST", "PGSSLKEY", "PGPASSFILE", "PGSERVICE"] {
            assert!(leads_to_a_database(OsStr::new(name)) && !is_withheld(OsStr::new(name)), "{name}");
        }
        for name in ["PGADMIN_PORT", "PGP_KEY", "MY_DATABASE_URL", "PATH"] {
            assert!(!leads_to_a_database(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn secrets_are_withheld() {
        for name in [
            "BOTFARM_TOKEN",
            "BOTFARM_TOKEN_FILE",
            "BOTFARM_KEY",
            "BOTFARM_KEY_FILE",
            "BOTFARM_OLD_KEYS",
            "BOTFARM_ADMIN_LOGIN",
            "BOTFARM_ADMIN_PASSWORD",
            "BOTFARM_ADMIN_PASSWORD_FILE",
            "BOTFARM_OPERATOR_PASSWORD",
            "BOTFARM_OPERATOR_PASSWORD_FILE",
            "BOTFARM_LISTEN_URL",
            "BOTFARM_URL",
            "BOTFARM_URL_FILE",
            "BOTFARM_STORE",
            "BOTFARM_USER_LOGIN",
            "BOTFARM_LEASE_ID",
        ] {
            assert!(is_withheld(OsStr::new(name)), "{name}");
        }
        assert!(!is_withheld(OsStr::new("BOTFARM_ENV")) && !is_withheld(OsStr::new("MY_BOTFARM_TOKEN")));
    }
}

//! What the rows of an import change.

use std::collections::HashMap;

use crate::{
    bot::NewBot,
    error::Fault,
    location::{Field, Location},
    text::Holder,
};

/// What is wrong with rows of an import that name an account which a row above names already, by row, counted from 0.
#[must_use]
pub fn twins(rows: &[NewBot]) -> Vec<(usize, Fault)> {
    let mut first = HashMap::new();
    let mut faults = Vec::new();
    for (row, bot) in rows.iter().enumerate() {
        let above = *first.entry((&bot.env, bot.login.folded())).or_insert(row);
        if above != row {
            // People count from one.
            let detail = format!("names the same account as row {}", above + 1);
            faults.push((row, Fault::new(Location::row(row).field(Field::Login), detail)));
        }
    }
    faults
}

/// What a row says of an account that the farm does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one for each field, and any of them may differ")]
pub struct Difference {
    /// Another project.
    pub project: bool,
    /// Another domain.
    pub domain: bool,
    /// The login is written otherwise.
    pub login: bool,
    /// Other labels.
    pub labels: bool,
    /// Another password.
    pub password: bool,
}

impl Difference {
    /// Whether the row says nothing new.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// What is wrong with row number `row`, counted from 0, while `holder` holds the account: a bot that is held stays in
    /// its project and its domain.
    pub fn held(self, row: usize, holder: &Holder) -> impl Iterator<Item = Fault> + '_ {
        let moved = [(Field::Project, self.project), (Field::Domain, self.domain)];
        let moved = moved.into_iter().filter(|(_, moved)| *moved);
        moved.map(move |(field, _)| {
            Fault::new(Location::row(row).field(field), format!("must stay as it is while {holder} holds the bot"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_bot_stays_where_it_is_and_may_change_otherwise() {
        let faults = |difference: Difference| {
            let holder = "ada".parse().unwrap();
            difference.held(2, &holder).map(|fault| (fault.at.to_string(), fault.detail)).collect::<Vec<_>>()
        };
        let detail = || "must stay as it is while ada holds the bot".to_owned();
        let moved = Difference { project: true, domain: true, ..Difference::default() };
        assert_eq!(faults(moved), [("row 3, project".to_owned(), detail()), ("row 3, domain".to_owned(), detail())]);
        assert_eq!(faults(Difference { login: true, labels: true, password: true, ..Difference::default() }), []);
        assert!(Difference::default().is_none() && !moved.is_none());
    }

    #[test]
    fn two_rows_of_one_account_are_found_whatever_the_case() {
        let row = |login: &str, env: &str| {
            let (login, env) = (login.parse().unwrap(), env.parse().unwrap());
            NewBot::new(login, "pw".try_into().unwrap(), "shop".parse().unwrap(), env)
        };
        let found = twins(&[row("ada", "stage"), row("ada", "prod"), row("Ada", "stage")]);
        let fault = Fault::new(Location::row(2).field(Field::Login), "names the same account as row 1");
        assert_eq!(found, [(2, fault)]);
    }
}

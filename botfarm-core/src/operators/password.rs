//! Which passwords an operator may have.

use super::PasswordHash;
use crate::{
    error::{Error, Result},
    location::Field,
    secret::Secret,
    text::Login,
};

/// The fewest characters of an operator's password.
pub const PASSWORD_LENGTH: usize = 12;

/// The thousand commonest passwords of six characters and more, and those of twelve and more among the 49,000 commonest,
/// in lower case: from the lists of zxcvbn (MIT, Dropbox, Inc.), which are counted in published leaks.
static COMMONEST: &str = include_str!("commonest.txt");

/// How much there is to be of a password beside a common one that is in it, in characters.
const BESIDE: usize = 6;

impl PasswordHash {
    /// Whether an operator of this login may have this password: it has at least 12 characters, is not the login, and
    /// not one of those that everybody tries first, nor one of them with a few characters around it or twice.
    ///
    /// # Errors
    /// `Invalid` at the password, which says what is wrong with it.
    pub fn check(login: &Login, password: &Secret) -> Result<()> {
        let refused = |why: &str| Err(Error::invalid(Field::Password, why));
        let password = password.expose();
        if password.chars().count() < PASSWORD_LENGTH {
            return refused("must have at least 12 characters");
        }
        let password = secrecy::zeroize::Zeroizing::new(password.to_lowercase());
        if *password == login.folded() {
            return refused("must not be the login");
        }
        let length = password.chars().count();
        let is_common = |common: &str| match password.matches(common).count() {
            0 => false,
            times => length.saturating_sub(times * common.chars().count()) < BESIDE,
        };
        if COMMONEST.lines().any(is_common) {
            return refused("is one of those that are tried first; three or four words that do not belong together do");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(login: &str, password: &str) -> Option<String> {
        let refused = PasswordHash::check(&login.parse().unwrap(), &password.try_into().unwrap()).err()?;
        let Error::Invalid { faults } = refused else { panic!("{refused:?}") };
        assert_eq!((faults.len(), faults[0].at.clone()), (1, Field::Password.into()));
        Some(faults[0].detail.clone())
    }

    #[test]
    fn a_password_has_twelve_characters_and_is_neither_the_login_nor_a_common_one() {
        let [short, login, common] = [
            "must have at least 12 characters",
            "must not be the login",
            "is one of those that are tried first; three or four words that do not belong together do",
        ];
        for (password, expected) in [
            ("x", short),
            ("elevenchars", short),
            ("ééééééééééé", short),
            ("grace@corp.example", login),
            ("GRACE@corp.example", login),
            ("qwertyuiop123", common),
            ("Password1234", common),
            ("passwordpassword", common),
            ("123456789012", common),
            ("1qaz2wsx3edc", common),
        ] {
            assert_eq!(refusal("grace@corp.example", password).as_deref(), Some(expected), "{password}");
        }
        for password in ["twelve chars", "correct zebra battery staple", "dragonfly over water", "éééééééééééé"]
        {
            assert_eq!(refusal("grace@corp.example", password), None, "{password}");
        }
    }
}

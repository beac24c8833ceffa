//! Texts that have been checked: they cannot be built with a fault in them.

use std::fmt;

use serde::Deserialize;
use smol_str::SmolStr;

/// Why a text was refused, in words for whoever typed it. Never repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadText(pub(crate) String);

/// `text` has between 1 and `max` characters, none of them a control character.
pub(crate) fn check_line(text: &str, max: usize) -> Result<(), BadText> {
    let length = text.chars().count();
    if text.trim().is_empty() {
        return Err(BadText("must not be empty".into()));
    }
    if length > max {
        return Err(BadText(format!("must have at most {max} characters, has {length}")));
    }
    if text.chars().any(is_control) {
        return Err(BadText("must not contain control characters, nor such as change the direction of text".into()));
    }
    Ok(())
}

/// Whether it is not to be seen, but changes how what is around it is shown: two texts that differ could look the same,
/// and one could look like another.
pub(crate) fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What all checked texts have in common; each says itself what it takes, and how it is shown to those who debug.
macro_rules! text_traits {
    ($name:ident) => {
        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::text::BadText;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::try_from(text.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::text::BadText;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::try_from(text)
            }
        }

        impl std::ops::Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

pub(crate) use text_traits;

macro_rules! text_newtype {
    ($(#[$meta:meta])* $name:ident, $check:expr) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(SmolStr);

        text_traits!($name);

        impl TryFrom<&str> for $name {
            type Error = BadText;

            fn try_from(text: &str) -> Result<Self, BadText> {
                let check: fn(&str) -> Result<(), BadText> = $check;
                check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.as_str().to_owned()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), &*self.0)
            }
        }
    };
}

text_newtype! {
    /// The name that a bot logs in with: 1 to 320 characters, as long as the longest e-mail address.
    Login, |text| check_line(text, 320)
}

impl Login {
    /// The form in which logins are compared: two logins of one env that differ in case alone are one account.
    #[must_use]
    pub fn folded(&self) -> String {
        self.0.to_lowercase()
    }
}

text_newtype! {
    /// Who holds a lease, for people to read: a person, a test, a CI job. 1 to 200 characters.
    Holder, |text| check_line(text, 200)
}

text_newtype! {
    /// A remark on a lease, an outcome or a revocation: 1 to 2,000 characters, line breaks allowed.
    Note, |text| {
        let flat: String = text.chars().map(|c| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c }).collect();
        check_line(&flat, 2_000)
    }
}

text_newtype! {
    /// Where to look, usually the CI job: an `http` or `https` URL without a password in it, of at most 2,000 characters.
    JobUrl, |text| {
        check_line(text, 2_000)?;
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let authority = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
        match authority {
            None | Some("") => Err(BadText("must be an http:// or https:// URL".into())),
            Some(authority) if authority.contains('@') => {
                Err(BadText("must not contain a user name or password".into()))
            }
            Some(_) if text.contains(char::is_whitespace) => Err(BadText("must not contain white space".into())),
            Some(_) => Ok(()),
        }
    }
}

text_newtype! {
    /// What a bot is for within its lease, such as `admin` or `member`: 1 to 64 of `A-Z a-z 0-9 _ -`.
    Alias, |text| {
        check_line(text, 64)?;
        if text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
            Ok(())
        } else {
            Err(BadText("must consist of letters, digits, '_' and '-'".into()))
        }
    }
}

text_newtype! {
    /// Asks for the bot last leased with the same key, if it is free: 1 to 200 characters.
    StickyKey, |text| check_line(text, 200)
}

text_newtype! {
    /// The authenticated caller on whose behalf a service leases: 1 to 200 characters.
    Owner, |text| check_line(text, 200)
}

text_newtype! {
    /// What a lease is a part of: a CI run, a test session. 1 to 200 characters.
    Run, |text| check_line(text, 200)
}

text_newtype! {
    /// What was done, to what, or with which result, in an audit trail: 1 to 200 characters.
    Subject, |text| check_line(text, 200)
}

text_newtype! {
    /// The id that a service knows a request by: 1 to 128 of `A-Z a-z 0-9 . _ -`.
    RequestId, |text| {
        check_line(text, 128)?;
        if text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) {
            Ok(())
        } else {
            Err(BadText("must consist of letters, digits, '.', '_' and '-'".into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_would_be_shown_as_others_are_refused() {
        for c in ['\u{1b}', '\u{9b}', '\n', '\u{202e}', '\u{2066}', '\u{200f}', '\u{61c}'] {
            let text = format!("ada{c}nimda");
            assert!(Login::try_from(&*text).is_err(), "{text:?}");
            assert!(Holder::try_from(&*text).is_err(), "{text:?}");
            assert!(crate::Labels::try_from([("role", &*text)]).is_err(), "{text:?}");
            assert_eq!(Note::try_from(&*text).is_ok(), c == '\n', "{text:?}");
        }
        assert!(
            Login::try_from("\u{5d0}\u{5d1}@\u{062f}.example").is_ok(),
            "languages written from the right are fine"
        );
    }
}

//! Names of a team's own: of projects, envs and domains.

use std::fmt;

use serde::Deserialize;
use smol_str::SmolStr;
use uuid::Uuid;

use crate::text::{BadText, text_traits};

/// The longest name, in characters.
pub(crate) const LONGEST: usize = 64;

/// The text as a name is kept: in lower case. A UUID is a name.
fn folded(text: &str) -> Result<SmolStr, BadText> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let starts_well = text.starts_with(|first: char| first.is_ascii_alphanumeric());
    if !starts_well || text.len() > LONGEST || !text.bytes().all(is_fit) {
        let must = "must be a name: 1 to 64 of a-z, 0-9, '.', '_' and '-', of which the first is a letter or a digit";
        return Err(BadText(must.to_owned()));
    }
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Ok(text.to_ascii_lowercase().into());
    }
    Ok(text.into())
}

macro_rules! name_newtype {
    ($(#[$meta:meta])* $name:ident { $($(#[$const_meta:meta])* $const:ident = $word:literal),* $(,)? }) => {
        $(#[$meta])*
        ///
        /// 1 to 64 of `a-z`, `0-9`, `.`, `_` and `-`, of which the first is a letter or a digit; capitals are folded.
        /// Cheap to clone.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(SmolStr);

        text_traits!($name);

        impl $name {
            $($(#[$const_meta])* pub const $const: Self = Self(SmolStr::new_static($word));)*
        }

        impl TryFrom<&str> for $name {
            type Error = BadText;

            fn try_from(text: &str) -> Result<Self, BadText> {
                folded(text).map(Self)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

name_newtype! {
    /// Which project a bot belongs to: a name, or a UUID.
    ProjectId {}
}

impl ProjectId {
    /// A new one, which nobody else has: a random UUID.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each call gives another one")]
    pub fn new() -> Self {
        Uuid::new_v4().into()
    }
}

impl From<Uuid> for ProjectId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()).into())
    }
}

name_newtype! {
    /// Which installation of the system under test a bot belongs to: `stage`, `qa`, `eu-west.stage`.
    Env {
        /// Production. Its bots are leased to those alone who name it, or the bot, unless the
        /// [policy](crate::LeasePolicy) says otherwise.
        PROD = "prod",
        /// Pre-production.
        PREPROD = "preprod",
        /// Staging.
        STAGE = "stage",
    }
}

name_newtype! {
    /// Which kind of account a bot is: `canary`, `regular`, or what the team calls it.
    Domain {
        /// For canary releases. The default.
        CANARY = "canary",
        /// A regular account.
        REGULAR = "regular",
    }
}

impl Default for Domain {
    fn default() -> Self {
        Self::CANARY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_team_are_taken_and_folded() {
        for name in ["dev", "qa", "eu-west.stage", "0", "a_b", "67e55044-10b1-426f-9247-bb680e5fe0c8", &"x".repeat(64)]
        {
            assert_eq!(Env::try_from(name).unwrap().as_str(), name);
            assert_eq!(ProjectId::try_from(name.to_uppercase()).unwrap().as_str(), name);
        }
        let uuid = Uuid::new_v4();
        assert_eq!(ProjectId::from(uuid), uuid.to_string().parse().unwrap());
        assert_eq!("STAGE".parse(), Ok(Env::STAGE));
        assert_eq!(serde_json::from_str::<Domain>("\"Canary\"").unwrap(), Domain::default());
    }

    #[test]
    fn what_could_be_taken_for_something_else_is_no_name() {
        let long = "x".repeat(65);
        for text in [
            "", " ", "-dev", ".dev", "_dev", "a b", " dev", "a/b", "a:b", "*", "étage", "dev\n", "\u{fb00}",
            "\u{212a}", &long,
        ] {
            let error = Env::try_from(text).unwrap_err().to_string();
            assert!(error.starts_with("must be a name: 1 to 64 of a-z"), "{text:?}: {error}");
        }
    }
}

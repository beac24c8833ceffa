//! A bot's password.

use std::{fmt, sync::Arc};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::text::BadText;

/// A password: 1 to 1,024 characters. Redacted in `Debug`, not serialisable, wiped from memory with its last clone.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Secret(Arc<SecretString>);

impl Secret {
    /// The password itself. The name is meant to stand out in a review.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl TryFrom<String> for Secret {
    type Error = BadText;

    fn try_from(text: String) -> Result<Self, BadText> {
        // Taken into the wiping type first, so that a refused password is wiped, too.
        let text = SecretString::from(text);
        let length = text.expose_secret().chars().count();
        if length == 0 {
            return Err(BadText("must not be empty".into()));
        }
        if length > 1_024 {
            return Err(BadText("must have at most 1024 characters".into()));
        }
        if text.expose_secret().contains('\0') {
            return Err(BadText("must not contain the character NUL".into()));
        }
        Ok(Self(Arc::new(text)))
    }
}

impl TryFrom<&str> for Secret {
    type Error = BadText;

    fn try_from(text: &str) -> Result<Self, BadText> {
        Self::try_from(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Compares in a time that depends on the lengths alone.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.expose().as_bytes(), other.expose().as_bytes());
        a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }
}

impl Eq for Secret {}

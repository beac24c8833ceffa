//! The secret of an API token.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use botfarm_core::{Error, Result, Secret, operators::TokenDigest};
use sha2::{Digest as _, Sha256};

/// What every token begins with, so that scanners for leaked secrets know it.
const PREFIX: &str = "bf_";

/// The secret of an API token: `bf_` and 32 random bytes in base64url. Redacted in `Debug`.
///
/// ```
/// # use botfarm_http::auth::ApiToken;
/// let token = ApiToken::generate()?;
/// assert!(token.secret().expose().starts_with("bf_"));
/// # Ok::<_, botfarm_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken(Secret);

impl ApiToken {
    /// A new one.
    ///
    /// # Errors
    /// `Backend` when the operating system has no randomness to give.
    pub fn generate() -> Result<Self> {
        let mut bytes = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes).map_err(Error::backend)?;
        let mut text = String::with_capacity(PREFIX.len() + 43);
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(*bytes, &mut text);
        Secret::try_from(text).map(Self).map_err(Error::backend)
    }

    /// The secret, to be shown once.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.0
    }

    /// What is kept of it: the SHA-256 of the whole text, `bf_` included.
    #[must_use]
    pub fn digest(&self) -> TokenDigest {
        digest(self.0.expose())
    }
}

/// What is kept of `credential`, if it looks like a token.
pub(crate) fn digest_of(credential: &str) -> Option<TokenDigest> {
    credential.starts_with(PREFIX).then(|| digest(credential))
}

fn digest(text: &str) -> TokenDigest {
    TokenDigest(Sha256::digest(text).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_alike_in_form_alone() {
        let [one, other] = [ApiToken::generate().unwrap(), ApiToken::generate().unwrap()];
        for token in [&one, &other] {
            let random = token.secret().expose().strip_prefix("bf_").unwrap();
            assert_eq!(URL_SAFE_NO_PAD.decode(random).unwrap().len(), 32);
            assert_eq!(digest_of(token.secret().expose()), Some(token.digest()));
            assert_eq!(format!("{token:?}"), "ApiToken(Secret(***))");
        }
        assert_ne!(one.digest(), other.digest());
    }

    #[test]
    fn digest_is_the_sha_256_of_the_whole_text() {
        let TokenDigest(digest) = digest_of("bf_x").unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(digest), "bVh1ul8m7Pfdiwv1A_8-9hfeHlYIj2kklllCXzRlTeE");
        assert_eq!(digest_of("bfx"), None);
    }
}

//! The one secret that all keys come from.

use std::{fmt, str::FromStr};

use base64::{Engine, prelude::BASE64_STANDARD};
use chacha20poly1305::{
    XChaCha20Poly1305,
    aead::{Generate, Key},
};
use hkdf::Hkdf;
use secrecy::{ExposeSecret, SecretBox};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use super::{error::KeyError, key_id::KeyId};

/// A master key: 32 random bytes. All the keys that botfarm works with are derived from it.
///
/// Written as 44 characters of base64. Redacted in `Debug`, and wiped from memory when dropped.
pub struct MasterKey(SecretBox<[u8; 32]>);

impl MasterKey {
    /// A new one.
    ///
    /// # Panics
    /// When the operating system has no randomness to give.
    #[must_use]
    pub fn generate() -> Self {
        let mut bytes = Key::<XChaCha20Poly1305>::generate();
        let key = Self(SecretBox::init_with_mut(|key: &mut [u8; 32]| key.copy_from_slice(&bytes)));
        bytes.as_mut_slice().zeroize();
        key
    }

    /// The key as it is kept in `BOTFARM_KEY`. The name is meant to stand out in a review.
    #[must_use]
    pub fn expose_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64_STANDARD.encode(self.0.expose_secret()))
    }

    /// The name that values sealed under this key carry.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let bytes = self.expand([b"botfarm key id"]);
        let mut id = [0; KeyId::LENGTH];
        id.copy_from_slice(&bytes[..KeyId::LENGTH]);
        KeyId::from(id)
    }

    /// HKDF-SHA256 (RFC 5869) without a salt, since the master key is random in every bit.
    pub(super) fn expand<const N: usize>(&self, info: [&[u8]; N]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, self.0.expose_secret())
            .expand_multi_info(&info, &mut *key)
            .expect("HKDF-SHA256 gives up to 8160 bytes");
        key
    }
}

impl FromStr for MasterKey {
    type Err = KeyError;

    /// Spaces around the key, such as a line break at the end of its file, are left out.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let refused = || KeyError::NotAKey { place: "this".into() };
        // base64 wants room for whole groups of three.
        let mut bytes = Zeroizing::new([0; 33]);
        let length = BASE64_STANDARD.decode_slice(text.trim(), &mut *bytes).map_err(|_| refused())?;
        if length != 32 {
            return Err(refused());
        }
        Ok(Self(SecretBox::init_with_mut(|key: &mut [u8; 32]| key.copy_from_slice(&bytes[..32]))))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(***)")
    }
}

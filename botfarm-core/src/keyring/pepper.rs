//! A secret of a farm's own, by which it knows what it has written itself.

use std::fmt;

use chacha20poly1305::{
    XChaCha20Poly1305,
    aead::{Generate, Key},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{KeyError, Keyring};
use crate::{
    id::LeaseId,
    operators::{Operator, PasswordHash, Token, TokenDigest},
    secret::Secret,
};

/// In the place of what a password is sealed for, and like none of that.
const CONTEXT: &[u8] = b"botfarm pepper";

/// A secret that a store keeps sealed like a password, so that it stays what it is when the farm gets another key. What
/// is computed with it is of no use to whoever reads the store, and cannot be computed by whoever writes into it.
///
/// Redacted in `Debug`, and wiped from memory when dropped.
#[derive(Clone)]
pub struct Pepper(Secret);

impl Pepper {
    /// That of a new store.
    ///
    /// # Panics
    /// When the operating system has no randomness to give.
    #[must_use]
    pub fn generate() -> Self {
        let random = Zeroizing::new(<[u8; 32]>::from(Key::<XChaCha20Poly1305>::generate()));
        let words = random.as_chunks().0.iter().map(|word| u64::from_be_bytes(*word).to_string());
        let words = words.collect::<Vec<_>>().join(" ");
        Self(Secret::try_from(words).expect("four numbers are a secret"))
    }

    /// As a store keeps it.
    #[must_use]
    pub fn seal(&self, keyring: &Keyring) -> Vec<u8> {
        keyring.seal_secret(&self.0, CONTEXT)
    }

    /// As a store has kept it.
    ///
    /// # Errors
    /// Those of [`Keyring::open`].
    pub fn open(sealed: &[u8], keyring: &Keyring) -> Result<Self, KeyError> {
        keyring.open_secret(sealed, CONTEXT).map(Self)
    }

    /// What a store calls a lease. Whoever reads it there cannot renew or release with it.
    #[must_use]
    pub fn lease(&self, id: LeaseId) -> LeaseId {
        let mac = self.mac("lease", &[id.as_uuid().as_bytes()]);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&mac[..16]);
        Uuid::from_bytes(bytes).into()
    }

    /// What a store keeps of a token's digest.
    #[must_use]
    pub fn token(&self, digest: TokenDigest) -> TokenDigest {
        TokenDigest(self.mac("token", &[&digest.0]))
    }

    /// Over the row of an operator, so that whoever writes into the store makes no admin. All but since when it is one.
    #[must_use]
    pub fn operator_row(&self, operator: &Operator, password: &PasswordHash) -> [u8; 32] {
        self.mac(
            "operator row",
            &[
                operator.id.0.as_bytes(),
                operator.login.as_str().as_bytes(),
                operator.role.as_str().as_bytes(),
                password.expose().as_bytes(),
                &operator.generation.to_le_bytes(),
            ],
        )
    }

    /// Over the row of a token, with what is kept of its digest. All but when it was made, and when last used.
    #[must_use]
    pub fn token_row(&self, token: &Token, digest: TokenDigest) -> [u8; 32] {
        let project = token.scope.project.as_deref().unwrap_or_default();
        let env = token.scope.env.as_deref().unwrap_or_default();
        // A token without an end is not one that ended in 1970.
        let expires_at = token.expires_at.map(|at| at.timestamp_micros().to_le_bytes());
        self.mac(
            "token row",
            &[
                token.id.0.as_bytes(),
                token.name.as_str().as_bytes(),
                token.role.as_str().as_bytes(),
                project.as_bytes(),
                env.as_bytes(),
                &digest.0,
                expires_at.as_ref().map_or(&[], |at| at.as_slice()),
            ],
        )
    }

    /// HMAC-SHA256 over a purpose and parts, each with its length before it, so that no two lists of parts look alike.
    fn mac(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.0.expose().as_bytes()).expect("HMAC takes keys of any length");
        for part in [purpose.as_bytes()].iter().chain(parts) {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{keyring::MasterKey, operators::Role};

    #[test]
    fn what_is_computed_depends_on_every_part_and_outlives_another_key() {
        let [old, new] = [MasterKey::generate(), MasterKey::generate()].map(|key| key.expose_base64());
        let first = Keyring::new(old.parse().unwrap(), []);
        let pepper = Pepper::generate();
        let kept = Pepper::open(&pepper.seal(&first), &first).unwrap();
        let second = Keyring::new(new.parse().unwrap(), [old.parse().unwrap()]);
        let kept = Pepper::open(&kept.seal(&second), &Keyring::new(new.parse().unwrap(), [])).unwrap();
        let digest = TokenDigest([7; 32]);
        assert_eq!(pepper.token(digest), kept.token(digest));
        assert_ne!(pepper.token(digest), digest);
        assert_ne!(pepper.token(digest), Pepper::generate().token(digest), "each store has its own");

        let ada = Operator {
            id: crate::operators::OperatorId(Uuid::new_v4()),
            login: "ada".parse().unwrap(),
            role: Role::Viewer,
            created_at: crate::Timestamp::UNIX_EPOCH,
            generation: 0,
        };
        let hash = PasswordHash::from_phc("hash");
        let row = pepper.operator_row(&ada, &hash);
        assert_eq!(row, kept.operator_row(&ada, &hash));
        let others = [
            (Operator { login: "bob".parse().unwrap(), ..ada.clone() }, hash.clone()),
            (Operator { role: Role::Admin, ..ada.clone() }, hash.clone()),
            (Operator { generation: 1, ..ada.clone() }, hash.clone()),
            (ada, PasswordHash::from_phc("another")),
        ];
        for (operator, hash) in others {
            assert_ne!(pepper.operator_row(&operator, &hash), row, "{operator:?}");
        }
        assert_eq!(format!("{pepper:?}"), "Pepper(***)");
    }
}

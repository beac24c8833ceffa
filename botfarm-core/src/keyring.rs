//! Passwords at rest: sealed under a master key that the store never sees.

mod error;
mod key_id;
mod master_key;
mod owner;
mod pepper;
mod unreadable;
mod vars;

use std::{ffi::OsString, fmt, ops::RangeInclusive, str, sync::Arc};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, AeadInOut, Generate, Payload},
};
use zeroize::Zeroizing;

pub use self::{
    error::KeyError, key_id::KeyId, master_key::MasterKey, owner::SealedFor, pepper::Pepper, unreadable::Unreadable,
};
use crate::secret::Secret;

/// The layout of a sealed value, its first byte.
const VERSION: u8 = 1;
/// Layouts to come.
const LATER: RangeInclusive<u8> = VERSION + 1..=15;
const NONCE: usize = 24;
const HEADER: usize = 1 + KeyId::LENGTH + NONCE;
const TAG: usize = 16;

/// What a farm keeps sealed, to recognise its key by.
const CHECK: &[u8] = b"botfarm";
/// In the place of what a password is sealed for, and like none of that.
const CHECK_CONTEXT: &[u8] = b"botfarm check";

/// The keys of a farm: the current one, under which everything new is sealed, and old ones, for reading.
///
/// A sealed value is `0x01`, the [id](KeyId) of its key (4 bytes), a random nonce (24 bytes), and the ciphertext of
/// XChaCha20-Poly1305 with its tag. [What it is sealed for](SealedFor) is bound in as associated data: a value that is
/// moved to another bot does not open, nor one whose bot got another login, env or project in the store, nor an older one
/// that is put back. It is as long as the password plus 45 bytes.
///
/// To change the key without an outage: add the new one to `BOTFARM_OLD_KEYS` of every replica, then make it
/// `BOTFARM_KEY` and the former one the old, then run `botfarm rekey`, then drop the old one.
///
/// Clones share the keys, which are wiped from memory with the last of them. `Debug` shows their ids alone.
#[derive(Clone)]
pub struct Keyring(Arc<[Key]>);

/// The first in a ring is the current one.
struct Key {
    id: KeyId,
    master: MasterKey,
    cipher: XChaCha20Poly1305,
}

impl Keyring {
    /// A ring that seals under `current`, and opens what was sealed under that or any of `old`.
    #[must_use]
    pub fn new(current: MasterKey, old: impl IntoIterator<Item = MasterKey>) -> Self {
        Self([current].into_iter().chain(old).map(Key::new).collect())
    }

    /// The ring that the environment describes. Each variable may be given as a file instead, whose name is in the
    /// variable with `_FILE` after it.
    ///
    /// | variable | what |
    /// |---|---|
    /// | `BOTFARM_KEY` | the current key: 32 bytes in base64, as `botfarm key new` prints them |
    /// | `BOTFARM_OLD_KEYS` | keys for reading, separated by commas |
    ///
    /// # Errors
    /// `Missing` without a current key; `SetTwice` when both a variable and its file are given; `Unreadable` when the
    /// file cannot be read; `NotAKey` for a value that is none.
    pub fn from_env() -> Result<Self, KeyError> {
        Self::from_vars(|name| std::env::var_os(name))
    }

    /// As [`from_env`](Self::from_env), with variables from elsewhere.
    ///
    /// # Errors
    /// Those of [`from_env`](Self::from_env).
    pub fn from_vars(vars: impl Fn(&str) -> Option<OsString>) -> Result<Self, KeyError> {
        let current = vars::current(&vars)?;
        Ok(Self::new(current, vars::old(&vars)?))
    }

    /// Seals a password under the current key. Twice the same password gives two different values.
    ///
    /// # Panics
    /// When the operating system has no randomness to give.
    #[must_use]
    pub fn seal(&self, password: &Secret, of: &SealedFor<'_>) -> Vec<u8> {
        self.seal_secret(password, &of.bytes())
    }

    /// Opens what [`seal`](Self::seal) gave for the same, under this or any ring that has the key.
    ///
    /// # Errors
    /// `NotSealed` when it is no sealed value; `Later` when it was sealed by a later version; `UnknownKey` when the ring
    /// lacks its key; `Altered` when it was changed, or sealed for something else.
    pub fn open(&self, sealed: &[u8], of: &SealedFor<'_>) -> Result<Secret, KeyError> {
        self.open_secret(sealed, &of.bytes())
    }

    fn seal_secret(&self, secret: &Secret, context: &[u8]) -> Vec<u8> {
        self.seal_bytes(secret.expose().as_bytes(), context)
    }

    fn open_secret(&self, sealed: &[u8], context: &[u8]) -> Result<Secret, KeyError> {
        let plain = self.open_bytes(sealed, context)?;
        // Copied at its exact length, so that no reallocation leaves a second copy behind.
        let password = str::from_utf8(&plain).map_err(|_| KeyError::NotSealed)?.to_owned();
        Secret::try_from(password).map_err(|_| KeyError::NotSealed)
    }

    /// A value for a farm to keep, by which [`open_check`](Self::open_check) tells at its next start that it was given
    /// the right key.
    ///
    /// # Panics
    /// When the operating system has no randomness to give.
    #[must_use]
    pub fn seal_check(&self) -> Vec<u8> {
        self.seal_bytes(CHECK, CHECK_CONTEXT)
    }

    /// Whether this ring is the farm's, judged by the check value that the farm has kept. To be called before anything
    /// is sealed: two keys in one farm, each in a ring that lacks the other, would make it unreadable for both.
    ///
    /// # Errors
    /// `WrongKey` when the ring lacks the farm's key; `NotSealed` or `Altered` when the value is no check value.
    pub fn open_check(&self, sealed: &[u8]) -> Result<(), KeyError> {
        match self.open_bytes(sealed, CHECK_CONTEXT) {
            Ok(plain) if *plain == CHECK => Ok(()),
            Ok(_) => Err(KeyError::NotSealed),
            Err(KeyError::UnknownKey { id }) => Err(KeyError::WrongKey { farm: id, given: self.current_key_id() }),
            Err(error) => Err(error),
        }
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn current_key_id(&self) -> KeyId {
        self.current().id
    }

    /// Whether `sealed` is sealed under the current key; when not, `botfarm rekey` has work to do. Reads the header
    /// alone: it proves nothing.
    #[must_use]
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        parts(sealed).is_ok_and(|(id, ..)| id == self.current_key_id())
    }

    /// A key for something else, such as signing sessions, derived from the current one (HKDF-SHA256). The same
    /// purpose gives the same key; keys of different purposes say nothing of each other, nor of the master key.
    ///
    /// Whatever was signed with it no longer holds once the current key is changed.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        self.current().master.expand([b"botfarm derive ", purpose.as_bytes()])
    }

    fn current(&self) -> &Key {
        // `new` is the only way to a ring, and puts one in.
        &self.0[0]
    }

    fn seal_bytes(&self, plain: &[u8], context: &[u8]) -> Vec<u8> {
        let Key { id, cipher, .. } = self.current();
        let nonce = XNonce::generate();
        let ciphertext = cipher
            .encrypt(&nonce, Payload { msg: plain, aad: context })
            .expect("the cipher takes 256 GiB, and a password has 4 KiB at most");
        [&[VERSION], id.as_bytes().as_slice(), &nonce, &ciphertext].concat()
    }

    fn open_bytes(&self, sealed: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let (id, nonce, ciphertext) = parts(sealed)?;
        let mut keys = self.0.iter().filter(|key| key.id == id).peekable();
        if keys.peek().is_none() {
            return Err(KeyError::UnknownKey { id });
        }
        // More than one only when two keys share an id, once in four billion pairs.
        keys.find_map(|key| {
            let mut buffer = Zeroizing::new(ciphertext.to_vec());
            key.cipher.decrypt_in_place(nonce, context, &mut *buffer).ok()?;
            Some(buffer)
        })
        .ok_or(KeyError::Altered)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let old: Vec<_> = self.0.iter().skip(1).map(|key| key.id).collect();
        f.debug_struct("Keyring").field("current", &self.current_key_id()).field("old", &old).finish()
    }
}

impl Key {
    fn new(master: MasterKey) -> Self {
        let cipher = XChaCha20Poly1305::new((&*master.expand([b"botfarm seal"])).into());
        Self { id: master.id(), master, cipher }
    }
}

/// Key id, nonce and ciphertext of a sealed value.
fn parts(sealed: &[u8]) -> Result<(KeyId, &XNonce, &[u8]), KeyError> {
    match sealed.first() {
        Some(&VERSION) if sealed.len() >= HEADER + TAG => {}
        Some(version) if LATER.contains(version) => return Err(KeyError::Later),
        _ => return Err(KeyError::NotSealed),
    }
    let (id, rest) = sealed[1..].split_first_chunk().ok_or(KeyError::NotSealed)?;
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE>().ok_or(KeyError::NotSealed)?;
    Ok((KeyId::from(*id), nonce.into(), ciphertext))
}

#[cfg(test)]
mod tests;

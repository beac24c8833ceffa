//! What can be wrong with a key, or with what it sealed.

use std::{io, path::PathBuf};

use super::key_id::KeyId;

/// What can be wrong with a key, or with what it sealed, in words for whoever runs the farm. Shows no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no key.
    #[error(
        "there is no key to seal passwords with; set BOTFARM_KEY to what `botfarm key new` prints, or BOTFARM_KEY_FILE \
         to a file with it, and keep a copy: without it the passwords are lost"
    )]
    Missing,
    /// A variable is given both directly and as a file.
    #[error("{name} and {name}_FILE are both set; keep one of them")]
    SetTwice {
        /// The variable.
        name: &'static str,
    },
    /// The file with a key cannot be read.
    #[error("{name}_FILE names {}, which cannot be read: {source}", .path.display())]
    Unreadable {
        /// The variable.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A value is not a key.
    #[error("{place} is not a key; a key is 32 bytes in base64, as `botfarm key new` prints them")]
    NotAKey {
        /// Where the value comes from.
        place: String,
    },
    /// The farm is sealed with another key.
    #[error(
        "the passwords of this farm are sealed with the key {farm}, and BOTFARM_KEY is the key {given}; set BOTFARM_KEY \
         to the farm's key, or, if the farm is to have a new key, add its former one to BOTFARM_OLD_KEYS"
    )]
    WrongKey {
        /// The key of the farm.
        farm: KeyId,
        /// The key that was given.
        given: KeyId,
    },
    /// A value was sealed with a key that the ring lacks.
    #[error("a password is sealed with the key {id}, which this farm was not given; add it to BOTFARM_OLD_KEYS")]
    UnknownKey {
        /// The key that it takes.
        id: KeyId,
    },
    /// A sealed value is not what was sealed.
    #[error(
        "a sealed password, or what it is sealed for (id, env, login, project), was changed in the store by something \
         else than the farm; look at that account, and set its password anew"
    )]
    Altered,
    /// An older password stands in the place of a newer one.
    #[error(
        "an older password was put back in the store; look at that account, and set its password anew, or, when the \
         store was restored from a copy, restart what uses it"
    )]
    PutBack,
    /// A value was never sealed.
    #[error("what the store has for a password is not sealed; set that account's password anew")]
    NotSealed,
    /// A value was sealed by a later version.
    #[error("a password was sealed by a later version of botfarm; start that version")]
    Later,
}

impl KeyError {
    /// Whether what the store has was written by something else than a farm; with the right key and version it would be
    /// no better.
    #[must_use]
    pub fn is_tampering(&self) -> bool {
        matches!(self, Self::Altered | Self::PutBack | Self::NotSealed)
    }
}

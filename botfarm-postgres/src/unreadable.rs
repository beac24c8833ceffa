//! Passwords that somebody else than the farm has written.

use botfarm_core::{BotId, KeyError};

/// A password that the key does not open, or that is older than one that was there.
#[derive(Debug, thiserror::Error)]
#[error("the password of account {bot} ({login}) cannot be read")]
pub(crate) struct Unreadable {
    pub(crate) bot: BotId,
    pub(crate) login: String,
    /// As it was found.
    pub(crate) sealed: Vec<u8>,
    pub(crate) source: KeyError,
}

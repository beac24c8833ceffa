//! What a password is sealed for.

use crate::id::BotId;

/// What a password is sealed for: it opens for exactly the same, so that no row of a store can be passed off as another
/// by whoever writes into the store. When any of it changes, the password is sealed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedFor<'a> {
    /// Whose it is.
    pub bot: BotId,
    /// The env of that bot.
    pub env: &'a str,
    /// Its login, as it was given.
    pub login: &'a str,
    /// Its project.
    pub project: &'a str,
    /// Greater whenever the password is another, or is for something else, but for another master key: an older one does
    /// not open in the place of a newer one.
    pub generation: i64,
}

impl SealedFor<'_> {
    /// Each part with its length before it, so that no two lists of parts look alike.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let (id, generation) = (self.bot.as_uuid(), self.generation.to_le_bytes());
        let parts: [&[u8]; 6] = [
            b"password",
            id.as_bytes(),
            self.env.as_bytes(),
            self.login.as_bytes(),
            self.project.as_bytes(),
            &generation,
        ];
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend((part.len() as u64).to_le_bytes());
            bytes.extend(part);
        }
        bytes
    }
}

//! The passwords that could not be read when all were to be sealed anew.

use super::KeyError;
use crate::{error::Error, id::BotId};

/// So many accounts are named.
const NAMED: usize = 20;

/// The accounts whose password could not be read when all were to be sealed anew. They keep no other from its new key.
#[derive(Debug, Default)]
pub struct Unreadable {
    count: usize,
    named: Vec<String>,
}

impl Unreadable {
    /// One more.
    pub fn push(&mut self, bot: BotId, error: &KeyError) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(format!("{bot} ({error})"));
        }
    }

    /// What whoever wanted it is told: how many were sealed anew, or which could not be read.
    ///
    /// # Errors
    /// `Forbidden` when there are any. Names up to 20 of them.
    pub fn or_resealed(self, resealed: u64) -> Result<u64, Error> {
        let more = match self.count - self.named.len() {
            0 if self.count == 0 => return Ok(resealed),
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let detail = format!(
            "the password of {} accounts could not be read: {}{more}; {resealed} others are sealed under the current key \
             now; keep a key that is missing here, and give the accounts that were changed their passwords again",
            self.count,
            self.named.join(", ")
        );
        Err(Error::Forbidden { detail })
    }
}

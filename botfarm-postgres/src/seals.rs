//! Passwords as the database keeps them.

use std::collections::{HashMap, hash_map};

use botfarm_core::{BotId, KeyError, Keyring, SealedFor, Secret};
use parking_lot::Mutex;

/// Of so many bots, the latest password that this process has seen is known; of more, it is not.
const KNOWN: usize = 100_000;

/// The farm's keys, and what this process knows of the passwords that it has read.
#[derive(Debug)]
pub(crate) struct Seals {
    pub(crate) keyring: Keyring,
    /// The latest generation of each password that has ever been changed.
    latest: Mutex<HashMap<BotId, i64>>,
}

impl Seals {
    pub(crate) fn new(keyring: Keyring) -> Self {
        Self { keyring, latest: Mutex::default() }
    }

    pub(crate) fn seal(&self, password: &Secret, of: &SealedFor<'_>) -> Vec<u8> {
        self.keyring.seal(password, of)
    }

    /// Opens what the database has at this moment. An older one than this process has seen was put back.
    pub(crate) fn open(&self, sealed: &[u8], of: &SealedFor<'_>) -> Result<Secret, KeyError> {
        let password = self.keyring.open(sealed, of)?;
        if self.saw(of.bot, of.generation) { Ok(password) } else { Err(KeyError::PutBack) }
    }

    /// Remembers a generation that the database has; false when it has had a later one.
    pub(crate) fn saw(&self, bot: BotId, generation: i64) -> bool {
        let mut latest = self.latest.lock();
        let room = latest.len() < KNOWN;
        match latest.entry(bot) {
            hash_map::Entry::Occupied(known) if *known.get() > generation => return false,
            hash_map::Entry::Occupied(mut known) => drop(known.insert(generation)),
            // Nothing is older than the first.
            hash_map::Entry::Vacant(entry) if generation > 0 && room => drop(entry.insert(generation)),
            hash_map::Entry::Vacant(_) => {}
        }
        true
    }
}

/// What follows a generation. By the clock, so that it is later than what any process has seen, also when the one before
/// was put back.
pub(crate) fn after(generation: i64) -> i64 {
    generation.saturating_add(1).max(chrono::Utc::now().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use botfarm_core::MasterKey;

    use super::*;

    #[test]
    fn an_older_password_than_was_seen_was_put_back() {
        let seals = Seals::new(Keyring::new(MasterKey::generate(), []));
        let (bot, password) = (BotId::new(), Secret::try_from("hunter2").unwrap());
        let of = |generation| SealedFor { bot, env: "stage", login: "ada", project: "shop", generation };
        let [first, second] = [0, after(0)].map(|generation| (seals.seal(&password, &of(generation)), of(generation)));
        assert_eq!(seals.open(&first.0, &first.1).unwrap(), password);
        assert_eq!(seals.open(&second.0, &second.1).unwrap(), password);
        assert!(matches!(seals.open(&first.0, &first.1), Err(KeyError::PutBack)));
        assert!(matches!(seals.open(&first.0, &second.1), Err(KeyError::Altered)), "nor is it in the place of another");
        assert_eq!(seals.open(&second.0, &second.1).unwrap(), password);
        let other = Seals::new(seals.keyring.clone());
        assert_eq!(other.open(&first.0, &first.1).unwrap(), password, "who has seen no later one does not know");
    }

    #[test]
    fn what_is_known_of_passwords_is_bounded_and_takes_nothing_for_those_that_never_change() {
        let seals = Seals::new(Keyring::new(MasterKey::generate(), []));
        for generation in [0, 1] {
            for _ in 0..=KNOWN {
                assert!(seals.saw(BotId::new(), generation));
            }
            assert_eq!(seals.latest.lock().len(), if generation == 0 { 0 } else { KNOWN });
        }
    }

    #[test]
    fn each_generation_is_after_the_one_before() {
        let now = chrono::Utc::now().timestamp_micros();
        assert!(after(0) >= now);
        assert_eq!((after(i64::MAX - 1), after(i64::MAX)), (i64::MAX, i64::MAX));
    }
}

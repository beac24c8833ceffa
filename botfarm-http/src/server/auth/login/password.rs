//! Operators' passwords: Argon2id, a few at a time, away from the threads that serve.

use std::{fmt, num::NonZero, sync::Arc, thread};

use argon2::{Algorithm, Argon2, Block, Params, Version, password_hash::phc};
use botfarm_core::{BoxError, Error, Login, Result, Secret, operators::PasswordHash};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// How many may wait for their turn; who comes then is sent away. Those who have logged in before have a line of their
/// own, which strangers do not fill.
const LINE: usize = 32;

/// The least that OWASP recommends of Argon2id: 19 MiB, two passes, one lane.
const PARAMS: Params = match Params::new(19_456, 2, 1, None) {
    Ok(params) => params,
    Err(_) => panic!("are in Argon2's limits"),
};

/// The most memory that a kept hash may ask for, in KiB: four times what ours do.
const MOST: u32 = 4 * 19_456;

/// What Argon2 works in: the same for one password after another, since the system takes long to give so much.
#[derive(Default)]
struct Memory(Vec<Block>);

impl Memory {
    /// The hash of a password under these parameters.
    fn hash(&mut self, password: &Secret, argon2: &Argon2<'_>, salt: &[u8], length: usize) -> Result<phc::Output> {
        let blocks = argon2.params().block_count();
        if self.0.len() < blocks {
            self.0 = vec![Block::default(); blocks];
        }
        let mut out = [0; phc::Output::MAX_LENGTH];
        let out = out.get_mut(..length).ok_or_else(|| unforeseen("a kept hash is too long"))?;
        let memory = self.0.get_mut(..blocks).unwrap_or_default();
        argon2.hash_password_into_with_memory(password.expose().as_bytes(), salt, out, memory).map_err(unforeseen)?;
        phc::Output::new(out).map_err(unforeseen)
    }

    /// Hashes a new password.
    fn hash_new(&mut self, password: &Secret) -> Result<PasswordHash> {
        let mut salt = [0; phc::Salt::RECOMMENDED_LENGTH];
        getrandom::fill(&mut salt).map_err(unforeseen)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, PARAMS);
        let hash = self.hash(password, &argon2, &salt, Params::DEFAULT_OUTPUT_LEN)?;
        let hash = phc::PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: phc::ParamsString::try_from(&PARAMS).map_err(unforeseen)?,
            salt: Some(phc::Salt::new(&salt).map_err(unforeseen)?),
            hash: Some(hash),
        };
        Ok(PasswordHash::from_phc(hash.to_string()))
    }

    /// Compares a password with what is kept; with what nobody has when nothing is, which takes as long.
    fn verify(&mut self, password: &Secret, kept: Option<&PasswordHash>) -> Result<Verdict> {
        let hash =
            kept.map_or_else(hash_of_no_password, |kept| phc::PasswordHash::new(kept.expose())).map_err(unforeseen)?;
        let algorithm = Algorithm::try_from(hash.algorithm.as_str()).map_err(unforeseen)?;
        let version = hash.version.map(Version::try_from).transpose().map_err(unforeseen)?.unwrap_or_default();
        let params = Params::try_from(&hash).map_err(unforeseen)?;
        if params.m_cost() > MOST {
            return Err(unforeseen("a kept hash asks for too much memory"));
        }
        let (salt, expected) = hash.salt.zip(hash.hash).ok_or_else(|| unforeseen("a kept hash is none"))?;
        let argon2 = Argon2::new(algorithm, version, params);
        // Compared in constant time.
        let is_right = self.hash(password, &argon2, &salt, expected.len())? == expected;
        match (is_right, kept) {
            (false, _) | (true, None) => Ok(Verdict::Wrong),
            (true, Some(_)) if is_current(&hash) => Ok(Verdict::Right),
            (true, Some(_)) => self.hash_new(password).map(Verdict::RightButOld),
        }
    }
}

/// Hashes the password of an operator who has this login. Takes about 40 ms of one core, and 19 MiB.
///
/// # Errors
/// `Invalid` at `/password` when [it is none to have](PasswordHash::check); `Backend` when the operating system has no
/// randomness to give.
pub fn hash_password(login: &Login, password: &Secret) -> Result<PasswordHash> {
    PasswordHash::check(login, password)?;
    Memory::default().hash_new(password)
}

/// Whether a password is the one that is kept. Takes as long as hashing one.
///
/// # Errors
/// `Backend` when what is kept is no hash.
pub fn is_password(password: &Secret, kept: &PasswordHash) -> Result<bool> {
    Ok(Memory::default().verify(password, Some(kept))? != Verdict::Wrong)
}

/// How a password compares with what is kept of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Wrong,
    Right,
    /// And hashed with older parameters: this is to be kept instead.
    RightButOld(PasswordHash),
}

/// Where passwords are hashed and compared. One in two cores may be busy with it, four at most: a flood of logins is to
/// slow nobody but those who log in.
pub(crate) struct Hasher {
    turns: Arc<Semaphore>,
    line: Semaphore,
    known: Semaphore,
    /// One for each turn at most.
    memories: Arc<Mutex<Vec<Memory>>>,
}

impl Hasher {
    pub(crate) fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            turns: Arc::new(Semaphore::new((cores / 2).clamp(1, 4))),
            line: Semaphore::new(LINE),
            known: Semaphore::new(LINE),
            memories: Arc::default(),
        }
    }

    /// Compares a password with what is kept; takes as long, and gives `Wrong`, when nothing is. `None` when too many
    /// wait already.
    pub(crate) async fn verify(
        &self,
        password: Secret,
        kept: Option<PasswordHash>,
        is_known: bool,
    ) -> Option<Result<Verdict>> {
        let line = if is_known { &self.known } else { &self.line };
        self.in_turn(line, move |memory| memory.verify(&password, kept.as_ref())).await
    }

    /// Hashes a password. `None` when too many wait already.
    pub(crate) async fn hash(&self, password: Secret) -> Option<Result<PasswordHash>> {
        self.in_turn(&self.known, move |memory| memory.hash_new(&password)).await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        line: &Semaphore,
        work: impl FnOnce(&mut Memory) -> Result<T> + Send + 'static,
    ) -> Option<Result<T>> {
        let _place = line.try_acquire().ok()?;
        // Neither semaphore is ever closed.
        let turn = self.turns.clone().acquire_owned().await.ok()?;
        let memories = self.memories.clone();
        let done = tokio::task::spawn_blocking(move || {
            // Work that has begun keeps its turn when the caller has hung up.
            let _turn = turn;
            let mut memory = memories.lock().pop().unwrap_or_default();
            let done = work(&mut memory);
            memories.lock().push(memory);
            done
        });
        Some(done.await.unwrap_or_else(|panicked| Err(Error::backend(panicked))))
    }
}

/// A hash of the current parameters that no password is known for.
fn hash_of_no_password() -> Result<phc::PasswordHash, phc::Error> {
    let (m, t, p) = (PARAMS.m_cost(), PARAMS.t_cost(), PARAMS.p_cost());
    phc::PasswordHash::new(&format!(
        "$argon2id$v=19$m={m},t={t},p={p}$Ym90ZmFybSBub2JvZHk$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    ))
}

fn is_current(hash: &phc::PasswordHash) -> bool {
    let costs = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
    hash.algorithm == Algorithm::Argon2id.ident()
        && hash.version == Some(Version::V0x13.into())
        && Params::try_from(hash).is_ok_and(|params| costs(&params) == costs(&PARAMS))
}

fn unforeseen(error: impl Into<BoxError>) -> Error {
    Error::backend(error)
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("turns", &self.turns.available_permits()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::PasswordHasher as _;

    use super::*;

    fn verify(password: &Secret, kept: Option<&PasswordHash>) -> Result<Verdict> {
        Memory::default().verify(password, kept)
    }

    fn hash() -> PasswordHash {
        Memory::default().hash_new(&secret("pw")).unwrap()
    }

    fn secret(text: &str) -> Secret {
        text.try_into().unwrap()
    }

    #[test]
    fn password_opens_its_own_hash_alone() {
        let [one, twin] = [hash(), hash()];
        assert_ne!(one, twin, "each hash has a salt of its own");
        assert!(one.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", one.expose());
        assert_eq!(verify(&secret("pw"), Some(&one)).unwrap(), Verdict::Right);
        assert_eq!(verify(&secret("PW"), Some(&one)).unwrap(), Verdict::Wrong);
        assert_eq!(verify(&secret("pw"), None).unwrap(), Verdict::Wrong);
    }

    #[test]
    fn hash_of_older_parameters_is_to_be_replaced() {
        for (algorithm, params) in [
            (Algorithm::Argon2id, Params::new(8_192, 2, 1, None).unwrap()),
            (Algorithm::Argon2id, Params::new(19_456, 1, 1, None).unwrap()),
            (Algorithm::Argon2i, PARAMS),
        ] {
            let old = Argon2::new(algorithm, Version::V0x13, params).hash_password(b"pw").unwrap().to_string();
            let old = PasswordHash::from_phc(old);
            assert_eq!(verify(&secret("nope"), Some(&old)).unwrap(), Verdict::Wrong);
            let Verdict::RightButOld(new) = verify(&secret("pw"), Some(&old)).unwrap() else { panic!("it is old") };
            assert_eq!(verify(&secret("pw"), Some(&new)).unwrap(), Verdict::Right);
        }
    }

    #[test]
    fn what_is_no_hash_is_a_failure_that_does_not_show_it() {
        let error = verify(&secret("pw"), Some(&PasswordHash::from_phc("hunter2"))).unwrap_err();
        assert_eq!(error.code(), "internal");
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }

    #[test]
    fn a_kept_hash_that_asks_for_a_lot_of_memory_is_refused() {
        let hash = "$argon2id$v=19$m=4194304,t=1,p=1$Ym90ZmFybSBub2JvZHk$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        assert_eq!(verify(&secret("pw"), Some(&PasswordHash::from_phc(hash))).unwrap_err().code(), "internal");
    }

    #[tokio::test]
    async fn one_password_after_another_is_hashed_in_the_same_memory() {
        let hasher = Hasher::new();
        let mut used = Vec::new();
        for _ in 0..3 {
            hasher.verify(secret("pw"), None, false).await.unwrap().unwrap();
            let memories = hasher.memories.lock();
            used.push(memories.iter().map(|memory| (memory.0.as_ptr(), memory.0.len())).collect::<Vec<_>>());
        }
        assert_eq!(used[0].len(), 1);
        assert_eq!(used[0][0].1, 19_456);
        assert_eq!((&used[1], &used[2]), (&used[0], &used[0]));
    }

    #[tokio::test]
    async fn only_so_many_wait() {
        let hasher = Arc::new(Hasher::new());
        let all = hasher.turns.clone().acquire_many_owned(u32::try_from(hasher.turns.available_permits()).unwrap());
        let turns = all.await.unwrap();
        let waiting: Vec<_> = (0..LINE)
            .map(|_| {
                let hasher = hasher.clone();
                tokio::spawn(async move { hasher.verify(secret("pw"), None, false).await.unwrap().unwrap() })
            })
            .collect();
        while hasher.line.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(hasher.verify(secret("pw"), None, false).await.is_none(), "one too many");
        for one in &waiting[1..] {
            one.abort();
        }
        drop(turns);
        for (index, one) in waiting.into_iter().enumerate() {
            assert_eq!(one.await.ok(), (index == 0).then_some(Verdict::Wrong));
        }
        assert_eq!(hasher.line.available_permits(), LINE, "who has hung up has left the line");
    }
}

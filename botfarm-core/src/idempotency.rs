//! What became of the changes that come with an idempotency key. Those who embed a farm never meet it.
//!
//! A change under a key is *under way* from its beginning on. It ends *answered*; or *refused*, which is as if it had not
//! begun; or *unknown*, when the store failed on the way, or whoever was at it is gone. Whoever asks again under the key
//! gets the answer, and a change of which nobody knows is never made again: it may end what somebody else has begun since.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use uuid::Uuid;

use crate::error::Result;

/// For how long it is known what became of a change: far longer than anybody goes on asking.
pub const KEPT: Duration = Duration::from_mins(10);

/// For how long a change may be under way. Nobody is at work on one that began longer ago.
pub const LONGEST: Duration = Duration::from_mins(2);

/// How many changes are known of each caller. Older ones are forgotten.
pub const OWN: usize = 500;

/// A SHA-256.
pub type Digest = [u8; 32];

/// A change that comes with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyedChange {
    /// Of whoever asks: the keys of callers are their own.
    pub caller: Digest,
    /// Of the key.
    pub key: Digest,
    /// Of all that is asked for.
    pub request: Digest,
    /// Which asking this is, of those under the same key.
    pub attempt: Uuid,
}

impl KeyedChange {
    /// A new attempt.
    #[must_use]
    pub fn new(caller: Digest, key: Digest, request: Digest) -> Self {
        Self { caller, key, request, attempt: Uuid::new_v4() }
    }
}

/// What is known of a change when somebody asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Nothing: it is to be made, by this attempt.
    New,
    /// Another attempt is at it.
    UnderWay,
    /// It was made, and this was the answer.
    Answered(Vec<u8>),
    /// It may have been made, or not.
    Unknown,
    /// The key stands for another request.
    Reused,
}

/// How a change ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeEnd {
    /// It was made. At most some 25 KiB.
    Answered(Vec<u8>),
    /// It was refused, and nothing was done: it may as well be asked for again.
    Refused,
    /// Nobody can tell.
    Unknown,
}

/// Keeps what became of changes, in the same place as the bots: every replica of a service sees the same.
///
/// # Errors
/// Every method may give `Unavailable` and `Backend`.
#[async_trait]
pub trait Idempotency: fmt::Debug + Send + Sync + 'static {
    /// Begins a change, unless something is known of it. The same attempt may begin again. What is known is forgotten
    /// after [`KEPT`], and of each caller when there are more than [`OWN`].
    async fn begin(&self, change: &KeyedChange) -> Result<Known>;

    /// Takes note of how an attempt ended. Changes nothing when that attempt is not at it.
    async fn end(&self, change: &KeyedChange, how: ChangeEnd) -> Result<()>;
}

/// How many changes a process that keeps them in memory knows of all callers together.
const ALL: usize = 4_000;

/// How often to throw away those that are older than [`KEPT`].
const SWEEP: Duration = Duration::from_mins(1);

/// Keeps what became of changes in this process's memory: for a farm that lives there, too.
#[derive(Debug, Clone, Default)]
pub struct MemoryIdempotency(Arc<Mutex<Changes>>);

#[derive(Debug, Default)]
struct Changes {
    by_key: HashMap<(Digest, Digest), Change>,
    /// Of each caller, oldest first: nobody pushes out another's while they have more of their own.
    callers: HashMap<Digest, VecDeque<(Instant, Digest)>>,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Change {
    request: Digest,
    attempt: Uuid,
    since: Instant,
    known: Known,
}

#[async_trait]
impl Idempotency for MemoryIdempotency {
    async fn begin(&self, change: &KeyedChange) -> Result<Known> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).begin(change, Instant::now()))
    }

    async fn end(&self, change: &KeyedChange, how: ChangeEnd) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).end(change, how);
        Ok(())
    }
}

impl Changes {
    fn begin(&mut self, change: &KeyedChange, now: Instant) -> Known {
        if self.swept.is_none_or(|swept| now - swept > SWEEP) {
            self.sweep(now);
        }
        let KeyedChange { caller, key, request, attempt } = *change;
        if let Some(known) = self.by_key.get(&(caller, key)) {
            return match &known.known {
                _ if known.request != request => Known::Reused,
                Known::UnderWay if known.attempt == attempt => Known::New,
                Known::UnderWay if now - known.since >= LONGEST => Known::Unknown,
                known => known.clone(),
            };
        }
        if self.callers.get(&caller).is_some_and(|own| own.len() >= OWN) {
            self.forget_oldest_of(caller);
        } else if self.by_key.len() >= ALL
            && let Some((most, _)) = self.callers.iter().max_by_key(|(_, own)| own.len())
        {
            self.forget_oldest_of(*most);
        }
        self.by_key.insert((caller, key), Change { request, attempt, since: now, known: Known::UnderWay });
        self.callers.entry(caller).or_default().push_back((now, key));
        Known::New
    }

    fn end(&mut self, change: &KeyedChange, how: ChangeEnd) {
        let of = (change.caller, change.key);
        let Some(known) = self.by_key.get_mut(&of).filter(|known| known.attempt == change.attempt) else { return };
        match how {
            ChangeEnd::Answered(answer) => known.known = Known::Answered(answer),
            ChangeEnd::Unknown => known.known = Known::Unknown,
            ChangeEnd::Refused => {
                self.by_key.remove(&of);
                if let Some(own) = self.callers.get_mut(&change.caller) {
                    own.retain(|(_, key)| *key != change.key);
                }
            }
        }
    }

    fn forget_oldest_of(&mut self, caller: Digest) {
        if let Some((_, oldest)) = self.callers.get_mut(&caller).and_then(VecDeque::pop_front) {
            self.by_key.remove(&(caller, oldest));
        }
    }

    fn sweep(&mut self, now: Instant) {
        self.swept = Some(now);
        let Self { by_key, callers, .. } = self;
        callers.retain(|caller, own| {
            while let Some((_, oldest)) = own.pop_front_if(|(since, _)| now - *since >= KEPT) {
                by_key.remove(&(*caller, oldest));
            }
            !own.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(caller: u64, number: usize) -> KeyedChange {
        let digest = |number: u64| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_le_bytes());
            digest
        };
        KeyedChange::new(digest(caller), digest(number as u64), [0; 32])
    }

    #[test]
    fn no_caller_pushes_out_the_answers_of_another() {
        let (mut changes, now, first) = (Changes::default(), Instant::now(), change(0, 0));
        assert_eq!(changes.begin(&first, now), Known::New);
        changes.end(&first, ChangeEnd::Answered(b"ada's".to_vec()));
        for caller in 1..=20 {
            for number in 0..2 * OWN {
                assert_eq!(changes.begin(&change(caller, number), now), Known::New);
                assert!(changes.by_key.len() <= ALL);
            }
        }
        assert_eq!(changes.begin(&first, now), Known::Answered(b"ada's".to_vec()));
    }

    #[test]
    fn changes_are_forgotten_when_their_time_is_over() {
        let (mut changes, now) = (Changes::default(), Instant::now());
        changes.begin(&change(1, 1), now);
        changes.begin(&change(2, 2), now + KEPT);
        assert_eq!(changes.begin(&change(2, 2), now + KEPT), Known::UnderWay);
        assert_eq!((changes.by_key.len(), changes.callers.len()), (1, 1));
    }

    #[test]
    fn what_nobody_is_at_any_more_is_unknown() {
        let (mut changes, now, first) = (Changes::default(), Instant::now(), change(1, 1));
        changes.begin(&first, now);
        let again = KeyedChange { attempt: Uuid::new_v4(), ..first };
        assert_eq!(changes.begin(&again, now + LONGEST / 2), Known::UnderWay);
        assert_eq!(changes.begin(&again, now + LONGEST), Known::Unknown);
    }
}

//! Slows down those who guess passwords.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use botfarm_core::Login;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How many failures in a row are free, and how often another one is.
#[derive(Debug, Clone, Copy)]
struct Limit {
    burst: u32,
    every: Duration,
}

/// What failed logins are counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// One login from one address: somebody guesses the password of one operator.
    Both(Arc<str>, Option<IpAddr>),
    /// One login from wherever: many machines do.
    Login(Arc<str>),
    /// One address for whatever logins: one machine tries them all.
    Address(Option<IpAddr>),
}

impl Key {
    /// Nobody at another address can shut an operator out: that takes far more failures than one address is given.
    fn limit(&self) -> Limit {
        let (burst, every) = match self {
            Self::Both(..) => (10, Duration::from_secs(30)),
            Self::Login(_) => (200, Duration::from_secs(5)),
            Self::Address(_) => (50, Duration::from_secs(2)),
        };
        Limit { burst, every }
    }
}

/// Counts failed logins, by login and by address, in leaky buckets: each failure fills a bucket by one, and time empties
/// it.
///
/// A login counts as failed while it is under way, so that guesses side by side count like guesses one by one.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    /// When each will be empty.
    empty_at: HashMap<Key, Instant>,
    /// How many buckets there are to be before those that are empty are thrown away.
    sweep_at: usize,
}

/// A login under way, counted as failed.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    throttle: &'a Throttle,
    keys: [Key; 3],
}

impl Throttle {
    /// Counts a login. What is counted is the same whether there is such an operator or not.
    ///
    /// # Errors
    /// How long to wait, when there were too many failures.
    pub(super) fn attempt(&self, login: &Login, address: Option<IpAddr>) -> Result<Attempt<'_>, Duration> {
        let login: Arc<str> = login.folded().into();
        let keys = [Key::Both(login.clone(), address), Key::Login(login), Key::Address(address)];
        let now = Instant::now();
        let mut buckets = self.buckets.lock();
        let mut filled = Vec::with_capacity(keys.len());
        for key in &keys {
            let Limit { burst, every } = key.limit();
            let empty_at = buckets.empty_at.get(key).map_or(now, |empty_at| now.max(*empty_at)) + every;
            let full_at = now + every * burst;
            if empty_at > full_at {
                return Err(empty_at - full_at);
            }
            filled.push((key.clone(), empty_at));
        }
        buckets.empty_at.extend(filled);
        buckets.sweep(now);
        Ok(Attempt { throttle: self, keys })
    }
}

impl Buckets {
    /// Throws those away that are empty, now and then: each costs no more than what put it there.
    fn sweep(&mut self, now: Instant) {
        if self.empty_at.len() >= self.sweep_at {
            self.empty_at.retain(|_, empty_at| now < *empty_at);
            self.sweep_at = (2 * self.empty_at.len()).max(1_000);
        }
    }
}

impl Attempt<'_> {
    /// It has not failed, or not for the caller's fault.
    pub(super) fn forgive(self) {
        let mut buckets = self.throttle.buckets.lock();
        for key in self.keys {
            let every = key.limit().every;
            if let Some(empty_at) = buckets.empty_at.get_mut(&key) {
                *empty_at = empty_at.checked_sub(every).unwrap_or(*empty_at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(name: &str) -> Login {
        name.parse().unwrap()
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    /// How many of `tries` failures are let through.
    fn failures(throttle: &Throttle, name: &str, from: u8, tries: u32) -> u32 {
        (0..tries).map(|_| u32::from(throttle.attempt(&login(name), Some(address(from))).is_ok())).sum()
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_at_one_login_from_one_address_are_ten_and_then_one_in_half_a_minute() {
        let throttle = Throttle::default();
        assert_eq!(failures(&throttle, "Ada", 1, 50), 10);
        assert_eq!(throttle.attempt(&login("ada"), Some(address(1))).unwrap_err(), Duration::from_secs(30));
        assert_eq!(failures(&throttle, "bob", 1, 1) + failures(&throttle, "ada", 2, 1), 2, "others are not held up");
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(throttle.attempt(&login("ADA"), Some(address(1))).unwrap_err(), Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(failures(&throttle, "ada", 1, 50), 1);
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(failures(&throttle, "ada", 1, 50), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_from_one_address_are_fifty_whatever_the_login() {
        let throttle = Throttle::default();
        let through: u32 = (0..100).map(|name| failures(&throttle, &name.to_string(), 1, 1)).sum();
        assert_eq!(through, 50);
        assert_eq!(throttle.attempt(&login("ada"), Some(address(1))).unwrap_err(), Duration::from_secs(2));
        assert_eq!(failures(&throttle, "ada", 2, 1), 1, "another address is not held up");
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_at_one_login_are_two_hundred_whatever_the_address() {
        let throttle = Throttle::default();
        let through: u32 = (0..100).map(|from| failures(&throttle, "ada", from, 5)).sum();
        assert_eq!(through, 200);
        assert_eq!(throttle.attempt(&login("ada"), Some(address(200))).unwrap_err(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn logins_that_succeed_do_not_count() {
        let throttle = Throttle::default();
        for _ in 0..1_000 {
            throttle.attempt(&login("ada"), Some(address(1))).unwrap().forgive();
        }
        assert_eq!(failures(&throttle, "ada", 1, 50), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn buckets_that_are_empty_are_thrown_away() {
        let throttle = Throttle::default();
        for turn in 0..20_000_u32 {
            let from = Some(IpAddr::from(turn.to_be_bytes()));
            throttle.attempt(&login(&turn.to_string()), from).unwrap();
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(throttle.buckets.lock().empty_at.len() <= 1_000);
        }
    }
}

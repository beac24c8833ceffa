//! Slows down those who guess passwords, and not those who know theirs.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use botfarm_core::Login;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::server::auth::login::device::DeviceId;

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
    /// A browser that has logged in as this operator before: whoever else guesses does not hold it up, nor does it give
    /// more guesses to whoever has taken its cookie.
    Device(Arc<str>, DeviceId),
}

impl Key {
    /// Nobody at another address can shut an operator out: that takes far more failures than one address is given.
    fn limit(&self) -> Limit {
        let (burst, every) = match self {
            Self::Both(..) | Self::Device(..) => (10, Duration::from_secs(30)),
            Self::Login(_) => (200, Duration::from_secs(5)),
            Self::Address(_) => (50, Duration::from_secs(2)),
        };
        Limit { burst, every }
    }
}

/// How long an address is known as one that an operator has logged in from.
const KNOWN: Duration = Duration::from_hours(30 * 24);

/// How many of them are kept; the oldest are forgotten first.
const MOST_KNOWN: usize = 10_000;

/// How long a login waits for others under way whose end decides whether there were too many failures.
const PATIENCE: Duration = Duration::from_secs(5);

/// Counts failed logins, by login and by address, in leaky buckets: each failure fills a bucket by one, and time empties
/// it.
///
/// A login takes up a place in its buckets while it is under way, so that guesses side by side count like guesses one by
/// one; where places are all that is missing, it waits for one. Who has logged in before, from the same address or with
/// the same browser, has buckets of their own: guesses of others at this login, or from this address, do not count.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    buckets: Mutex<Buckets>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct Buckets {
    by_key: HashMap<Key, Bucket>,
    /// How many buckets there are to be before those that are empty are thrown away.
    sweep_at: usize,
    /// From where somebody has logged in as whom, and when last.
    known: HashMap<(Arc<str>, IpAddr), Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// When it will be empty.
    empty_at: Instant,
    under_way: u32,
}

/// A login under way. Dropped, it has failed.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    throttle: &'a Throttle,
    keys: Vec<Key>,
    login: Arc<str>,
    address: Option<IpAddr>,
    /// Whether somebody has logged in as this operator from there before.
    pub(crate) is_known: bool,
    fails: bool,
}

enum Refused {
    /// There were too many failures: how long to wait.
    Failures(Duration),
    /// There may be too many, when those fail that are under way.
    UnderWay,
}

impl Throttle {
    /// Counts a login. What is counted is the same whether there is such an operator or not.
    ///
    /// # Errors
    /// How long to wait, when there were too many failures.
    pub(crate) async fn attempt(
        &self,
        login: &Login,
        address: Option<IpAddr>,
        device: Option<DeviceId>,
    ) -> Result<Attempt<'_>, Duration> {
        let login: Arc<str> = login.folded().into();
        let patience = Instant::now() + PATIENCE;
        loop {
            // Before it is looked at: none that ends meanwhile is missed.
            let ended = self.ended.notified();
            match self.try_attempt(&login, address, device) {
                Ok(attempt) => return Ok(attempt),
                Err(Refused::Failures(after)) => return Err(after),
                Err(Refused::UnderWay) if timeout_at(patience, ended).await.is_ok() => {}
                Err(Refused::UnderWay) => return Err(Duration::from_secs(1)),
            }
        }
    }

    fn try_attempt(
        &self,
        login: &Arc<str>,
        address: Option<IpAddr>,
        device: Option<DeviceId>,
    ) -> Result<Attempt<'_>, Refused> {
        let now = Instant::now();
        let mut buckets = self.buckets.lock();
        let is_known = address.is_some_and(|address| buckets.knows(login, address, now));
        let both = Key::Both(login.clone(), address);
        let keys = match device {
            Some(device) => vec![Key::Device(login.clone(), device)],
            None if is_known => vec![both],
            None => vec![both, Key::Login(login.clone()), Key::Address(address)],
        };
        for key in &keys {
            let Limit { burst, every } = key.limit();
            let Some(bucket) = buckets.by_key.get(key) else { continue };
            let empty_at = bucket.empty_at.max(now) + every;
            let full_at = now + every * burst;
            if empty_at > full_at {
                return Err(Refused::Failures(empty_at - full_at));
            }
            if empty_at + every * bucket.under_way > full_at {
                return Err(Refused::UnderWay);
            }
        }
        for key in &keys {
            let bucket = buckets.by_key.entry(key.clone()).or_insert(Bucket { empty_at: now, under_way: 0 });
            bucket.under_way += 1;
        }
        buckets.sweep(now);
        let login = login.clone();
        Ok(Attempt { throttle: self, keys, login, address, is_known: is_known || device.is_some(), fails: true })
    }
}

impl Buckets {
    fn knows(&self, login: &Arc<str>, address: IpAddr, now: Instant) -> bool {
        self.known.get(&(login.clone(), address)).is_some_and(|since| now - *since < KNOWN)
    }

    /// Throws those away that are empty, now and then: each costs no more than what put it there.
    fn sweep(&mut self, now: Instant) {
        if self.by_key.len() >= self.sweep_at {
            self.by_key.retain(|_, bucket| now < bucket.empty_at || bucket.under_way > 0);
            self.sweep_at = (2 * self.by_key.len()).max(1_000);
        }
    }

    fn learn(&mut self, login: &Arc<str>, address: IpAddr, now: Instant) {
        self.known.insert((login.clone(), address), now);
        if self.known.len() > MOST_KNOWN {
            self.known.retain(|_, since| now - *since < KNOWN);
        }
        if self.known.len() > MOST_KNOWN {
            // Half of them at once, so that it is done seldom.
            let mut times: Vec<Instant> = self.known.values().copied().collect();
            let (_, middle, _) = times.select_nth_unstable(MOST_KNOWN / 2);
            let middle = *middle;
            self.known.retain(|_, since| *since > middle);
        }
    }
}

impl Attempt<'_> {
    /// It has not failed for the caller's fault.
    pub(crate) fn forgive(mut self) {
        self.fails = false;
    }

    /// It was the operator: the address is known from now on.
    pub(crate) fn succeed(mut self) {
        self.fails = false;
        if let Some(address) = self.address {
            self.throttle.buckets.lock().learn(&self.login, address, Instant::now());
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut buckets = self.throttle.buckets.lock();
        for key in &self.keys {
            let every = key.limit().every;
            if let Some(bucket) = buckets.by_key.get_mut(key) {
                bucket.under_way -= 1;
                if self.fails {
                    bucket.empty_at = bucket.empty_at.max(now) + every;
                }
            }
        }
        drop(buckets);
        self.throttle.ended.notify_waiters();
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

    async fn attempt<'t>(throttle: &'t Throttle, name: &str, from: u8) -> Result<Attempt<'t>, Duration> {
        throttle.attempt(&login(name), Some(address(from)), None).await
    }

    /// How many of `tries` failures are let through.
    async fn failures(throttle: &Throttle, name: &str, from: u8, tries: u32) -> u32 {
        let mut through = 0;
        for _ in 0..tries {
            through += u32::from(attempt(throttle, name, from).await.is_ok());
        }
        through
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_at_one_login_from_one_address_are_ten_and_then_one_in_half_a_minute() {
        let throttle = Throttle::default();
        assert_eq!(failures(&throttle, "Ada", 1, 50).await, 10);
        assert_eq!(attempt(&throttle, "ada", 1).await.unwrap_err(), Duration::from_secs(30));
        let others = failures(&throttle, "bob", 1, 1).await + failures(&throttle, "ada", 2, 1).await;
        assert_eq!(others, 2, "others are not held up");
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(attempt(&throttle, "ADA", 1).await.unwrap_err(), Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(failures(&throttle, "ada", 1, 50).await, 1);
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(failures(&throttle, "ada", 1, 50).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_from_one_address_are_fifty_whatever_the_login() {
        let throttle = Throttle::default();
        let mut through = 0;
        for name in 0..100 {
            through += failures(&throttle, &name.to_string(), 1, 1).await;
        }
        assert_eq!(through, 50);
        assert_eq!(attempt(&throttle, "ada", 1).await.unwrap_err(), Duration::from_secs(2));
        assert_eq!(failures(&throttle, "ada", 2, 1).await, 1, "another address is not held up");
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_at_one_login_are_two_hundred_whatever_the_address() {
        let throttle = Throttle::default();
        let mut through = 0;
        for from in 0..100 {
            through += failures(&throttle, "ada", from, 5).await;
        }
        assert_eq!(through, 200);
        assert_eq!(attempt(&throttle, "ada", 200).await.unwrap_err(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_do_not_shut_out_who_has_logged_in_from_there_or_with_this_browser_before() {
        let throttle = Throttle::default();
        attempt(&throttle, "ada", 1).await.unwrap().succeed();
        for from in 2..100 {
            failures(&throttle, "ada", from, 5).await;
        }
        for name in 0..60 {
            failures(&throttle, &name.to_string(), 1, 1).await;
        }
        assert_eq!(failures(&throttle, "ada", 250, 1).await, 0, "a stranger is shut out");
        assert_eq!(failures(&throttle, "ada", 1, 50).await, 10, "a known address has an allowance of its own");
        let device = DeviceId::random().unwrap();
        let mut through = 0;
        for from in 0..50 {
            through += u32::from(throttle.attempt(&login("ada"), Some(address(from)), Some(device)).await.is_ok());
        }
        assert_eq!(through, 10, "a known browser has, wherever it is");
        tokio::time::advance(KNOWN).await;
        let known = attempt(&throttle, "ada", 1).await.unwrap();
        assert!(!known.is_known, "an address is forgotten in time");
    }

    #[tokio::test(start_paused = true)]
    async fn logins_that_succeed_do_not_count() {
        let throttle = Throttle::default();
        for _ in 0..1_000 {
            attempt(&throttle, "ada", 1).await.unwrap().forgive();
        }
        assert_eq!(failures(&throttle, "ada", 1, 50).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn right_logins_side_by_side_are_all_let_through_and_guesses_side_by_side_are_not() {
        let throttle = Throttle::default();
        let log_in = async |is_right: bool| {
            let Ok(attempt) = attempt(&throttle, "ada", 1).await else { return false };
            tokio::time::sleep(Duration::from_millis(40)).await;
            if is_right {
                attempt.succeed();
            }
            true
        };
        let side_by_side = async |is_right: bool| {
            let all = futures_util::future::join_all((0..100).map(|_| log_in(is_right))).await;
            all.into_iter().filter(|through| *through).count()
        };
        assert_eq!(side_by_side(true).await, 100);
        assert_eq!(side_by_side(false).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_empty_or_old_is_thrown_away() {
        let throttle = Throttle::default();
        for turn in 0..25_000_u32 {
            let from = Some(IpAddr::from(turn.to_be_bytes()));
            let attempt = throttle.attempt(&login(&turn.to_string()), from, None).await.unwrap();
            if turn % 2 == 0 {
                attempt.succeed();
            }
            tokio::time::advance(Duration::from_secs(1)).await;
            let buckets = throttle.buckets.lock();
            assert!(buckets.by_key.len() <= 1_000 && buckets.known.len() <= MOST_KNOWN);
        }
    }
}

//! What a farm allows, and how long bots rest.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use crate::{
    error::{Error, Fault, Result},
    lease::LeaseRequest,
    location::{Field, Location},
    name::Env,
    selector::Selector,
};

/// What a farm allows, and how long bots rest.
///
/// An env may differ: see [`envs`](Self::envs). A lease of several envs gets what each of them allows, and its bots rest
/// for as long as the one that rests longest. A request that names neither an env nor a bot gets what every env allows
/// that it could reach.
///
/// ```
/// # use std::time::Duration;
/// # use botfarm_core::{Env, EnvPolicy, Holder, LeasePolicy, LeaseRequest, Selector};
/// let brief = EnvPolicy { max_ttl: Some(Duration::from_mins(1)), ..EnvPolicy::default() };
/// let policy = LeasePolicy { envs: [(Env::STAGE, brief)].into(), ..LeasePolicy::default() };
/// let of = |env| LeaseRequest::new("ada".parse().unwrap(), Selector::any().env(env)).ttl(Duration::from_hours(1));
/// assert!(policy.check(&of(Env::STAGE)).is_err() && policy.check(&of("qa".parse()?)).is_ok());
/// # Ok::<_, botfarm_core::BadText>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasePolicy {
    /// The TTL of a request that names none. 15 minutes.
    pub default_ttl: Duration,
    /// The least TTL. 5 seconds.
    pub min_ttl: Duration,
    /// The greatest TTL. One day.
    pub max_ttl: Duration,
    /// How long a bot rests after a release. Zero.
    pub reuse_delay: Duration,
    /// How long a bot rests after its lease expired or was revoked, so that a holder who has not noticed yet can stop.
    /// 15 seconds.
    pub cooling: Duration,
    /// How long the place of a waiter who has gone is kept for when it asks again under the same lease id. 30 seconds.
    pub place_kept: Duration,
    /// What is otherwise in an env. None.
    pub envs: BTreeMap<Env, EnvPolicy>,
}

/// What of a [`LeasePolicy`] is otherwise in one env. `None`: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvPolicy {
    /// The TTL of a request that names none.
    pub default_ttl: Option<Duration>,
    /// The least TTL.
    pub min_ttl: Option<Duration>,
    /// The greatest TTL.
    pub max_ttl: Option<Duration>,
    /// How long a bot rests after a release.
    pub reuse_delay: Option<Duration>,
    /// How long a bot rests after its lease expired or was revoked.
    pub cooling: Option<Duration>,
    /// Whether its bots are leased to those alone who name the env, the id or the login: an empty selector takes none
    /// of them. `None`: so it is in `prod`, and nowhere else.
    pub named_only: Option<bool>,
    /// How a bot is left whose lease expired: nobody knows what its holder did to it.
    pub after_expiry: AfterExpiry,
}

/// How a bot is left whose lease expired.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AfterExpiry {
    /// In the condition that it had.
    #[default]
    Keep,
    /// A bot that was ready is dirty, so that somebody looks at it before others get it.
    Dirty,
}

impl Default for LeasePolicy {
    fn default() -> Self {
        Self {
            default_ttl: Duration::from_mins(15),
            min_ttl: Duration::from_secs(5),
            max_ttl: Duration::from_hours(24),
            reuse_delay: Duration::ZERO,
            cooling: Duration::from_secs(15),
            place_kept: Duration::from_secs(30),
            envs: BTreeMap::new(),
        }
    }
}

/// The limits of some envs, and the rests of their bots.
#[derive(Debug, Clone, Copy)]
struct Terms<'a> {
    default_ttl: Duration,
    min_ttl: Duration,
    max_ttl: Duration,
    reuse_delay: Duration,
    cooling: Duration,
    /// The env whose limits are not those of the farm.
    because_of: Option<&'a Env>,
}

impl LeasePolicy {
    /// Whether the bots of an env are leased to those alone who name the env, the id or the login.
    #[must_use]
    pub fn named_only(&self, env: &Env) -> bool {
        self.envs.get(env).and_then(|policy| policy.named_only).unwrap_or(*env == Env::PROD)
    }

    /// The envs whose bots a selector does not take, since it names neither an env nor a bot.
    #[must_use]
    pub fn spared(&self, selector: &Selector) -> Vec<Env> {
        if selector.env.is_some() || selector.names_a_bot() {
            return Vec::new();
        }
        let prod = (!self.envs.contains_key(&Env::PROD)).then_some(Env::PROD);
        prod.into_iter().chain(self.envs.keys().cloned()).filter(|env| self.named_only(env)).collect()
    }

    /// Whether a selector takes bots of an env, as far as the policy is concerned.
    #[must_use]
    pub fn reaches(&self, selector: &Selector, env: &Env) -> bool {
        selector.env.is_some() || selector.names_a_bot() || !self.named_only(env)
    }

    /// Whether envs differ in their limits and rests: then the TTL and the rest of a lease depend on its
    /// bots.
    #[must_use]
    pub fn varies(&self) -> bool {
        let matters =
            |policy: &EnvPolicy| EnvPolicy { named_only: None, after_expiry: AfterExpiry::Keep, ..policy.clone() };
        self.envs.values().any(|policy| matters(policy) != EnvPolicy::default())
    }

    /// The envs of which a bot that was ready is dirty when its lease has expired.
    pub fn dirty_after_expiry(&self) -> impl Iterator<Item = &Env> {
        self.envs.iter().filter(|(_, policy)| policy.after_expiry == AfterExpiry::Dirty).map(|(env, _)| env)
    }

    /// The TTL that a lease of these envs gets whose renewal asks for `ttl`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is outside the limits.
    pub fn ttl_in<'a>(&'a self, envs: impl IntoIterator<Item = &'a Env>, ttl: Duration) -> Result<Duration> {
        let mut faults = Vec::new();
        let ttl = self.terms(envs, false).ttl(Some(ttl), &mut faults);
        if faults.is_empty() { Ok(ttl) } else { Err(Error::Invalid { faults }) }
    }

    /// How long the bots of these envs rest after a clean release of their lease.
    #[must_use]
    pub fn reuse_delay_in<'a>(&'a self, envs: impl IntoIterator<Item = &'a Env>) -> Duration {
        self.terms(envs, false).reuse_delay
    }

    /// How long the bots of these envs rest after their lease expired or was revoked.
    #[must_use]
    pub fn cooling_in<'a>(&'a self, envs: impl IntoIterator<Item = &'a Env>) -> Duration {
        self.terms(envs, false).cooling
    }

    /// How long the bots that a request may get rest after an expiry, where it is not known yet of which envs they are:
    /// as long as in any that it could reach.
    #[must_use]
    pub fn cooling_of(&self, request: &LeaseRequest) -> Duration {
        self.terms_of(request).cooling
    }

    /// Checks all that a request can be checked for without looking at the bots, and gives the TTL that it gets.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming every fault.
    pub fn check(&self, request: &LeaseRequest) -> Result<Duration> {
        let mut faults = Vec::new();
        let ttl = self.terms_of(request).ttl(request.ttl, &mut faults);
        if !(1..=32).contains(&request.selectors.len()) {
            let count = request.selectors.len();
            faults.push(Fault::new(Field::Selectors, format!("must be 1 to 32 selectors, are {count}")));
        }
        let mut aliases = HashSet::new();
        for (index, selector) in request.selectors.iter().enumerate() {
            if let Some(alias) = &selector.alias
                && !aliases.insert(alias)
            {
                faults.push(Fault::new(
                    Location::from(Field::Selectors).item(index).field(Field::Alias),
                    "must differ from every other",
                ));
            }
        }
        if request.avoid.len() > 1_000 {
            let count = request.avoid.len();
            faults.push(Fault::new(Field::Avoid, format!("must be at most 1000 ids, are {count}")));
        }
        if faults.is_empty() { Ok(ttl) } else { Err(Error::Invalid { faults }) }
    }

    fn terms_of<'a>(&'a self, request: &'a LeaseRequest) -> Terms<'a> {
        if self.envs.is_empty() {
            return self.base();
        }
        let named = request.selectors.iter().filter_map(|selector| selector.env.as_ref());
        let unnamed = request.selectors.iter().filter(|selector| selector.env.is_none());
        let reached = self.envs.keys().filter(|env| unnamed.clone().any(|selector| self.reaches(selector, env)));
        self.terms(named.chain(reached), unnamed.clone().next().is_some())
    }

    /// The terms of a lease of these envs, and of any other when `elsewhere`.
    fn terms<'a>(&'a self, envs: impl IntoIterator<Item = &'a Env>, elsewhere: bool) -> Terms<'a> {
        let own = envs.into_iter().map(|env| match self.envs.get_key_value(env) {
            Some((env, policy)) => self.base().with(env, policy),
            None => self.base(),
        });
        let all = own.chain(elsewhere.then(|| self.base()));
        all.reduce(Terms::and).unwrap_or_else(|| self.base())
    }

    fn base(&self) -> Terms<'_> {
        let Self { default_ttl, min_ttl, max_ttl, reuse_delay, cooling, .. } = *self;
        Terms { default_ttl, min_ttl, max_ttl, reuse_delay, cooling, because_of: None }
    }
}

impl<'a> Terms<'a> {
    fn with(self, env: &'a Env, policy: &EnvPolicy) -> Self {
        let min_ttl = policy.min_ttl.unwrap_or(self.min_ttl);
        let max_ttl = policy.max_ttl.unwrap_or(self.max_ttl);
        Self {
            // A default of the farm that the env does not allow is no default in it.
            default_ttl: policy.default_ttl.unwrap_or(self.default_ttl).min(max_ttl).max(min_ttl),
            because_of: (min_ttl != self.min_ttl || max_ttl != self.max_ttl).then_some(env),
            min_ttl,
            max_ttl,
            reuse_delay: policy.reuse_delay.unwrap_or(self.reuse_delay),
            cooling: policy.cooling.unwrap_or(self.cooling),
        }
    }

    /// What both allow.
    fn and(self, other: Self) -> Self {
        Self {
            default_ttl: self.default_ttl.min(other.default_ttl).max(self.min_ttl).max(other.min_ttl),
            min_ttl: self.min_ttl.max(other.min_ttl),
            max_ttl: self.max_ttl.min(other.max_ttl),
            reuse_delay: self.reuse_delay.max(other.reuse_delay),
            cooling: self.cooling.max(other.cooling),
            because_of: self.because_of.or(other.because_of),
        }
    }

    fn ttl(self, ttl: Option<Duration>, faults: &mut Vec<Fault>) -> Duration {
        let ttl = ttl.unwrap_or(self.default_ttl);
        if ttl < self.min_ttl || ttl > self.max_ttl {
            let (min, max) = (self.min_ttl.as_secs_f64(), self.max_ttl.as_secs_f64());
            let where_ = self.because_of.map(|env| format!(", as {env} has it")).unwrap_or_default();
            faults.push(Fault::new(Field::Ttl, format!("must be from {min} to {max} seconds{where_}")));
        }
        // Whole microseconds, as Postgres keeps them.
        Duration::from_micros(u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn policy(envs: impl IntoIterator<Item = (&'static str, EnvPolicy)>) -> LeasePolicy {
        let envs = envs.into_iter().map(|(env, policy)| (env.parse().unwrap(), policy));
        LeasePolicy { envs: envs.collect(), ..LeasePolicy::default() }
    }

    fn ask(selectors: impl IntoIterator<Item = Selector>) -> LeaseRequest {
        LeaseRequest::many("ada".parse().unwrap(), selectors)
    }

    #[test]
    fn prod_must_be_named_unless_the_policy_says_otherwise() {
        let named = |named_only| EnvPolicy { named_only: Some(named_only), ..EnvPolicy::default() };
        let any = Selector::any();
        assert_eq!(LeasePolicy::default().spared(&any), [Env::PROD]);
        assert_eq!(policy([("prod", named(false))]).spared(&any), []);
        assert_eq!(policy([("prod", EnvPolicy::default())]).spared(&any), [Env::PROD]);
        let both = policy([("live", named(true))]);
        assert_eq!(both.spared(&any), [Env::PROD, "live".parse().unwrap()]);
        let labelled = Selector::any().labels(crate::Labels::try_from([("role", "admin")]).unwrap());
        assert_eq!(both.spared(&labelled.project("shop".parse().unwrap())).len(), 2);
        for naming in [
            Selector::any().env(Env::STAGE),
            Selector::any().login("ada".parse().unwrap()),
            Selector::bot(crate::BotId::new()),
        ] {
            assert_eq!(both.spared(&naming), []);
            assert!(both.reaches(&naming, &Env::PROD));
        }
        assert!(!both.reaches(&any, &Env::PROD) && both.reaches(&any, &Env::STAGE));
    }

    #[test]
    fn an_env_has_limits_and_rests_of_its_own() {
        let brief = EnvPolicy {
            max_ttl: Some(MINUTE),
            cooling: Some(MINUTE),
            reuse_delay: Some(MINUTE / 2),
            ..EnvPolicy::default()
        };
        let policy = policy([("qa", brief)]);
        let (qa, dev): (Env, Env) = ("qa".parse().unwrap(), "dev".parse().unwrap());
        let of = |env: &Env| Selector::any().env(env.clone());
        assert_eq!(policy.check(&ask([of(&qa)])).unwrap(), MINUTE, "the default is one that the env allows");
        assert_eq!(policy.check(&ask([of(&dev)])).unwrap(), policy.default_ttl);
        let both = ask([of(&dev), of(&qa)]);
        assert_eq!(policy.check(&both).unwrap(), MINUTE, "a lease of both gets what both allow");
        let long = policy.check(&both.ttl(2 * MINUTE)).unwrap_err().to_string();
        assert!(long.contains("must be from 5 to 60 seconds, as qa has it"), "{long}");
        assert!(policy.check(&ask([Selector::any()]).ttl(2 * MINUTE)).is_err(), "it could get a bot of qa");
        assert_eq!(policy.cooling_in([&dev]), policy.cooling);
        assert_eq!(policy.cooling_in([&dev, &qa]), MINUTE);
        assert_eq!((policy.reuse_delay_in([&dev]), policy.reuse_delay_in([&qa])), (Duration::ZERO, MINUTE / 2));
        assert_eq!(policy.cooling_of(&ask([of(&dev)])), policy.cooling);
        assert_eq!(policy.cooling_of(&ask([Selector::any()])), MINUTE);
        assert!(policy.ttl_in([&qa], 2 * MINUTE).is_err() && policy.ttl_in([&dev], 2 * MINUTE).is_ok());
        assert!(policy.varies() && !LeasePolicy::default().varies());
    }

    #[test]
    fn what_no_ttl_fits_is_refused() {
        let long = EnvPolicy { min_ttl: Some(2 * MINUTE), ..EnvPolicy::default() };
        let short = EnvPolicy { max_ttl: Some(MINUTE), ..EnvPolicy::default() };
        let policy = policy([("long", long), ("short", short)]);
        let both = ["long", "short"].map(|env| Selector::any().env(env.parse().unwrap()));
        assert!(policy.check(&ask(both)).is_err());
    }
}

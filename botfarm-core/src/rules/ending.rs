//! How leases leave their bots, and which lease a release or a revocation means.

use std::time::Duration;

use crate::{
    bot::Bot,
    condition::Condition,
    ending::Outcome,
    error::{Error, Result},
    id::BotId,
    lease::{BotRelease, Revocation},
    name::Env,
    policy::{AfterExpiry, LeasePolicy},
    terms::Terms,
};

/// How the end of a lease leaves its bots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aftermath {
    /// In which condition. `None`: in the one that they had.
    pub condition: Option<Condition>,
    /// For how long they rest.
    pub rest: Duration,
}

impl LeasePolicy {
    /// How a lease of bots of these envs leaves them: with the outcome that its holder gave at the release, or without one,
    /// when it expired or was revoked. A bot that is of no use to the next holder does not rest: somebody is to look at it.
    #[must_use]
    pub fn aftermath<'a>(&'a self, outcome: Option<Outcome>, envs: impl IntoIterator<Item = &'a Env>) -> Aftermath {
        let rest = match outcome {
            Some(Outcome::Clean) => self.reuse_delay_in(envs),
            Some(Outcome::Dirty | Outcome::Broken) => Duration::ZERO,
            None => self.cooling_in(envs),
        };
        Aftermath { condition: outcome.map(Outcome::condition), rest }
    }

    /// The condition in which an expiry leaves a bot.
    #[must_use]
    pub fn condition_after_expiry(&self, bot: &Bot) -> Condition {
        let is_dirty = bot.condition == Condition::Ready
            && self.envs.get(&bot.env).is_some_and(|policy| policy.after_expiry == AfterExpiry::Dirty);
        if is_dirty { Condition::Dirty } else { bot.condition }
    }
}

impl Outcome {
    /// The condition in which it leaves the bots.
    #[must_use]
    pub fn condition(self) -> Condition {
        match self {
            Self::Clean => Condition::Ready,
            Self::Dirty => Condition::Dirty,
            Self::Broken => Condition::Broken,
        }
    }
}

impl BotRelease {
    /// Whether it means the lease that holds `bot` and carries `terms` along. False when it names another holder, who is to
    /// be told who holds the bot.
    ///
    /// # Errors
    /// [`Error::NotHolder`] when whoever asks may end their own leases alone, and this is somebody else's.
    pub fn means(&self, bot: BotId, terms: &Terms) -> Result<bool> {
        if self.owner.is_some() && self.owner != terms.owner {
            return Err(Error::NotHolder { bot, holder: terms.holder.clone() });
        }
        Ok(self.holder.as_ref().is_none_or(|holder| *holder == terms.holder))
    }
}

impl Revocation {
    /// Whether it means a lease that carries `terms` along.
    #[must_use]
    pub fn means(&self, terms: &Terms) -> bool {
        self.owner.is_none() || self.owner == terms.owner
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::EnvPolicy;

    #[test]
    fn who_leaves_bots_clean_has_them_rest_and_who_leaves_them_otherwise_does_not() {
        let (delay, cooling) = (Duration::from_secs(7), Duration::from_secs(9));
        let policy = LeasePolicy { reuse_delay: delay, cooling, ..LeasePolicy::default() };
        let left = |outcome| {
            let Aftermath { condition, rest } = policy.aftermath(outcome, [&Env::STAGE]);
            (condition, rest)
        };
        assert_eq!(left(Some(Outcome::Clean)), (Some(Condition::Ready), delay));
        assert_eq!(left(Some(Outcome::Dirty)), (Some(Condition::Dirty), Duration::ZERO));
        assert_eq!(left(Some(Outcome::Broken)), (Some(Condition::Broken), Duration::ZERO));
        assert_eq!(left(None), (None, cooling));
    }

    #[test]
    fn an_expiry_leaves_ready_bots_dirty_where_the_policy_says_so() {
        let dirty = EnvPolicy { after_expiry: AfterExpiry::Dirty, ..EnvPolicy::default() };
        let policy = LeasePolicy { envs: [(Env::STAGE, dirty)].into(), ..LeasePolicy::default() };
        let after = |env: Env, condition| {
            let new =
                crate::NewBot::new("ada".parse().unwrap(), "pw".try_into().unwrap(), "shop".parse().unwrap(), env);
            let bot = Bot::new(BotId::new(), &new, crate::Timestamp::UNIX_EPOCH);
            policy.condition_after_expiry(&Bot { condition, ..bot })
        };
        assert_eq!(after(Env::STAGE, Condition::Ready), Condition::Dirty);
        assert_eq!(after(Env::STAGE, Condition::Broken), Condition::Broken);
        assert_eq!(after(Env::PROD, Condition::Ready), Condition::Ready);
    }

    #[test]
    fn a_release_means_a_lease_of_its_holder_and_its_owner() {
        let mut terms = Terms::new("ada".parse().unwrap());
        terms.owner = Some("token 1".parse().unwrap());
        let release = |holder: Option<&str>, owner: Option<&str>| {
            let (holder, owner) = (holder.map(|name| name.parse().unwrap()), owner.map(|name| name.parse().unwrap()));
            let release = BotRelease { ending: crate::Ending::clean(), lease: None, holder, owner };
            release.means(BotId::new(), &terms).map_err(|error| error.code())
        };
        assert_eq!(release(None, None), Ok(true));
        assert_eq!(release(Some("ada"), Some("token 1")), Ok(true));
        assert_eq!(release(Some("bob"), None), Ok(false));
        assert_eq!(release(Some("ada"), Some("token 2")), Err("not-holder"));
    }
}

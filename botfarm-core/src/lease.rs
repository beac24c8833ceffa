//! The exclusive, timed right to use one or more bots.

use std::{ops::Deref, sync::Arc, time::Duration};

use crate::{
    bot::Bot,
    ending::{EndReason, Ending, Outcome},
    id::{BotId, Fence, LeaseId},
    name::ProjectId,
    secret::Secret,
    selector::Selector,
    terms::Terms,
    text::{Alias, Holder, JobUrl, Note, Owner, Run, StickyKey},
    time::Timestamp,
};

/// A digest of what was asked for, so that one lease id cannot stand for two requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// What to lease, for whom, and for how long.
///
/// The id is the idempotency key: keep it, and asking again after a lost answer takes no second bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRequest {
    /// The id of the lease to come, random unless the caller sets it.
    pub id: LeaseId,
    /// One for each bot wanted, 1 to 32; granted all together or not at all.
    pub selectors: Vec<Selector>,
    /// Who asks, and what else the lease is to carry along.
    pub terms: Arc<Terms>,
    /// How long the lease lives unless it is renewed. The farm has a default and limits.
    pub ttl: Option<Duration>,
    /// How long to stand in the queue when nothing fits. Zero: try once.
    pub wait: Duration,
    /// Prefer the bots last leased with this key. Never waits for them while others fit.
    pub sticky: Option<StickyKey>,
    /// Bots not to take, at most 1,000: the ones that have just failed.
    pub avoid: Vec<BotId>,
    /// Refuse to stand for another request of the same id, where a service sets it. Not sent over the wire.
    pub fingerprint: Option<Fingerprint>,
}

impl LeaseRequest {
    /// One bot, for the farm's default TTL, without waiting.
    #[must_use]
    pub fn new(holder: Holder, selector: Selector) -> Self {
        Self::many(holder, [selector])
    }

    /// Several bots, for the farm's default TTL, without waiting.
    #[must_use]
    pub fn many(holder: Holder, selectors: impl IntoIterator<Item = Selector>) -> Self {
        Self {
            id: LeaseId::new(),
            selectors: selectors.into_iter().collect(),
            terms: Arc::new(Terms::new(holder)),
            ttl: None,
            wait: Duration::ZERO,
            sticky: None,
            avoid: Vec::new(),
            fingerprint: None,
        }
    }

    /// The same, with what it carries along changed.
    #[must_use]
    pub fn with_terms(mut self, change: impl FnOnce(&mut Terms)) -> Self {
        change(Arc::make_mut(&mut self.terms));
        self
    }

    /// The same, under this id.
    #[must_use]
    pub fn id(self, id: LeaseId) -> Self {
        Self { id, ..self }
    }

    /// The same, with this remark.
    #[must_use]
    pub fn note(self, note: Note) -> Self {
        self.with_terms(|terms| terms.note = Some(note))
    }

    /// The same, as a part of this run.
    #[must_use]
    pub fn run(self, run: Run) -> Self {
        self.with_terms(|terms| terms.run = Some(run))
    }

    /// The same, with a place to look.
    #[must_use]
    pub fn url(self, url: JobUrl) -> Self {
        self.with_terms(|terms| terms.url = Some(url))
    }

    /// The same, for this long.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    /// The same, waiting for at most this long.
    #[must_use]
    pub fn wait(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// The same, preferring the bots last leased with this key.
    #[must_use]
    pub fn sticky(self, key: StickyKey) -> Self {
        Self { sticky: Some(key), ..self }
    }

    /// The same, without these bots.
    #[must_use]
    pub fn avoid(self, bots: impl IntoIterator<Item = BotId>) -> Self {
        Self { avoid: bots.into_iter().collect(), ..self }
    }

    /// Whether `bot` could ever be granted for the selector, whatever its condition and whoever holds it.
    #[must_use]
    pub fn could_take(&self, selector: &Selector, bot: &Bot) -> bool {
        selector.could_fit(bot) && !self.avoid.contains(&bot.id)
    }
}

/// A lease as its holder sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its id, which the holder chose. Who knows it may renew and release.
    pub id: LeaseId,
    /// Who holds it, and what else it carries along.
    pub terms: Arc<Terms>,
    /// When it was granted.
    pub acquired_at: Timestamp,
    /// When it ends unless it is renewed, by the farm's clock.
    pub expires_at: Timestamp,
    /// How long it lives from its grant or latest renewal.
    pub ttl: Duration,
    /// How much of that was left when the farm answered. Count it on a monotonic clock from before the call.
    pub remaining: Duration,
    /// The bots, one for each selector, in the order of the selectors.
    pub bots: Vec<LeasedBot>,
}

impl Lease {
    /// The first bot: the only one when the request had one selector.
    ///
    /// # Panics
    /// Never: a farm grants no lease without a bot.
    #[must_use]
    pub fn bot(&self) -> &LeasedBot {
        self.bots.first().expect("a lease has at least one bot")
    }

    /// The bot that was asked for under this alias.
    #[must_use]
    pub fn by_alias(&self, alias: &str) -> Option<&LeasedBot> {
        self.bots.iter().find(|leased| leased.alias.as_deref() == Some(alias))
    }

    /// When to renew: after a third of the TTL.
    #[must_use]
    pub fn renew_after(&self) -> Duration {
        self.ttl / 3
    }
}

/// The first bot: `lease.login`, `lease.password` of a lease of one.
impl Deref for Lease {
    type Target = LeasedBot;

    fn deref(&self) -> &LeasedBot {
        self.bot()
    }
}

/// A bot within a lease, with its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasedBot {
    /// What it was asked for as.
    pub alias: Option<Alias>,
    /// The bot.
    pub bot: Bot,
    /// Its password.
    pub password: Secret,
    /// Larger than that of every earlier hand-out of this bot.
    pub fence: Fence,
}

impl Deref for LeasedBot {
    type Target = Bot;

    fn deref(&self) -> &Bot {
        &self.bot
    }
}

/// How to end whatever lease holds a bot, without having its id at hand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BotRelease {
    /// In what state the bots are left, and a remark.
    pub ending: Ending,
    /// Only if this lease holds the bot.
    pub lease: Option<LeaseId>,
    /// Only if this is who holds it: a release that comes late ends no lease of somebody else.
    pub holder: Option<Holder>,
    /// Only if the lease was granted to this authenticated caller. Not sent over the wire.
    pub owner: Option<Owner>,
}

/// Why a lease is taken away, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Why: the holder is told, and it stays in the history.
    pub reason: Note,
    /// Who did it.
    pub by: Holder,
    /// Only a lease that was granted to this authenticated caller; another's stays. Not sent over the wire.
    pub owner: Option<Owner>,
}

impl Revocation {
    /// Whosever lease it is.
    #[must_use]
    pub fn new(reason: Note, by: Holder) -> Self {
        Self { reason, by, owner: None }
    }
}

/// A lease in force, without its id and without passwords. Over the wire, everybody may see it, but for the owner and the
/// origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveLease {
    /// Who holds it, and what else it carries along.
    pub terms: Arc<Terms>,
    /// When it was granted.
    pub acquired_at: Timestamp,
    /// When it ends unless it is renewed.
    pub expires_at: Timestamp,
    /// The bots it holds, with what they are for.
    pub bots: Vec<(Option<Alias>, Bot)>,
}

/// One hand-out of a bot, past or present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRecord {
    /// The bot.
    pub bot: BotId,
    /// Which hand-out of it.
    pub fence: Fence,
    /// The project that the bot was in then. It may have moved since.
    pub project: ProjectId,
    /// Who held it, and what else its lease carried along.
    pub terms: Arc<Terms>,
    /// Since when.
    pub from: Timestamp,
    /// How it ended, if it has.
    pub end: Option<LeaseEnd>,
}

/// How a hand-out ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseEnd {
    /// When.
    pub at: Timestamp,
    /// How.
    pub reason: EndReason,
    /// In what state the bot was left, when its holder said so.
    pub outcome: Option<Outcome>,
    /// Who took it away, when somebody did.
    pub by: Option<Holder>,
    /// The remark made at the release, or the reason of the revocation.
    pub note: Option<Note>,
}

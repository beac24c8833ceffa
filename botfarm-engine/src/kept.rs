//! What a journal keeps.

use std::{sync::Arc, time::Duration};

use botfarm_core::{
    Alias, Bot, BotId, Condition, EndReason, Fence, Fingerprint, Holder, LeaseEnd, LeaseId, LeaseRecord, Note, Outcome,
    ProjectId, Secret, StickyKey, Terms,
    operators::{Operator, OperatorId, PasswordHash, SessionId, Token, TokenDigest, TokenId},
};

use crate::moment::Moment;

/// What changed in a turn.
///
/// Each says how one thing is from now on, not what was done to it: to keep a change twice does no harm. Those of a turn
/// belong together: a journal keeps all of them or none.
#[derive(Debug, Clone)]
pub enum Change {
    /// A bot is new, or is another than it was.
    Bot(KeptBot),
    /// The farm has done something with a bot. Not sent for a bot that is handed out: the lease says so.
    Status(KeptStatus),
    /// A bot is gone, and with it its history. That its leases have ended remains known.
    BotDeleted(BotId),
    /// A lease is in force.
    Lease(KeptLease),
    /// A lease in force has got another deadline.
    Renewed {
        /// Which.
        id: LeaseId,
        /// How long it lives from a renewal.
        ttl: Duration,
        /// When it ends unless it is renewed.
        expires_at: Moment,
    },
    /// A lease is no longer in force. What it held has ended; or, when nothing says so, it was never received.
    LeaseOver(LeaseId),
    /// A hand-out has ended.
    Ended(KeptHandOut),
    /// An operator is new, has another password, or another generation of sessions.
    Operator(Operator, PasswordHash),
    /// An operator is gone.
    OperatorRemoved(OperatorId),
    /// A token is new, or was used.
    Token(Token, TokenDigest),
    /// A token is gone.
    TokenRemoved(TokenId),
    /// A session has ended, and is to be remembered until this moment.
    SessionEnded(SessionId, Moment),
    /// A session that has ended need not be remembered any more.
    SessionForgotten(SessionId),
}

/// A bot.
#[derive(Debug, Clone)]
pub struct KeptBot {
    /// Who it is; without who holds it, and until when it rests.
    pub bot: Bot,
    /// Its password; `None`: what is kept of it cannot be read, and stays as it is.
    pub password: Option<Secret>,
    /// What the farm is doing with it.
    pub status: KeptStatus,
}

/// What the farm is doing with a bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptStatus {
    /// Which bot.
    pub bot: BotId,
    /// Whether it is fit for use.
    pub condition: Condition,
    /// Its latest hand-out, unless a lease in force says more; 0 before the first.
    pub fence: Fence,
    /// What its last lease was asked for with.
    pub sticky: Option<StickyKey>,
    /// Its place among the free ones: whoever became free later has a greater number.
    pub order: u64,
    /// Until when it rests; `None`: it does not.
    pub rests_until: Option<Moment>,
}

/// A lease in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLease {
    /// Its id.
    pub id: LeaseId,
    /// Who holds it, and what else it carries along.
    pub terms: Arc<Terms>,
    /// What it was asked for with.
    pub sticky: Option<StickyKey>,
    /// What was asked for, where the id must not stand for anything else.
    pub fingerprint: Option<Fingerprint>,
    /// When it was granted.
    pub acquired_at: Moment,
    /// How long it lives from its grant or latest renewal.
    pub ttl: Duration,
    /// When it ends unless it is renewed.
    pub expires_at: Moment,
    /// Its bots, in the order of the selectors.
    pub bots: Vec<KeptLeasedBot>,
}

/// A bot within a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLeasedBot {
    /// Which bot.
    pub bot: BotId,
    /// What it was asked for as.
    pub alias: Option<Alias>,
    /// Which hand-out of it.
    pub fence: Fence,
}

/// A hand-out of a bot that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptHandOut {
    /// Within which lease.
    pub lease: LeaseId,
    /// Which bot; the nil id when it has been deleted.
    pub bot: BotId,
    /// Which hand-out of it.
    pub fence: Fence,
    /// The project that the bot was in.
    pub project: ProjectId,
    /// Who held it, and what else its lease carried along.
    pub terms: Arc<Terms>,
    /// Since when.
    pub from: Moment,
    /// When it ended.
    pub at: Moment,
    /// How it ended.
    pub reason: EndReason,
    /// In what state the bot was left, when its holder said so.
    pub outcome: Option<Outcome>,
    /// Who took it away, when somebody did.
    pub by: Option<Holder>,
    /// The remark made at the release, or the reason of the revocation.
    pub remark: Option<Note>,
}

impl KeptHandOut {
    /// As everybody may see it.
    #[must_use]
    pub fn record(self) -> LeaseRecord {
        let end = LeaseEnd {
            at: self.at.timestamp(),
            reason: self.reason,
            outcome: self.outcome,
            by: self.by,
            note: self.remark,
        };
        LeaseRecord {
            bot: self.bot,
            fence: self.fence,
            project: self.project,
            terms: self.terms,
            from: self.from.timestamp(),
            end: Some(end),
        }
    }
}

/// All that a journal has kept: what its changes add up to.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Every bot.
    pub bots: Vec<KeptBot>,
    /// The leases in force.
    pub leases: Vec<KeptLease>,
    /// The latest hand-outs that have ended, in the order of their ends; more than
    /// [`REMEMBERED`](crate::REMEMBERED) are of no use.
    pub ended: Vec<KeptHandOut>,
    /// Every operator.
    pub operators: Vec<(Operator, PasswordHash)>,
    /// Every token.
    pub tokens: Vec<(Token, TokenDigest)>,
    /// The sessions that have ended, with until when each is to be remembered.
    pub sessions: Vec<(SessionId, Moment)>,
}

impl Snapshot {
    /// The latest moment that something is known to have happened at. Time goes on from there, even if the machine's
    /// clock has been set back.
    #[must_use]
    pub fn latest(&self) -> Moment {
        let leases = self.leases.iter().map(|lease| lease.acquired_at);
        let created = self.bots.iter().map(|kept| Moment::from(kept.bot.created_at));
        leases.chain(created).chain(self.ended.iter().map(|ended| ended.at)).max().unwrap_or_default()
    }
}

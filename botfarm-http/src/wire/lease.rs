//! Leases, and what becomes of them.

use std::{net::IpAddr, sync::Arc};

use botfarm_core::{
    Alias, Bot, BotId, EndReason, Fence, Holder, LeaseEnd, LeaseId, LeaseRecord, LeasedBot, Note, Origin, Outcome,
    Owner, ProjectId, RequestId,
};
use serde::{Deserialize, Serialize};

use super::{
    terms::Terms,
    user::User,
    value::{Password, Seconds, Time},
};

/// A lease as its holder sees it. Whoever has its id may renew and release it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Lease {
    /// Its id: a secret.
    pub id: LeaseId,
    /// All else.
    #[serde(flatten)]
    pub terms: LeaseTerms,
}

/// A lease as its holder sees it, but for its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct LeaseTerms {
    /// Who holds it, and what else it carries along.
    #[serde(flatten)]
    pub terms: Terms,
    /// When it was granted.
    pub acquired_at: Time,
    /// When it ends unless it is renewed, by the farm's clock.
    pub expires_at: Time,
    /// How much of it was left when the farm answered: for those whose clock differs from the farm's.
    pub expires_in_seconds: Seconds,
    /// How long it lives from its grant or latest renewal.
    pub ttl_seconds: Seconds,
    /// When to renew it, from its grant or latest renewal.
    pub renew_after_seconds: Seconds,
    /// The users, one for each selector, in the order of the selectors.
    pub users: Vec<LeaseUser>,
}

/// A user within a lease, with its password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct LeaseUser {
    /// The user.
    #[serde(flatten)]
    pub user: User,
    /// What it was asked for as.
    #[serde(rename = "as")]
    pub alias: Option<Alias>,
    /// Its password.
    pub password: Password,
    /// Larger than that of every earlier hand-out of this user.
    pub fence: Fence,
}

impl From<botfarm_core::Lease> for Lease {
    fn from(lease: botfarm_core::Lease) -> Self {
        let terms = LeaseTerms {
            renew_after_seconds: Seconds(lease.renew_after()),
            terms: lease.terms.into(),
            acquired_at: Time(lease.acquired_at),
            expires_at: Time(lease.expires_at),
            expires_in_seconds: Seconds(lease.remaining),
            ttl_seconds: Seconds(lease.ttl),
            users: lease.bots.into_iter().map(LeaseUser::from).collect(),
        };
        Self { id: lease.id, terms }
    }
}

impl From<Lease> for botfarm_core::Lease {
    fn from(Lease { id, terms }: Lease) -> Self {
        Self {
            id,
            terms: Arc::new(terms.terms.into()),
            acquired_at: terms.acquired_at.0,
            expires_at: terms.expires_at.0,
            ttl: terms.ttl_seconds.0,
            remaining: terms.expires_in_seconds.0,
            bots: terms.users.into_iter().map(LeasedBot::from).collect(),
        }
    }
}

impl From<LeasedBot> for LeaseUser {
    fn from(leased: LeasedBot) -> Self {
        let LeasedBot { alias, bot, password, fence } = leased;
        Self { user: User::from(bot), alias, password: Password(password), fence }
    }
}

impl From<LeaseUser> for LeasedBot {
    fn from(leased: LeaseUser) -> Self {
        let LeaseUser { user, alias, password, fence } = leased;
        Self { alias, bot: Bot::from(user), password: password.0, fence }
    }
}

/// What a lock by id gives: the lease, and a sentence. The ids at its top are the user's, as clients of other bot farms read
/// them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Locked {
    /// What was done, for people to read.
    pub message: String,
    /// The user.
    pub id: BotId,
    /// The user.
    pub user_id: BotId,
    /// The lease: a secret. Whoever has it may renew and release it.
    pub lease_id: LeaseId,
    /// When the user was handed out.
    pub locktime: Time,
    /// All else of the lease.
    #[serde(flatten)]
    pub terms: LeaseTerms,
}

/// What a release by id gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Unlocked {
    /// What was done, for people to read.
    pub message: String,
    /// The user.
    pub id: BotId,
    /// The user.
    pub user_id: BotId,
    /// Null: nobody holds the user.
    pub locktime: Option<Time>,
}

/// A lease in force, as everybody may see it: without its id and without passwords.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct ActiveLease {
    /// Who holds it, and what else it carries along.
    #[serde(flatten)]
    pub terms: Terms,
    /// When it was granted.
    pub acquired_at: Time,
    /// When it ends unless it is renewed.
    pub expires_at: Time,
    /// The users it holds.
    pub users: Vec<ActiveUser>,
}

/// A user within a lease, without its password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct ActiveUser {
    /// The user.
    #[serde(flatten)]
    pub user: User,
    /// What it was asked for as.
    #[serde(rename = "as")]
    pub alias: Option<Alias>,
}

impl From<botfarm_core::ActiveLease> for ActiveLease {
    fn from(lease: botfarm_core::ActiveLease) -> Self {
        let botfarm_core::ActiveLease { terms, acquired_at, expires_at, bots } = lease;
        let users = bots.into_iter().map(|(alias, bot)| ActiveUser { user: User::from(bot), alias }).collect();
        Self { terms: terms.into(), acquired_at: Time(acquired_at), expires_at: Time(expires_at), users }
    }
}

impl From<ActiveLease> for botfarm_core::ActiveLease {
    fn from(lease: ActiveLease) -> Self {
        let ActiveLease { terms, acquired_at, expires_at, users } = lease;
        let bots = users.into_iter().map(|active| (active.alias, Bot::from(active.user))).collect();
        Self { terms: Arc::new(terms.into()), acquired_at: acquired_at.0, expires_at: expires_at.0, bots }
    }
}

/// One hand-out of a user, past or present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct HistoryRow {
    /// The user.
    pub user_id: BotId,
    /// Which hand-out of it.
    pub fence: Fence,
    /// The project that the user was in then.
    pub project_id: ProjectId,
    /// Who held it, and what else its lease carried along.
    #[serde(flatten)]
    pub terms: Terms,
    /// The caller who was given it, `operator` or `token` and its id; null where nobody was asked who they are.
    pub owner: Option<Owner>,
    /// The address that the request came from. Null for whoever is no admin, or confined.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub address: Option<IpAddr>,
    /// The `X-Request-Id` of the request. Null for whoever is no admin, or confined.
    pub request_id: Option<RequestId>,
    /// Since when.
    pub from: Time,
    /// Until when; null while the lease is in force.
    pub to: Option<Time>,
    /// How it ended; null while the lease is in force.
    pub reason: Option<EndReason>,
    /// In what state the user was left, when its holder said so.
    pub outcome: Option<Outcome>,
    /// Who took it away, when somebody did.
    pub by: Option<Holder>,
    /// The remark made at the release, or the reason of the revocation.
    pub end_note: Option<Note>,
}

impl From<LeaseRecord> for HistoryRow {
    fn from(record: LeaseRecord) -> Self {
        let LeaseRecord { bot, fence, project, terms, from, end } = record;
        let row = Self {
            user_id: bot,
            fence,
            project_id: project,
            owner: terms.owner.clone(),
            address: terms.origin.address,
            request_id: terms.origin.request.clone(),
            terms: terms.into(),
            from: Time(from),
            to: None,
            reason: None,
            outcome: None,
            by: None,
            end_note: None,
        };
        match end {
            None => row,
            Some(LeaseEnd { at, reason, outcome, by, note }) => {
                Self { to: Some(Time(at)), reason: Some(reason), outcome, by, end_note: note, ..row }
            }
        }
    }
}

impl From<HistoryRow> for LeaseRecord {
    fn from(row: HistoryRow) -> Self {
        let HistoryRow { user_id, fence, project_id, terms, owner, address, request_id, from, .. } = row;
        let HistoryRow { to, reason, outcome, by, end_note, .. } = row;
        let end = to.zip(reason).map(|(to, reason)| LeaseEnd { at: to.0, reason, outcome, by, note: end_note });
        let mut terms = botfarm_core::Terms::from(terms);
        (terms.owner, terms.origin) = (owner, Origin { address, request: request_id });
        Self { bot: user_id, fence, project: project_id, terms: Arc::new(terms), from: from.0, end }
    }
}

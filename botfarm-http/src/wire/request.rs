//! What is asked of leases.

use std::time::Duration;

use botfarm_core::{
    Alias, BotId, BotRelease, Condition, Domain, Ending, Env, Holder, JobUrl, Labels, LeaseId, Login, Note, Outcome,
    ProjectId, Revocation, Run, StickyKey,
};
use serde::Serialize;

use super::value::Seconds;

/// Which user is wanted: all that is given must match. An empty selector matches any ready user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// What the user is called within the lease.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub alias: Option<Alias>,
    /// This very user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<BotId>,
    /// The user with this login, case aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
    /// A user of this project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// A user of this env.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<Env>,
    /// A user of this domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<Domain>,
    /// A user with all of these labels.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    #[cfg_attr(feature = "server", schema(value_type = Option<Labels>))]
    pub labels: Labels,
    /// A user in this condition. `ready` unless given.
    #[serde(skip_serializing_if = "is_default")]
    #[cfg_attr(feature = "server", schema(value_type = Option<Condition>))]
    pub condition: Condition,
}

impl From<&botfarm_core::Selector> for Selector {
    fn from(selector: &botfarm_core::Selector) -> Self {
        let botfarm_core::Selector { alias, id, login, project, env, domain, labels, condition } = selector.clone();
        Self { alias, id, login, project_id: project, env, domain, labels, condition }
    }
}

/// What to lease, for whom, and for how long: the body of `POST /leases`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LeaseRequest {
    /// One for each user wanted, 1 to 32; granted all together or not at all.
    #[cfg_attr(feature = "server", schema(min_items = 1, max_items = 32))]
    pub users: Vec<Selector>,
    /// The id of the lease to come, random and secret. The server makes one unless it is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<LeaseId>,
    /// How long the lease lives unless it is renewed. The server has a default and limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<f64>, minimum = 5, maximum = 86400))]
    pub ttl_seconds: Option<Seconds>,
    /// How long to stand in the queue when nothing fits. 0 unless given: try once.
    #[serde(skip_serializing_if = "is_zero")]
    #[cfg_attr(feature = "server", schema(value_type = Option<Seconds>))]
    pub wait_seconds: Seconds,
    /// Who asks. The caller's name unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// The CI run or test session that the lease is a part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// A remark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<Note>,
    /// Where to look, usually the CI job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<JobUrl>,
    /// Prefer the users last leased with this key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky: Option<StickyKey>,
    /// Users not to take, at most 1,000.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "server", schema(value_type = Option<Vec<BotId>>, max_items = 1000))]
    pub avoid: Vec<BotId>,
}

impl From<&botfarm_core::LeaseRequest> for LeaseRequest {
    fn from(request: &botfarm_core::LeaseRequest) -> Self {
        let botfarm_core::Terms { holder, run, note, url, .. } = (*request.terms).clone();
        Self {
            users: request.selectors.iter().map(Selector::from).collect(),
            id: Some(request.id),
            ttl_seconds: request.ttl.map(Seconds),
            wait_seconds: Seconds(request.wait),
            holder: Some(holder),
            run,
            note,
            url,
            sticky: request.sticky.clone(),
            avoid: request.avoid.clone(),
        }
    }
}

/// How to lock one user: the body of `POST /users/{id}/acquire`, all of it optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LockRequest {
    /// How long the lease lives unless it is renewed. The server has a default and limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<f64>, minimum = 5, maximum = 86400))]
    pub ttl_seconds: Option<Seconds>,
    /// How long to stand in the queue when somebody holds the user. 0 unless given: try once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_seconds: Option<Seconds>,
    /// Who asks. The caller's name unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// The CI run or test session that the lease is a part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// A remark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<Note>,
    /// Where to look, usually the CI job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<JobUrl>,
}

/// How to renew a lease: the body of `POST /leases/{id}/renew`, all of it optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Renewal {
    /// How long the lease lives from now on. As long as before unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<f64>, minimum = 5, maximum = 86400))]
    pub ttl_seconds: Option<Seconds>,
}

/// How to end whatever lease holds a user: the body of `POST /users/{id}/release`, all of it optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UserRelease {
    /// In what state the users of the lease are left. `clean` unless given.
    #[cfg_attr(feature = "server", schema(value_type = Option<Outcome>))]
    pub outcome: Outcome,
    /// A remark for the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<Note>,
    /// Only if this lease holds the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_id: Option<LeaseId>,
    /// Only if this is who holds it. The caller's name unless given, or a lease is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// Whoever holds it, where nobody is asked who they are. An admin needs no such thing.
    #[serde(skip_serializing_if = "is_default")]
    #[cfg_attr(feature = "server", schema(value_type = Option<bool>))]
    pub force: bool,
}

impl From<BotRelease> for UserRelease {
    fn from(release: BotRelease) -> Self {
        let BotRelease { ending: Ending { outcome, note }, lease, holder, owner: _ } = release;
        let force = lease.is_none() && holder.is_none();
        Self { outcome, note, lease_id: lease, holder, force }
    }
}

/// Why a lease is taken away: the body of `POST /users/{id}/revoke`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// Why: the holder is told, and it stays in the history.
    pub reason: Note,
    /// Who does it. The caller's name unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Holder>,
}

impl From<Revocation> for RevokeRequest {
    fn from(revocation: Revocation) -> Self {
        let Revocation { reason, by, owner: _ } = revocation;
        Self { reason, by: Some(by) }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_zero(seconds: &Seconds) -> bool {
    seconds.0 == Duration::ZERO
}

//! What is asked of leases.

use std::time::Duration;

use super::{macros::request, value::Seconds};
use botfarm_core::{
    Alias, BotId, BotRelease, Condition, Domain, Ending, Env, Holder, JobUrl, Labels, LeaseId, Login, Note, Outcome,
    ProjectId, Revocation, Run, StickyKey,
};

request! {
    /// Which user is wanted: all that is given must match. An empty selector matches any ready user.
    #[derive(Default, serde::Deserialize)]
    pub struct Selector {
        /// What the user is called within the lease.
        #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
        alias "as": Option<Alias> = optional,
        /// This very user.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<BotId> = optional,
        /// The user with this login, case aside.
        #[serde(skip_serializing_if = "Option::is_none")]
        login: Option<Login> = optional,
        /// A user of this project.
        #[serde(skip_serializing_if = "Option::is_none")]
        project_id: Option<ProjectId> = optional,
        /// A user of this env.
        #[serde(skip_serializing_if = "Option::is_none")]
        env: Option<Env> = optional,
        /// A user of this domain.
        #[serde(skip_serializing_if = "Option::is_none")]
        domain: Option<Domain> = optional,
        /// A user with all of these labels.
        #[serde(default, skip_serializing_if = "Labels::is_empty")]
        #[cfg_attr(feature = "server", schema(value_type = Option<Labels>))]
        labels: Labels = default,
        /// A user in this condition. `ready` unless given.
        #[serde(default, skip_serializing_if = "is_default")]
        #[cfg_attr(feature = "server", schema(value_type = Option<Condition>))]
        condition: Condition = default,
    }
}

impl From<&botfarm_core::Selector> for Selector {
    fn from(selector: &botfarm_core::Selector) -> Self {
        let botfarm_core::Selector { alias, id, login, project, env, domain, labels, condition } = selector.clone();
        Self { alias, id, login, project_id: project, env, domain, labels, condition }
    }
}

impl From<Selector> for botfarm_core::Selector {
    fn from(selector: Selector) -> Self {
        let Selector { alias, id, login, project_id, env, domain, labels, condition } = selector;
        Self { alias, id, login, project: project_id, env, domain, labels, condition }
    }
}

request! {
    /// What to lease, for whom, and for how long: the body of `POST /leases`.
    pub struct LeaseRequest {
        /// One for each user wanted, 1 to 32; granted all together or not at all.
        #[cfg_attr(feature = "server", schema(min_items = 1, max_items = 32))]
        users: Vec<Selector> = list(32, "selectors"),
        /// The id of the lease to come, random and secret. The server makes one unless it is given.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<LeaseId> = optional,
        /// How long the lease lives unless it is renewed. The server has a default and limits.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "server", schema(value_type = Option<f64>, minimum = 5, maximum = 86400))]
        ttl_seconds: Option<Seconds> = optional,
        /// How long to stand in the queue when nothing fits. 0 unless given: try once.
        #[serde(skip_serializing_if = "is_zero")]
        #[cfg_attr(feature = "server", schema(value_type = Option<Seconds>))]
        wait_seconds: Seconds = default,
        /// Who asks. The caller's name unless given.
        #[serde(skip_serializing_if = "Option::is_none")]
        holder: Option<Holder> = optional,
        /// The CI run or test session that the lease is a part of.
        #[serde(skip_serializing_if = "Option::is_none")]
        run: Option<Run> = optional,
        /// A remark.
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<Note> = optional,
        /// Where to look, usually the CI job.
        #[serde(skip_serializing_if = "Option::is_none")]
        url: Option<JobUrl> = optional,
        /// Prefer the users last leased with this key.
        #[serde(skip_serializing_if = "Option::is_none")]
        sticky: Option<StickyKey> = optional,
        /// Users not to take, at most 1,000.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "server", schema(value_type = Option<Vec<BotId>>, max_items = 1000))]
        avoid: Vec<BotId> = default,
    }
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

request! {
    /// How to lock one user: the body of `POST /users/{id}/acquire`, all of it optional.
    #[derive(Default)]
    pub struct LockRequest {
        /// How long the lease lives unless it is renewed. The server has a default and limits.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "server", schema(value_type = Option<f64>, minimum = 5, maximum = 86400))]
        ttl_seconds: Option<Seconds> = optional,
        /// How long to stand in the queue when somebody holds the user. 0 unless given: try once.
        #[serde(skip_serializing_if = "is_zero")]
        #[cfg_attr(feature = "server", schema(value_type = Option<Seconds>))]
        wait_seconds: Seconds = default,
        /// Who asks. The caller's name unless given.
        #[serde(skip_serializing_if = "Option::is_none")]
        holder: Option<Holder> = optional,
        /// The CI run or test session that the lease is a part of.
        #[serde(skip_serializing_if = "Option::is_none")]
        run: Option<Run> = optional,
        /// A remark.
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<Note> = optional,
        /// Where to look, usually the CI job.
        #[serde(skip_serializing_if = "Option::is_none")]
        url: Option<JobUrl> = optional,
    }
}

impl LockRequest {
    /// The request for a lease of this one user that it is.
    #[must_use]
    pub fn of(self, user: BotId) -> LeaseRequest {
        let Self { ttl_seconds, wait_seconds, holder, run, note, url } = self;
        let users = vec![Selector { id: Some(user), ..Selector::default() }];
        LeaseRequest {
            users,
            id: None,
            ttl_seconds,
            wait_seconds,
            holder,
            run,
            note,
            url,
            sticky: None,
            avoid: Vec::new(),
        }
    }
}

request! {
    /// How to renew a lease: the body of `POST /leases/{id}/renew`, all of it optional.
    #[derive(Default)]
    pub struct Renewal {
        /// How long the lease lives from now on. As long as before unless given.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "server", schema(value_type = Option<f64>, minimum = 5, maximum = 86400))]
        ttl_seconds: Option<Seconds> = optional,
    }
}

request! {
    /// How to end whatever lease holds a user: the body of `POST /users/{id}/release`, all of it optional.
    #[derive(Default)]
    pub struct UserRelease {
        /// In what state the users of the lease are left. `clean` unless given.
        #[cfg_attr(feature = "server", schema(value_type = Option<Outcome>))]
        outcome: Outcome = default,
        /// A remark for the history.
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<Note> = optional,
        /// Only if this lease holds the user.
        #[serde(skip_serializing_if = "Option::is_none")]
        lease_id: Option<LeaseId> = optional,
        /// Only if this is who holds it. The caller's name unless given, or a lease is.
        #[serde(skip_serializing_if = "Option::is_none")]
        holder: Option<Holder> = optional,
        /// Whoever holds it, where nobody is asked who they are. An admin needs no such thing.
        #[serde(skip_serializing_if = "is_default")]
        #[cfg_attr(feature = "server", schema(value_type = Option<bool>))]
        force: bool = flag,
    }
}

impl From<BotRelease> for UserRelease {
    fn from(release: BotRelease) -> Self {
        let BotRelease { ending: Ending { outcome, note }, lease, holder, owner: _ } = release;
        let force = lease.is_none() && holder.is_none();
        Self { outcome, note, lease_id: lease, holder, force }
    }
}

request! {
    /// Why a lease is taken away: the body of `POST /users/{id}/revoke`.
    pub struct RevokeRequest {
        /// Why: the holder is told, and it stays in the history.
        reason: Note = required,
        /// Who does it. The caller's name unless given.
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<Holder> = optional,
    }
}

impl From<Revocation> for RevokeRequest {
    fn from(revocation: Revocation) -> Self {
        let Revocation { reason, by, owner: _ } = revocation;
        Self { reason, by: Some(by) }
    }
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_zero(seconds: &Seconds) -> bool {
    seconds.0 == Duration::ZERO
}

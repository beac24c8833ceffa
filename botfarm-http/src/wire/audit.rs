//! What was done, and who did it.

use std::net::IpAddr;

use botfarm_core::{
    Holder, Origin, Owner, RequestId, Subject,
    audit::{Act, AuditEntry, EntryId},
};
use serde::{Deserialize, Serialize};

use super::value::Time;

/// What somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct AuditRow {
    /// Which entry.
    pub id: EntryId,
    /// When it was recorded, by the farm's clock.
    pub at: Time,
    /// Who did it: `operator` or `token` and its id; null for whoever had not proved who they are.
    pub principal: Option<Owner>,
    /// What the principal was called then.
    pub name: Option<Holder>,
    /// The method and the route, without the base path.
    pub action: Subject,
    /// What it was done to: `user`, `operator` or `token` and its id.
    pub object: Option<Subject>,
    /// The address that the request came from.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub address: Option<IpAddr>,
    /// The `X-Request-Id` of the request.
    pub request_id: Option<RequestId>,
    /// `done`, or the code of the refusal; of a write, `internal` and `unavailable` say that it may have been made.
    pub result: Subject,
    /// How many times: refusals of one caller within a minute are one entry, which tells of the first of them.
    pub count: u32,
}

impl From<AuditEntry> for AuditRow {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry { at, act } = entry;
        let Act { id, principal, name, action, object, origin, result, count } = act;
        let Origin { address, request } = origin;
        Self { id, at: Time(at), principal, name, action, object, address, request_id: request, result, count }
    }
}

impl From<AuditRow> for AuditEntry {
    fn from(row: AuditRow) -> Self {
        let AuditRow { id, at, principal, name, action, object, address, request_id, result, count } = row;
        let origin = Origin { address, request: request_id };
        Self { at: at.0, act: Act { id, principal, name, action, object, origin, result, count } }
    }
}

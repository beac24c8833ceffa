//! The audit trail of a service.

use botfarm_core::{
    Page, PageRequest, Result,
    audit::{AuditEntry, AuditFilter},
};
use http::Method;

use super::{HttpFarm, farm::paged, send::Call};
use crate::wire::{AuditRow, Time};

impl HttpFarm {
    /// A page of what was done, newest first. It takes an unconfined admin.
    ///
    /// # Errors
    /// `Unauthenticated` or `Forbidden` for who is no such admin; `Invalid` and `Malformed` for a bad page; `Unavailable`
    /// when the service cannot be reached.
    pub async fn audit(&self, filter: &AuditFilter, page: &PageRequest) -> Result<Page<AuditEntry>> {
        let AuditFilter { principal, action, object, since } = filter;
        let mut query = paged(page);
        let texts = [("principal", principal.as_deref()), ("action", action.as_deref()), ("object", object.as_deref())];
        for (name, text) in texts {
            if let Some(text) = text {
                query.append_pair(name, text);
            }
        }
        if let Some(since) = since {
            query.append_pair("since", &Time(*since).to_string());
        }
        let call = Call::new(Method::GET, format!("/api/v1/audit?{}", query.finish()));
        self.service.send(call).await?.page::<AuditRow, _>()
    }
}

//! The audit trail.

use async_trait::async_trait;
use botfarm_core::{
    Cursor, Page, PageRequest, Result,
    audit::{Act, Audit, AuditEntry, AuditFilter},
};
use chrono::Utc;

use crate::{farm::SqliteFarm, trail};

#[async_trait]
impl Audit for SqliteFarm {
    async fn record(&self, acts: Vec<Act>) -> Result<()> {
        self.between_commits(move |connection| trail::record(connection, &acts, Utc::now().timestamp_micros())).await
    }

    async fn recorded(&self, filter: &AuditFilter, page: &PageRequest) -> Result<Page<AuditEntry>> {
        let limit = page.checked_limit()?;
        let before = page.cursor.as_ref().map(Cursor::entry).transpose()?;
        let filter = filter.clone();
        self.between_commits(move |connection| trail::recorded(connection, &filter, before, limit)).await
    }
}

//! Who did what: a trail that only grows. Those who embed a farm never meet it.
//!
//! Who was given which bot is not in it: that is in the [history](crate::LeaseRecord), which tells the owner, the address
//! and the request of each hand-out.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{SubsecRound as _, Utc};
use uuid::Uuid;

pub use crate::id::EntryId;
use crate::{
    error::Result,
    origin::Origin,
    page::{Cursor, Page, PageRequest},
    text::{Holder, Owner, Subject},
    time::Timestamp,
};

/// What somebody did, to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// Made by whoever keeps it: an act that is recorded again under its id is recorded once.
    pub id: EntryId,
    /// Who did it, if they have proved who they are.
    pub principal: Option<Owner>,
    /// What the principal was called then.
    pub name: Option<Holder>,
    /// What was done, such as `DELETE /users/{id}`.
    pub action: Subject,
    /// What it was done to, such as `user` and its id.
    pub object: Option<Subject>,
    /// Where it came from.
    pub origin: Origin,
    /// `done`, or the code of the refusal.
    pub result: Subject,
    /// How many times within a minute; at least 1.
    pub count: u32,
}

impl Act {
    /// Somebody unknown has done it, once.
    #[must_use]
    pub fn new(action: Subject, result: Subject) -> Self {
        Self {
            id: EntryId(Uuid::now_v7()),
            principal: None,
            name: None,
            action,
            object: None,
            origin: Origin::default(),
            result,
            count: 1,
        }
    }
}

/// An act that was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When it was recorded, by the farm's clock.
    pub at: Timestamp,
    /// What was done, and who did it.
    pub act: Act,
}

/// Which entries to list: whatever is given must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this principal, or of one that was called so.
    pub principal: Option<Holder>,
    /// Of this action.
    pub action: Option<Subject>,
    /// About this object.
    pub object: Option<Subject>,
    /// Recorded at this time, or later.
    pub since: Option<Timestamp>,
}

impl AuditFilter {
    /// Whether a list with this filter holds the entry.
    #[must_use]
    pub fn passes(&self, entry: &AuditEntry) -> bool {
        let AuditEntry { at, act } = entry;
        let is =
            |who: &Holder| act.principal.as_deref() == Some(who.as_str()) || act.name.as_deref() == Some(who.as_str());
        self.principal.as_ref().is_none_or(is)
            && self.action.as_ref().is_none_or(|action| *action == act.action)
            && self.object.as_ref().is_none_or(|object| Some(object) == act.object.as_ref())
            && self.since.is_none_or(|since| *at >= since)
    }
}

/// Keeps what was done, in the same place as the bots: every replica of a service sees the same. Nothing of it is changed,
/// or forgotten before its time.
///
/// # Errors
/// Every method may give `Unavailable` and `Backend`, beside those that it names.
#[async_trait]
pub trait Audit: fmt::Debug + Send + Sync + 'static {
    /// Records acts: all of them, or none. An act that has been recorded stays as it is.
    ///
    /// Cancel safety: a call that is dropped may have recorded them.
    async fn record(&self, acts: Vec<Act>) -> Result<()>;

    /// A page of what was recorded, newest first. With a filter it has looked at [`LOOKED_AT`] entries at most: it may have
    /// fewer than its limit, or none, and a next one all the same.
    ///
    /// # Errors
    /// `Invalid` at `/limit`, and `Malformed` for the cursor of another list.
    async fn recorded(&self, filter: &AuditFilter, page: &PageRequest) -> Result<Page<AuditEntry>>;
}

/// So many entries of the trail are looked at for one page of it, however few pass the filter.
pub const LOOKED_AT: usize = 10_000;

/// How many entries a process remembers that keeps them in memory: the latest.
const REMEMBERED: usize = 50_000;

/// For how long.
const KEPT: Duration = Duration::from_hours(90 * 24);

/// Keeps the latest 50,000 acts of 90 days in this process's memory: for a farm that lives there, too.
#[derive(Debug, Clone, Default)]
pub struct MemoryAudit(Arc<Mutex<VecDeque<AuditEntry>>>);

#[async_trait]
impl Audit for MemoryAudit {
    async fn record(&self, acts: Vec<Act>) -> Result<()> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        record(&mut entries, acts, Utc::now().trunc_subsecs(6));
        Ok(())
    }

    async fn recorded(&self, filter: &AuditFilter, page: &PageRequest) -> Result<Page<AuditEntry>> {
        let limit = page.checked_limit()?;
        let before = page.cursor.as_ref().map(Cursor::entry).transpose()?;
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let older = entries.iter().rev().filter(|entry| before.is_none_or(|before| entry.act.id < before));
        let until = older.clone().nth(LOOKED_AT - 1).map(|entry| entry.act.id);
        let items = older.take(LOOKED_AT).filter(|entry| filter.passes(entry)).take(limit + 1).cloned().collect();
        Ok(page_of(items, limit, until))
    }
}

/// A page of the entries that were found, up to one more than `limit`, when everything down to `until` was looked at:
/// `None` when that is everything.
#[must_use]
pub fn page_of(found: Vec<AuditEntry>, limit: usize, until: Option<EntryId>) -> Page<AuditEntry> {
    let page = Page::of(found, limit, |entry| Cursor::before_entry(entry.act.id));
    Page { next: page.next.or_else(|| until.map(Cursor::before_entry)), ..page }
}

/// Puts acts where their ids belong, mostly at the end, and forgets what is too old or too much.
fn record(entries: &mut VecDeque<AuditEntry>, acts: Vec<Act>, at: Timestamp) {
    for act in acts {
        if let Err(place) = entries.binary_search_by_key(&act.id, |entry| entry.act.id) {
            entries.insert(place, AuditEntry { at, act });
        }
    }
    let old = entries.len().saturating_sub(REMEMBERED);
    entries.drain(..old);
    while entries.pop_front_if(|entry| at - entry.at > chrono::TimeDelta::from_std(KEPT).unwrap_or_default()).is_some()
    {
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act() -> Act {
        Act::new("POST /users".parse().unwrap(), "done".parse().unwrap())
    }

    #[test]
    fn what_is_old_is_forgotten_and_of_what_is_too_much_the_oldest() {
        let (mut entries, now) = (VecDeque::new(), Utc::now());
        record(&mut entries, vec![act()], now - KEPT - Duration::from_secs(1));
        record(&mut entries, vec![act()], now - KEPT);
        record(&mut entries, Vec::new(), now);
        assert_eq!(entries.len(), 1);
        let acts: Vec<_> = (0..REMEMBERED).map(|_| act()).collect();
        let first = acts[0].id;
        record(&mut entries, acts, now);
        assert_eq!((entries.len(), entries[0].act.id), (REMEMBERED, first));
    }
}

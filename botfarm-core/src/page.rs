//! Lists come in pages, each with a cursor to the next.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    condition::BotState,
    condition::Condition,
    error::{Error, Result},
    id::EntryId,
    id::{BotId, Fence},
    labels::Labels,
    location::Field,
    name::{Domain, Env, ProjectId},
    text::Login,
    time::Timestamp,
};

/// Where a page ended. Opaque: take it from one page, and give it to the next call of the same list.
///
/// It names the last item that was seen, so bots that come or go meanwhile cause neither gaps nor repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    /// After this bot, in a list of bots or of leases.
    #[must_use]
    pub fn after_bot(id: BotId) -> Self {
        Self(URL_SAFE_NO_PAD.encode(format!("b{id}")))
    }

    /// Before this hand-out, in a history.
    #[must_use]
    pub fn before_fence(fence: Fence) -> Self {
        Self(URL_SAFE_NO_PAD.encode(format!("f{fence}")))
    }

    /// Before this entry, in an audit trail.
    #[must_use]
    pub fn before_entry(id: EntryId) -> Self {
        Self(URL_SAFE_NO_PAD.encode(format!("a{}", id.0)))
    }

    /// Before this number, in a list that a farm numbers itself.
    #[must_use]
    pub fn before_number(number: u64) -> Self {
        Self(URL_SAFE_NO_PAD.encode(format!("n{number}")))
    }

    /// Before this hand-out, in a list of those that have ended: the one that ended last comes first.
    #[must_use]
    pub fn before_end(at: Timestamp, bot: BotId, fence: Fence) -> Self {
        Self(URL_SAFE_NO_PAD.encode(format!("e{} {bot} {fence}", at.timestamp_micros())))
    }

    /// After this ticket, in the queue.
    #[must_use]
    pub fn after_ticket(ticket: u64) -> Self {
        Self(URL_SAFE_NO_PAD.encode(format!("t{ticket}")))
    }

    /// A cursor that came from outside. It is looked into by the list that it is given to.
    #[must_use]
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text to hand out.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The bot that it stands after.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is not a cursor of such a list.
    pub fn bot(&self) -> Result<BotId> {
        self.decoded('b')?.parse().map_err(|_| Self::bad())
    }

    /// The hand-out that it stands before.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is not a cursor of a history.
    pub fn fence(&self) -> Result<Fence> {
        self.decoded('f')?.parse().map(Fence).map_err(|_| Self::bad())
    }

    /// The number that it stands before.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is not a cursor of such a list.
    pub fn number(&self) -> Result<u64> {
        self.decoded('n')?.parse().map_err(|_| Self::bad())
    }

    /// The hand-out that it stands before: its end, its bot and its fence.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is not a cursor of such a list.
    pub fn end(&self) -> Result<(Timestamp, BotId, Fence)> {
        let text = self.decoded('e')?;
        let mut parts = text.split(' ');
        let mut next = || parts.next().ok_or_else(Self::bad);
        // Nothing has ended before 1970, and a store may know no time before it.
        let micros = next()?.parse().ok().filter(|micros| *micros >= 0);
        let at = micros.and_then(Timestamp::from_timestamp_micros).ok_or_else(Self::bad)?;
        let bot = next()?.parse().map_err(|_| Self::bad())?;
        Ok((at, bot, next()?.parse().map(Fence).map_err(|_| Self::bad())?))
    }

    /// The ticket that it stands after.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is not a cursor of a queue.
    pub fn ticket(&self) -> Result<u64> {
        self.decoded('t')?.parse().map_err(|_| Self::bad())
    }

    /// The entry that it stands before.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is not a cursor of an audit trail.
    pub fn entry(&self) -> Result<EntryId> {
        self.decoded('a')?.parse().map(EntryId).map_err(|_| Self::bad())
    }

    fn decoded(&self, kind: char) -> Result<String> {
        let bytes = URL_SAFE_NO_PAD.decode(&self.0).map_err(|_| Self::bad())?;
        let text = String::from_utf8(bytes).map_err(|_| Self::bad())?;
        text.strip_prefix(kind).map(str::to_owned).ok_or_else(Self::bad)
    }

    fn bad() -> Error {
        Error::Malformed { detail: "the cursor is not one that this list gave out; start again without it".into() }
    }
}

/// Which page is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// At most this many items, 1 to 1,000.
    pub limit: usize,
    /// After the page that gave this cursor; `None` for the first page.
    pub cursor: Option<Cursor>,
}

impl PageRequest {
    /// The greatest page.
    pub const MAX: usize = 1_000;

    /// The first page, of at most `limit` items.
    #[must_use]
    pub fn first(limit: usize) -> Self {
        Self { limit, cursor: None }
    }

    /// The same, after the page that gave this cursor.
    #[must_use]
    pub fn after(self, cursor: Option<Cursor>) -> Self {
        Self { cursor, ..self }
    }

    /// The limit, if it is one.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is not from 1 to 1,000.
    pub fn checked_limit(&self) -> Result<usize> {
        if (1..=Self::MAX).contains(&self.limit) {
            return Ok(self.limit);
        }
        Err(Error::invalid(Field::Limit, format!("must be from 1 to {}", Self::MAX)))
    }
}

/// 100 items, from the start.
impl Default for PageRequest {
    fn default() -> Self {
        Self::first(100)
    }
}

/// Some items of a list, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The cursor of the next page; `None` when this was the last.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// Makes a page out of up to `limit + 1` items: the one too many tells that there is a next page.
    #[must_use]
    pub fn of(mut items: Vec<T>, limit: usize, cursor: impl FnOnce(&T) -> Cursor) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(cursor) } else { None };
        Self { items, next }
    }

    /// The same page of other items.
    #[must_use]
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(f).collect(), next: self.next }
    }
}

/// Which bots to list: whatever is given must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BotFilter {
    /// Of this project.
    pub project: Option<ProjectId>,
    /// Of this env.
    pub env: Option<Env>,
    /// Of this domain.
    pub domain: Option<Domain>,
    /// With this login, case aside.
    pub login: Option<Login>,
    /// In this condition.
    pub condition: Option<Condition>,
    /// In this state.
    pub state: Option<BotState>,
    /// With all of these labels.
    pub labels: Labels,
}

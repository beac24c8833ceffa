//! The trait, and what every farm promises.

use std::{fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    bot::{Bot, BotChanges, ImportReport, NewBot},
    ending::Ending,
    error::Result,
    hand_out::{HandOut, HandOutFilter},
    id::{BotId, LeaseId},
    lease::{ActiveLease, BotRelease, Lease, LeaseRecord, LeaseRequest, Revocation},
    page::{BotFilter, Page, PageRequest},
    queue::QueuedRequest,
    run::{EndedRun, RunEnding},
    stats::Stats,
    text::Run,
};

/// A place that keeps bots and leases them: one test, one account.
///
/// This page is for those who write a farm. Those who use one hold it as `Arc<dyn BotFarm>` or by value, and find the
/// conveniences in [`BotFarmExt`](crate::BotFarmExt).
///
/// # Contract
///
/// 1. **Exclusive.** Between acquire and the lease's end (release, expiry, revocation) nobody else gets the bot. Never
///    two holders, under any crash, retry, cancellation, partition, restart or clock skew of clients.
/// 2. **No lease is forever.** Every lease has a TTL. Expiry is judged by the farm's own clock inside the operation
///    that acquires; no reaper is needed for safety. A lease is over at `expires_at`, whether or not anybody wants its
///    bots: a late renewal is refused.
/// 3. **Atomic.** A lease of several bots is granted whole or not at all, and cannot deadlock with another. A farm finds
///    an assignment of distinct free bots to the selectors whenever there is one.
/// 4. **Idempotent.** The caller chooses the lease id. Acquiring again with the same id returns the same lease while it
///    lives, also to a twin that is still under way; so a retry after a lost answer never takes a second bot. Once the
///    lease has ended, its id is refused with `LeaseLost`. A farm may forget ended leases, but not within a day or
///    before a hundred thousand others have ended, whichever comes first.
/// 5. **Fenced.** Renewing or releasing with a lease id that has ended changes nothing and says why
///    (`LeaseLost {reason}`); only the release of a released lease succeeds again. Each hand-out of a bot carries a
///    strictly larger fence.
/// 6. **Fair.** Waiters are served first come first served among those that the freed bot fits. A request for many
///    that must wait keeps what is free for it out of the hands of those who came later, so it is not starved by a
///    stream of requests for one. Nobody who asks passes a waiter who wants the same bot. A waiter who has gone blocks
///    nobody; its place is kept for [`LeasePolicy::place_kept`](crate::LeasePolicy), for when it asks again under the
///    same lease id.
/// 7. **Fail fast.** A request that no bots could ever satisfy is refused at once with `NoMatch`, not waited for. What
///    may change by itself does not count: neither the condition of a bot, nor who holds it.
/// 8. **Cancel-safe.** Dropping the future of any call leaves the farm consistent. An acquire whose future was dropped
///    is undone if nobody received the lease; at worst one TTL of one lease is lost, and it can be had by its id.
///    Every other call is done whole or not at all.
/// 9. **Usable, and secret.** The holder gets the real password. It is encrypted at rest, never listed, never logged,
///    never in an error, redacted in `Debug`, wiped from memory when dropped.
///
/// **Cloning.** A clone of a farm, and an `Arc` of it, is another handle to the same farm, not a copy of it.
///
/// **Any runtime.** A call may come from any tokio runtime, and from several, also when the runtime that the farm was
/// made on is blocked or gone. Farms that do I/O run it on [`background`](crate::background::handle) for that.
///
/// **Order.** Of the free bots that fit, the one that became free first is granted: the least recently used. Bots are
/// listed oldest first, histories newest first. An update, a deletion or an import that frees or adds bots serves the
/// waiters as a release does.
///
/// **Bots at rest.** After a clean release a bot is ready, and free at once or after
/// [`LeasePolicy::reuse_delay`](crate::LeasePolicy). After a dirty or broken one it is free in that condition. After
/// expiry or revocation its condition stays, and it rests for [`LeasePolicy::cooling`](crate::LeasePolicy) before
/// anybody gets it.
///
/// **Sticky** is a preference, **avoid** is not: bots to avoid do not match.
///
/// **Errors.** Every method may give `Unavailable` and `Backend`. Which others, each method says. A refused call has
/// changed nothing.
///
/// # Writing a farm
///
/// Implement every method; there are no default bodies, since a default is a trap for who forgets it. Then prove it
/// with the `conformance` feature: one macro line makes one named test for each claim of this page.
#[async_trait]
pub trait BotFarm: Debug + Send + Sync + 'static {
    /// Keeps a new bot, free and ready.
    ///
    /// # Errors
    /// `LoginTaken` when the env has a bot of this login, case aside.
    async fn create(&self, bot: NewBot) -> Result<Bot>;

    /// Keeps many bots, all or nothing: those whose env and login the farm has are updated, the others are created.
    /// With `dry_run` it reports what it would do, and does nothing.
    ///
    /// # Errors
    /// `Invalid`, with the row of each fault, when two rows name the same account, or when a row
    /// would change the project or domain of a bot that is held.
    async fn import(&self, bots: Vec<NewBot>, dry_run: bool) -> Result<ImportReport>;

    /// Looks at one bot.
    ///
    /// # Errors
    /// `NoSuchBot`.
    async fn get(&self, id: BotId) -> Result<Bot>;

    /// Lists bots, oldest first. Every bot that exists throughout is listed exactly once.
    ///
    /// # Errors
    /// `Malformed` for a bad cursor, `Invalid` for a bad limit.
    async fn list(&self, filter: &BotFilter, page: &PageRequest) -> Result<Page<Bot>>;

    /// Changes a bot.
    ///
    /// # Errors
    /// `NoSuchBot`; `InUse` when the changes need a free bot and somebody holds it.
    async fn update(&self, id: BotId, changes: BotChanges) -> Result<Bot>;

    /// Forgets a bot, and its history with it.
    ///
    /// # Errors
    /// `NoSuchBot`; `InUse` when somebody holds it.
    async fn delete(&self, id: BotId) -> Result<()>;

    /// Leases bots. Waits in the queue for at most [`LeaseRequest::wait`]; zero: tries once.
    ///
    /// Cancel safety: who drops the future leaves the queue, and a grant that nobody received is undone.
    ///
    /// # Errors
    /// `Invalid` names every fault of the request. `NoMatch` when no bots could ever satisfy it. `Exhausted` when none
    /// became free in time, or `Busy` when the request has a single selector that names a single bot by id or login.
    /// `LeaseLost` when the lease of this id has ended. `KeyReused` when the id stands for a request of another
    /// fingerprint.
    async fn acquire(&self, request: LeaseRequest) -> Result<Lease>;

    /// Looks at a lease in force.
    ///
    /// # Errors
    /// `NoSuchLease`, `LeaseLost`.
    async fn lookup(&self, id: LeaseId) -> Result<Lease>;

    /// Makes a lease in force live for `ttl` from now on, or for the TTL that it has.
    ///
    /// # Errors
    /// `NoSuchLease`, `LeaseLost`; `Invalid` for a TTL outside the farm's limits.
    async fn renew(&self, id: LeaseId, ttl: Option<Duration>) -> Result<Lease>;

    /// Gives all bots of a lease back. Doing so again succeeds, and changes nothing.
    ///
    /// # Errors
    /// `NoSuchLease`; `LeaseLost` when it expired or was revoked.
    async fn release(&self, id: LeaseId, ending: Ending) -> Result<()>;

    /// Ends whatever lease holds the bot, all of it, as its holder would. Succeeds when nobody holds the bot, unless
    /// a lease is named.
    ///
    /// # Errors
    /// `NoSuchBot`; `LeaseLost` when a lease is named that does not hold the bot (`released` when it never did);
    /// `NotHolder` when an owner is named whose lease it is not; `Busy` when a holder is named, and it is another's.
    async fn release_bot(&self, bot: BotId, release: BotRelease) -> Result<()>;

    /// Takes the bot away from whoever holds it: the whole lease ends, and its bots rest. Succeeds when nobody does, or
    /// only somebody whom the revocation does not mean.
    ///
    /// # Errors
    /// `NoSuchBot`.
    async fn revoke(&self, bot: BotId, revocation: Revocation) -> Result<()>;

    /// Ends the leases of a run, and sends away who waits as a part of it: its holders and waiters are told `LeaseLost`
    /// with the reason `taken`, who did it and the remark. Who was sent away and asks again under the same lease id is told
    /// so for as long as a place is [kept](crate::LeasePolicy::place_kept). Another request of the run is one like any
    /// other, also one that comes meanwhile.
    ///
    /// What is to be ended is what the run has at the start of the call. It may end in steps: whoever drops the future, or
    /// asks again after a lost answer, finds some of it ended; asking again ends the rest, and counts that alone.
    async fn end_run(&self, run: &Run, ending: RunEnding) -> Result<EndedRun>;

    /// Lists the leases in force of a run, whosever they are, ordered by the least id among their bots.
    ///
    /// # Errors
    /// `Malformed` for a bad cursor, `Invalid` for a bad limit.
    async fn leases_of_run(&self, run: &Run, page: &PageRequest) -> Result<Page<ActiveLease>>;

    /// Lists the leases in force, ordered by the least id among their bots.
    ///
    /// # Errors
    /// `Malformed` for a bad cursor, `Invalid` for a bad limit.
    async fn leases(&self, page: &PageRequest) -> Result<Page<ActiveLease>>;

    /// Lists the hand-outs of a bot, past and present, newest first. A farm may forget old ones, but none of the
    /// latest hundred.
    ///
    /// # Errors
    /// `NoSuchBot`; `Malformed` for a bad cursor, `Invalid` for a bad limit.
    async fn history(&self, bot: BotId, page: &PageRequest) -> Result<Page<LeaseRecord>>;

    /// Lists the hand-outs that have ended, of all bots that there are, those that ended last first. Those in force are
    /// [elsewhere](Self::leases). A page has been looked for among [`LOOKED_AT`](crate::LOOKED_AT) hand-outs at most: it
    /// may have fewer items than its limit, or none, and a next one all the same.
    ///
    /// # Errors
    /// `Malformed` for a bad cursor, `Invalid` for a bad limit.
    async fn hand_outs(&self, filter: &HandOutFilter, page: &PageRequest) -> Result<Page<HandOut>>;

    /// Lists the requests that stand in the queue, in its order.
    ///
    /// # Errors
    /// `Malformed` for a bad cursor, `Invalid` for a bad limit.
    async fn queue(&self, page: &PageRequest) -> Result<Page<QueuedRequest>>;

    /// Counts the bots and the queue.
    async fn stats(&self) -> Result<Stats>;

    /// Succeeds when the farm can serve: its store answers.
    async fn check(&self) -> Result<()>;
}

crate::delegate!([F: BotFarm + ?Sized] BotFarm for Arc<F>, farm => **farm);
crate::delegate!([F: BotFarm + ?Sized] BotFarm for Box<F>, farm => **farm);

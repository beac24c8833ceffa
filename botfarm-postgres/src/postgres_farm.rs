//! The farm: the trait, each call in a task of its own.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use botfarm_core::{
    ActiveLease, Bot, BotChanges, BotFarm, BotFilter, BotId, BotRelease, EndedRun, Ending, Error as FarmError, HandOut,
    HandOutFilter, ImportReport, Keyring, Lease, LeaseId, LeaseRecord, LeaseRequest, NewBot, Page, PageRequest,
    QueuedRequest, Result, Revocation, Run, RunEnding, Stats, background,
};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::connection::repeat;
use crate::{
    calls::Calls, connection::Database, error, error::at_start, farm::Farm, hints::Hints, keys, listener,
    options::PostgresOptions, prune, queue, schema, seals::Seals,
};

/// A farm on PostgreSQL 14 or later, shared by any number of processes.
///
/// A clone is another handle to the same farm. All I/O happens on botfarm's own runtime (or the one of the options), each
/// call in a task that runs to its end whatever becomes of the caller: a statement that was sent is never left half done.
#[derive(Clone)]
pub struct PostgresFarm(Arc<Farm>);

impl PostgresFarm {
    /// Opens the farm in a database, with the key that its passwords are sealed with.
    ///
    /// Brings the schema up to date first, unless the options say otherwise. An empty database becomes an empty farm
    /// under this key.
    ///
    /// # Errors
    /// `Unavailable` when no host can be reached that takes writes; `Malformed` when the server does not let this user
    /// in, or has no such database; `Forbidden` when the key is not that of the farm; `Invalid` when the schema is not up to date and is not to be brought there.
    pub async fn connect(options: PostgresOptions, keyring: Keyring) -> Result<Self> {
        let runtime = options.runtime.clone().unwrap_or_else(background::handle);
        let hosts = options.hosts.clone();
        let task = runtime.clone().spawn(async move {
            if options.migrate {
                schema::migrate(&options).await?;
            }
            let database = Database::connect(&options).await?;
            schema::check(&database).await?;
            let pepper = keys::check(&database, &keyring).await?;
            let farm = Arc::new_cyclic(|this| Farm {
                database,
                seals: Seals::new(keyring),
                pepper,
                policy: options.policy,
                takeover_grace: options.takeover_grace,
                keep_history: options.keep_history,
                calls: Calls::default(),
                hints: Hints::default(),
                runtime,
                process: Uuid::new_v4(),
                this: this.clone(),
            });
            // Notices the life of the server, too.
            farm.look().await?;
            queue::start(&farm);
            farm.runtime.spawn(listener::run(Arc::downgrade(&farm), options.listen));
            farm.runtime.spawn(prune::run(Arc::downgrade(&farm)));
            Ok::<_, error::Error>(Self(farm))
        });
        joined(task.await)?.map_err(|error| at_start(error, &hosts))
    }

    /// Brings the schema of the database up to date, as [`connect`](Self::connect) does; waits for whoever is at it
    /// already. Needs no key. Returns how many migrations the database lacked.
    ///
    /// # Errors
    /// `Unavailable` when no host can be reached that takes writes.
    pub async fn migrate(options: PostgresOptions) -> Result<usize> {
        let runtime = options.runtime.clone().unwrap_or_else(background::handle);
        let hosts = options.hosts.clone();
        let migrated = joined(runtime.spawn(async move { schema::migrate(&options).await }).await)?;
        migrated.map_err(|error| at_start(error, &hosts))
    }

    /// Seals every password anew that is sealed under an old key, while the farm is in use. Returns how many.
    ///
    /// # Errors
    /// `Forbidden` when there are passwords that cannot be read: sealed under a key that the keyring does not have, or
    /// changed by something else than the farm. It names up to 20 of their bots; all others are sealed anew by then.
    pub async fn rekey(&self) -> Result<u64> {
        self.run(async |farm| keys::rekey(&farm).await).await
    }

    /// Removes the history that is older than the farm keeps it, except the last hundred hand-outs of each bot; entries of
    /// the audit trail that are as old; and what the queue has left behind. A farm in use does this by itself; a call does
    /// it at once, a little at a time. Returns how many rows it removed.
    ///
    /// Cancel safety: what was removed stays removed, and the rest is removed next time.
    ///
    /// # Errors
    /// `Unavailable` when the database cannot be reached.
    pub async fn prune(&self) -> Result<u64> {
        self.run(async |farm| farm.prune().await).await
    }

    /// Runs a call to its end in a task of its own.
    pub(crate) async fn run<T, F>(&self, call: impl FnOnce(Arc<Farm>) -> F) -> Result<T>
    where
        F: Future<Output = error::Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let task = self.0.runtime.spawn(call(self.0.clone()));
        Ok(joined(task.await)??)
    }

    /// What a lease is called in the database, which does not have its id: for those who look into it.
    #[must_use]
    pub fn kept_as(&self, lease: LeaseId) -> Uuid {
        self.inner(lease).as_uuid()
    }

    /// What a lease is called within the farm, and in its database.
    pub(crate) fn inner(&self, id: LeaseId) -> LeaseId {
        self.0.pepper.lease(id)
    }
}

/// The lease as its holder knows it.
fn outer(id: LeaseId) -> impl FnOnce(Lease) -> Lease {
    move |lease| Lease { id, ..lease }
}

/// What came of an acquire, on its way to the caller. When nobody takes it out, the lease is undone.
pub(crate) struct Undelivered {
    id: LeaseId,
    call: Uuid,
    acquired: Option<error::Result<Lease>>,
    farm: Arc<Farm>,
}

impl Undelivered {
    fn take(mut self) -> error::Result<Lease> {
        self.acquired.take().unwrap_or(Err(error::Error::Unanswered))
    }
}

impl Drop for Undelivered {
    fn drop(&mut self) {
        if !matches!(self.acquired, Some(Ok(_))) {
            return;
        }
        let (farm, id, call) = (self.farm.clone(), self.id, self.call);
        self.farm.runtime.spawn(async move {
            if let Err(error) = farm.leave(id, call).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "a lease that nobody received could not be undone; its TTL will end it");
            }
        });
    }
}

/// What a task gave. One that panicked, or whose runtime has gone, failed.
fn joined<T>(task: Result<T, tokio::task::JoinError>) -> Result<T> {
    task.map_err(FarmError::backend)
}

#[async_trait]
impl BotFarm for PostgresFarm {
    async fn create(&self, bot: NewBot) -> Result<Bot> {
        self.run(async move |farm| farm.create(&bot).await).await
    }

    async fn import(&self, bots: Vec<NewBot>, dry_run: bool) -> Result<ImportReport> {
        self.run(async move |farm| farm.import(&bots, dry_run).await).await
    }

    async fn get(&self, id: BotId) -> Result<Bot> {
        self.run(async move |farm| farm.get(id).await).await
    }

    async fn list(&self, filter: &BotFilter, page: &PageRequest) -> Result<Page<Bot>> {
        let (filter, page) = (filter.clone(), page.clone());
        self.run(async move |farm| farm.list(&filter, &page).await).await
    }

    async fn update(&self, id: BotId, changes: BotChanges) -> Result<Bot> {
        self.run(async move |farm| farm.update(id, &changes).await).await
    }

    async fn delete(&self, id: BotId) -> Result<()> {
        self.run(async move |farm| farm.delete(id).await).await
    }

    async fn acquire(&self, request: LeaseRequest) -> Result<Lease> {
        let (mut answer, answered) = oneshot::channel();
        let (farm, id) = (self.0.clone(), request.id);
        let request = LeaseRequest { id: self.inner(id), ..request };
        self.0.runtime.spawn(async move {
            let call = Uuid::new_v4();
            let acquired = farm.acquire(&request, call, &mut answer).await;
            // Whether it is refused or dropped unread: what nobody takes out is undone.
            let _ = answer.send(Undelivered { id: request.id, call, acquired: Some(acquired), farm: farm.clone() });
        });
        match answered.await {
            Ok(answer) => Ok(answer.take().map(outer(id))?),
            Err(gone) => Err(FarmError::backend(gone)),
        }
    }

    async fn lookup(&self, id: LeaseId) -> Result<Lease> {
        let inner = self.inner(id);
        self.run(async move |farm| farm.lookup(inner).await).await.map(outer(id))
    }

    async fn renew(&self, id: LeaseId, ttl: Option<Duration>) -> Result<Lease> {
        let inner = self.inner(id);
        self.run(async move |farm| farm.renew(inner, ttl).await).await.map(outer(id))
    }

    async fn release(&self, id: LeaseId, ending: Ending) -> Result<()> {
        let inner = self.inner(id);
        self.run(async move |farm| farm.release(inner, &ending).await).await
    }

    async fn release_bot(&self, bot: BotId, release: BotRelease) -> Result<()> {
        let lease = release.lease.map(|id| self.inner(id));
        let release = BotRelease { lease, ..release };
        self.run(async move |farm| farm.release_bot(bot, &release).await).await
    }

    async fn revoke(&self, bot: BotId, revocation: Revocation) -> Result<()> {
        self.run(async move |farm| farm.revoke(bot, &revocation).await).await
    }

    async fn end_run(&self, run: &Run, ending: RunEnding) -> Result<EndedRun> {
        let run = run.clone();
        self.run(async move |farm| farm.end_run(&run, &ending).await).await
    }

    async fn leases_of_run(&self, run: &Run, page: &PageRequest) -> Result<Page<ActiveLease>> {
        let (run, page) = (run.clone(), page.clone());
        self.run(async move |farm| farm.leases(Some(&run), &page).await).await
    }

    async fn leases(&self, page: &PageRequest) -> Result<Page<ActiveLease>> {
        let page = page.clone();
        self.run(async move |farm| farm.leases(None, &page).await).await
    }

    async fn history(&self, bot: BotId, page: &PageRequest) -> Result<Page<LeaseRecord>> {
        let page = page.clone();
        self.run(async move |farm| farm.history(bot, &page).await).await
    }

    async fn hand_outs(&self, filter: &HandOutFilter, page: &PageRequest) -> Result<Page<HandOut>> {
        let (filter, page) = (filter.clone(), page.clone());
        self.run(async move |farm| farm.hand_outs(&filter, &page).await).await
    }

    async fn queue(&self, page: &PageRequest) -> Result<Page<QueuedRequest>> {
        let page = page.clone();
        self.run(async move |farm| farm.queue(&page).await).await
    }

    async fn stats(&self) -> Result<Stats> {
        self.run(async |farm| farm.stats().await).await
    }

    async fn check(&self) -> Result<()> {
        self.run(async |farm: Arc<Farm>| {
            repeat!(farm.database, |connection| {
                // One that takes writes: a farm that can only be looked at does not serve.
                let standby = sqlx::query_scalar!(r#"select pg_is_in_recovery() as "standby!""#)
                    .fetch_one(&mut *connection)
                    .await?;
                if standby {
                    let detail = "the database is a standby, which takes no writes".to_owned();
                    return Err(error::Error::Unreachable { detail, source: None });
                }
                Ok(())
            })
        })
        .await
    }
}

impl fmt::Debug for PostgresFarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Farm { policy, process, .. } = &*self.0;
        f.debug_struct("PostgresFarm").field("policy", policy).field("process", process).finish_non_exhaustive()
    }
}

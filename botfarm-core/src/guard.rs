//! A lease that keeps itself alive and gives itself back.

use std::{
    ops::Deref,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    background,
    boot_time::BootTime,
    ending::Ending,
    error::{Error, LostLease, Result},
    farm::BotFarm,
    heartbeat::{Beat, Heartbeat},
    lease::{Lease, LeaseRequest},
};

/// The TTL that a guard asks for when its request names none. The guard renews it, so it is only the time that the
/// bots stay locked after the process was killed.
const TTL: Duration = Duration::from_mins(1);

/// How long `Drop` waits for the release before it leaves it to the background, or at worst to the TTL.
const DROP_PATIENCE: Duration = Duration::from_secs(1);

/// How long it waits while an earlier release is still under way: a hundred guards of a farm that is gone must not wait
/// a second each, and those of another farm need but a moment.
const SHORT_PATIENCE: Duration = Duration::from_millis(50);

/// A lease that is renewed in the background for as long as the guard lives, and given back at its end.
///
/// Three nets catch the bots, in this order:
/// 1. [`release`](Self::release), the only place where an error is seen.
/// 2. `Drop`: best effort. It waits for at most a second, works on every runtime and on none, also while unwinding,
///    and never panics. It releases as clean, unless [`ending`](Self::set_ending) says otherwise.
/// 3. The TTL, once the process has ended without them: by `process::exit`, `abort` or SIGKILL, or with a guard that was
///    forgotten or stands in a `static`.
///
/// Renewals happen at a third of the TTL, on a thread of botfarm's own: a test that blocks its runtime keeps its lease.
/// They count real time, even where tokio's clock is paused.
///
/// `let _ = farm.lease(…)` drops the guard at once; write `let _lease = …`.
#[must_use = "the bots are given back when the guard is dropped"]
#[derive(Debug)]
pub struct LeaseGuard {
    farm: Arc<dyn BotFarm>,
    lease: Lease,
    lost: watch::Receiver<Option<Arc<LostLease>>>,
    keeping: JoinHandle<()>,
    ending: Ending,
    armed: bool,
}

impl LeaseGuard {
    /// Leases bots, and keeps the lease alive. [`BotFarmExt::lease`](crate::BotFarmExt::lease) is the usual way here.
    ///
    /// # Errors
    /// Those of [`BotFarm::acquire`].
    pub async fn acquire(farm: Arc<dyn BotFarm>, request: LeaseRequest) -> Result<Self> {
        let asked = BootTime::now();
        let request = LeaseRequest { ttl: Some(request.ttl.unwrap_or(TTL)), ..request };
        let lease = farm.acquire(request).await?;
        let (tell, lost) = watch::channel(None);
        let keeping = keep(farm.clone(), Heartbeat::of(&lease, asked), tell);
        let keeping = background::handle().spawn(keeping);
        Ok(Self { farm, lease, lost, keeping, ending: Ending::clean(), armed: true })
    }

    /// The lease as it was granted.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// How `Drop` ends the lease: as clean, unless this is called.
    pub fn set_ending(&mut self, ending: Ending) {
        self.ending = ending;
    }

    /// Resolves when the lease is lost, with the error that says why; never as long as it lives.
    ///
    /// Cancel safety: may be dropped and called again.
    pub async fn lost(&self) -> Error {
        let mut lost = self.lost.clone();
        loop {
            if let Some(lost) = lost.borrow_and_update().as_deref() {
                return Error::LeaseLost(Box::new(lost.clone()));
            }
            if lost.changed().await.is_err() {
                // The lease was released: it cannot be lost any more.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Gives the bots back as clean.
    ///
    /// Cancel safety: when the future is dropped, `Drop` takes over.
    ///
    /// # Errors
    /// `LeaseLost` when the lease was lost meanwhile: what the test saw may be somebody else's doing. `Unavailable`
    /// when the farm cannot be reached; `Drop` then tries once more.
    pub async fn release(self) -> Result<()> {
        self.release_as(Ending::clean()).await
    }

    /// Gives the bots back in the state that `ending` says.
    ///
    /// # Errors
    /// Those of [`release`](Self::release).
    pub async fn release_as(mut self, ending: Ending) -> Result<()> {
        self.ending = ending.clone();
        let lost = self.lost.borrow().clone();
        if let Some(lost) = lost {
            self.armed = false;
            return Err(Error::LeaseLost(Box::new(LostLease::clone(&lost))));
        }
        // A renewal that comes upon the released lease would take it for lost.
        self.keeping.abort();
        let done = self.farm.release(self.lease.id, ending).await;
        self.armed = !matches!(done, Ok(()) | Err(Error::LeaseLost(_) | Error::NoSuchLease));
        done
    }
}

impl Deref for LeaseGuard {
    type Target = Lease;

    fn deref(&self) -> &Lease {
        &self.lease
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        /// The latest release that was not waited for to its end.
        static LATE: Mutex<Option<JoinHandle<()>>> = Mutex::new(None);

        self.keeping.abort();
        if !self.armed || self.lost.borrow().is_some() {
            return;
        }
        let (farm, id, ending) = (self.farm.clone(), self.lease.id, self.ending.clone());
        let (done, released) = mpsc::sync_channel(1);
        let release = background::handle().spawn(async move {
            if let Err(error) = farm.release(id, ending).await {
                tracing::warn!(%error, "a dropped lease could not be released; its TTL will end it");
            }
            let _ = done.send(());
        });
        let late = || LATE.lock().unwrap_or_else(PoisonError::into_inner);
        let others_wait = late().as_ref().is_some_and(|release| !release.is_finished());
        let patience = if others_wait { SHORT_PATIENCE } else { DROP_PATIENCE };
        if released.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            *late() = Some(release);
            tracing::warn!("the release of a dropped lease takes long, and goes on in the background");
        }
    }
}

/// Runs `body` under `guard`: see [`BotFarmExt::with_lease`](crate::BotFarmExt::with_lease).
pub(crate) async fn with_lease<T, E, B, F>(guard: LeaseGuard, body: B) -> Result<T, E>
where
    B: FnOnce(Lease) -> F,
    F: Future<Output = Result<T, E>>,
    E: From<Error>,
{
    let lease = guard.lease().clone();
    let ended = tokio::select! {
        // The body first: one that has just finished is not failed for a lease that was lost thereafter.
        biased;
        ended = AssertUnwindSafe(async { body(lease).await }).catch_unwind() => ended,
        lost = guard.lost() => return Err(lost.into()),
    };
    let released = guard.release().await;
    match ended {
        Ok(Ok(value)) => released.map(|()| value).map_err(E::from),
        Ok(Err(error)) => Err(error),
        Err(panic) => resume_unwind(panic),
    }
}

/// Renews one lease until it is told to stop, or has lost it.
async fn keep(farm: Arc<dyn BotFarm>, heartbeat: Heartbeat, tell: watch::Sender<Option<Arc<LostLease>>>) {
    let said = |beat| {
        if let Beat::Failed { trouble, .. } = beat {
            tracing::warn!(error = trouble, "a lease could not be renewed; trying again until it ends");
        }
    };
    let lost = heartbeat.keep(&*farm, |_| Duration::ZERO, said).await.lost_lease();
    tracing::error!(lease = %lost, "a lease was lost while it was in use");
    tell.send_replace(Some(Arc::new(lost)));
}

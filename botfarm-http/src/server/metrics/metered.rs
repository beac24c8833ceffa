//! A farm whose leases and failures are counted.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use botfarm_core::{
    ActiveLease, Bot, BotChanges, BotFarm, BotFilter, BotId, BotRelease, EndReason, EndedRun, Ending, Error, HandOut,
    HandOutFilter, ImportReport, Lease, LeaseId, LeaseRecord, LeaseRequest, NewBot, Owner, Page, PageRequest,
    QueuedRequest, Result, Revocation, Run, RunEnding, Stats,
};
use tokio::time::{Instant, timeout};

use crate::server::{
    health::PATIENCE,
    metrics::{counters::Metrics, ledger::Ledger},
};

/// How many leases one look at the metrics asks the farm about. What is left over is asked at the next.
const ASKED: usize = 500;

/// The same farm, with its leases and failures counted.
#[derive(Debug)]
pub(crate) struct Metered {
    farm: Arc<dyn BotFarm>,
    metrics: Arc<Metrics>,
    ledger: Ledger,
}

impl Metered {
    pub(crate) fn new(farm: Arc<dyn BotFarm>, metrics: Arc<Metrics>) -> Self {
        Self { farm, metrics, ledger: Ledger::default() }
    }

    /// Asks the farm about the leases that were granted here and may have ended elsewhere, or by themselves.
    pub(crate) async fn settle(&self) {
        let ask = async {
            for id in self.ledger.due(ASKED) {
                // What its answer means for the ledger, `lookup` knows.
                match self.lookup(id).await {
                    Err(Error::NoSuchLease) => self.ledger.forget(id),
                    Err(Error::Unavailable { .. } | Error::Backend { .. }) => return,
                    _ => {}
                }
            }
        };
        // Those that were not asked about in time are due next time, too.
        let _ = timeout(PATIENCE, ask).await;
    }

    /// How many leases of this owner are in force, of those granted here, beside the one of this id. Exact once they are
    /// `most`.
    pub(crate) fn in_force(&self, owner: Option<&Owner>, id: LeaseId, most: usize) -> usize {
        self.ledger.in_force(owner, id, most)
    }

    /// Whether the lease was granted here, to this owner; where nobody is asked who they are, to anybody.
    pub(crate) fn is_owned(&self, id: LeaseId, owner: Option<&Owner>) -> bool {
        self.ledger.is_owned(id, owner)
    }

    fn seen<T>(&self, answer: Result<T>) -> Result<T> {
        if let Err(Error::Unavailable { .. } | Error::Backend { .. }) = answer {
            self.metrics.store_failed();
        }
        answer
    }

    /// Looks at an answer about one lease.
    fn seen_of<T>(&self, id: LeaseId, answer: Result<T>) -> Result<T> {
        if let Err(Error::LeaseLost(lost)) = &answer {
            self.ended(lost.reason, self.ledger.lost(id, lost));
        }
        self.seen(answer)
    }

    fn ended(&self, reason: EndReason, hold: Option<Duration>) {
        if let Some(hold) = hold {
            self.metrics.ended(reason, hold);
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl BotFarm for Metered {
    async fn create(&self, bot: NewBot) -> Result<Bot> {
        self.seen(self.farm.create(bot).await)
    }

    async fn import(&self, bots: Vec<NewBot>, dry_run: bool) -> Result<ImportReport> {
        self.seen(self.farm.import(bots, dry_run).await)
    }

    async fn get(&self, id: BotId) -> Result<Bot> {
        self.seen(self.farm.get(id).await)
    }

    async fn list(&self, filter: &BotFilter, page: &PageRequest) -> Result<Page<Bot>> {
        self.seen(self.farm.list(filter, page).await)
    }

    async fn update(&self, id: BotId, changes: BotChanges) -> Result<Bot> {
        self.seen(self.farm.update(id, changes).await)
    }

    async fn delete(&self, id: BotId) -> Result<()> {
        self.seen(self.farm.delete(id).await)
    }

    async fn acquire(&self, request: LeaseRequest) -> Result<Lease> {
        let (id, owner, asked) = (request.id, request.terms.owner.clone(), Instant::now());
        let answer = self.seen_of(id, self.farm.acquire(request).await);
        match &answer {
            Ok(lease) if self.ledger.granted(lease, owner) => self.metrics.granted(asked.elapsed()),
            Err(Error::Exhausted(_) | Error::Busy(_)) => self.metrics.exhausted(),
            _ => {}
        }
        answer
    }

    async fn lookup(&self, id: LeaseId) -> Result<Lease> {
        let answer = self.seen_of(id, self.farm.lookup(id).await);
        answer.inspect(|lease| self.ledger.lives(id, lease.remaining))
    }

    async fn renew(&self, id: LeaseId, ttl: Option<Duration>) -> Result<Lease> {
        let answer = self.seen_of(id, self.farm.renew(id, ttl).await);
        answer.inspect(|lease| self.ledger.lives(id, lease.remaining))
    }

    async fn release(&self, id: LeaseId, ending: Ending) -> Result<()> {
        let answer = self.seen_of(id, self.farm.release(id, ending).await);
        answer.inspect(|()| self.ended(EndReason::Released, self.ledger.released(id)))
    }

    async fn release_bot(&self, bot: BotId, release: BotRelease) -> Result<()> {
        let answer = self.seen(self.farm.release_bot(bot, release).await);
        answer.inspect(|()| self.ledger.freed(bot))
    }

    async fn revoke(&self, bot: BotId, revocation: Revocation) -> Result<()> {
        let answer = self.seen(self.farm.revoke(bot, revocation).await);
        answer.inspect(|()| self.ledger.freed(bot))
    }

    async fn end_run(&self, run: &Run, ending: RunEnding) -> Result<EndedRun> {
        let answer = self.seen(self.farm.end_run(run, ending).await);
        answer.inspect(|_| self.ledger.run_ended(run))
    }

    async fn leases_of_run(&self, run: &Run, page: &PageRequest) -> Result<Page<ActiveLease>> {
        self.seen(self.farm.leases_of_run(run, page).await)
    }

    async fn leases(&self, page: &PageRequest) -> Result<Page<ActiveLease>> {
        self.seen(self.farm.leases(page).await)
    }

    async fn history(&self, bot: BotId, page: &PageRequest) -> Result<Page<LeaseRecord>> {
        self.seen(self.farm.history(bot, page).await)
    }

    async fn hand_outs(&self, filter: &HandOutFilter, page: &PageRequest) -> Result<Page<HandOut>> {
        self.seen(self.farm.hand_outs(filter, page).await)
    }

    async fn queue(&self, page: &PageRequest) -> Result<Page<QueuedRequest>> {
        self.seen(self.farm.queue(page).await)
    }

    async fn stats(&self) -> Result<Stats> {
        self.seen(self.farm.stats().await)
    }

    async fn check(&self) -> Result<()> {
        self.seen(self.farm.check().await)
    }
}

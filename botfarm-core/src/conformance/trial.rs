//! The ground that one claim is tried on: a project of its own on the farm under test.

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::OnceCell;

use super::{
    Fixture,
    answers::{refused, shortage},
    waiter::{LONG, Waiter, until},
};
use crate::{
    Bot, BotFarm, BotId, Condition, Ending, Env, Holder, Lease, LeaseId, LeaseRecord, LeaseRequest, Login, NewBot,
    PageRequest, PoolStats, ProjectId, Result, Secret, Selector, Timestamp,
};

/// The ground that one claim is tried on. Whatever it mints carries its own project.
#[derive(Debug)]
pub struct Trial {
    farms: Vec<Arc<dyn BotFarm>>,
    turn: AtomicUsize,
    minted: AtomicUsize,
    project: ProjectId,
    clock: OnceCell<BotId>,
}

impl Trial {
    /// A new project on the fixture's farm.
    ///
    /// # Panics
    /// When the fixture has no handle.
    #[must_use]
    pub fn on(fixture: &impl Fixture) -> Self {
        let farms = fixture.handles();
        assert!(!farms.is_empty(), "a fixture has at least one handle to its farm");
        Self {
            farms,
            turn: AtomicUsize::new(0),
            minted: AtomicUsize::new(0),
            project: ProjectId::new(),
            clock: OnceCell::new(),
        }
    }

    /// The farm, by one handle after the other, so that no claim depends on which one is asked.
    pub(super) fn farm(&self) -> Arc<dyn BotFarm> {
        self.farms[self.turn.fetch_add(1, Ordering::Relaxed) % self.farms.len()].clone()
    }

    /// All handles to the farm.
    pub(super) fn farms(&self) -> &[Arc<dyn BotFarm>] {
        &self.farms
    }

    pub(super) fn project(&self) -> ProjectId {
        self.project.clone()
    }

    fn mint(&self) -> String {
        format!("{}-of-{}", self.minted.fetch_add(1, Ordering::Relaxed), self.project)
    }

    pub(super) fn login(&self) -> Login {
        text(&format!("Bot-{}@farm.test", self.mint()))
    }

    pub(super) fn holder(&self) -> Holder {
        text(&format!("holder {}", self.mint()))
    }

    pub(super) fn new_bot(&self) -> NewBot {
        NewBot::new(
            self.login(),
            secret(&format!("pass-{}", LeaseId::new().as_uuid())),
            self.project.clone(),
            Env::STAGE,
        )
    }

    pub(super) async fn keep(&self, bot: NewBot) -> Bot {
        self.farm().create(bot).await.expect("a bot of a new login is created")
    }

    pub(super) async fn bot(&self) -> Bot {
        self.keep(self.new_bot()).await
    }

    pub(super) async fn bots<const N: usize>(&self) -> [Bot; N] {
        let mut bots = Vec::new();
        for _ in 0..N {
            bots.push(self.bot().await);
        }
        bots.try_into().unwrap_or_else(|_| unreachable!("N bots were created"))
    }

    pub(super) async fn look(&self, bot: &Bot) -> Bot {
        self.farm().get(bot.id).await.expect("a bot that was created can be looked at")
    }

    /// Any ready bot of this claim.
    pub(super) fn any(&self) -> Selector {
        Selector::any().project(self.project.clone())
    }

    /// This very bot.
    pub(super) fn named(&self, bot: &Bot) -> Selector {
        Selector { id: Some(bot.id), ..self.any() }
    }

    /// A request of a holder of its own.
    pub(super) fn ask(&self, selector: Selector) -> LeaseRequest {
        LeaseRequest::new(self.holder(), selector)
    }

    pub(super) fn ask_many(&self, selectors: impl IntoIterator<Item = Selector>) -> LeaseRequest {
        LeaseRequest::many(self.holder(), selectors)
    }

    /// Tries once.
    pub(super) async fn acquire(&self, request: LeaseRequest) -> Result<Lease> {
        self.farm().acquire(request).await
    }

    /// Leases what must be free.
    pub(super) async fn take(&self, selector: Selector) -> Lease {
        self.acquire(self.ask(selector)).await.expect("a bot that is free and fits is granted at once")
    }

    /// Leases what must become free by itself.
    pub(super) async fn take_in_time(&self, selector: Selector) -> Lease {
        self.start(self.ask(selector)).lease("a bot that becomes free is granted to who waits for it").await
    }

    pub(super) async fn lookup(&self, lease: &Lease) -> Result<Lease> {
        self.farm().lookup(lease.id).await
    }

    pub(super) async fn renew(&self, lease: &Lease, ttl: Option<Duration>) -> Result<Lease> {
        self.farm().renew(lease.id, ttl).await
    }

    pub(super) async fn release(&self, lease: &Lease) {
        self.end(lease, Ending::clean()).await;
    }

    pub(super) async fn end(&self, lease: &Lease, ending: Ending) {
        self.farm().release(lease.id, ending).await.expect("the holder of a lease in force releases it");
    }

    /// Asks for a lease in a task of its own.
    pub(super) fn start(&self, request: LeaseRequest) -> Waiter {
        Waiter::new(self.farm(), request.wait(LONG))
    }

    /// Asks for a lease that cannot be had yet, and comes back when the request stands in the queue.
    pub(super) async fn park(&self, request: LeaseRequest) -> Waiter {
        let ahead = self.waiting().await;
        let waiter = self.start(request);
        self.until_waiting(ahead + 1, Some(&waiter)).await;
        waiter
    }

    /// Takes a request out of the queue by dropping its future.
    pub(super) async fn unpark(&self, waiter: Waiter) {
        let ahead = self.waiting().await;
        assert!(waiter.hang_up().await.is_none(), "a request that nothing is free for waits");
        self.until_waiting(ahead - 1, None).await;
    }

    /// Finds out what has become of a request, and ends it for good.
    pub(super) async fn settle(&self, request: LeaseRequest) {
        match self.start(request).answer("who asks again under the same id is answered").await {
            Ok(lease) => self.release(&lease).await,
            undone => drop(refused(undone, "lease-lost", "a lease is had by its id, or it has ended")),
        }
    }

    /// How many requests wait for bots of this claim. The question takes no bot: no claim that asks it has a free
    /// broken one.
    pub(super) async fn waiting(&self) -> u64 {
        let probe = self.ask(self.any().condition(Condition::Broken));
        shortage(self.acquire(probe).await, "nobody is granted a bot in another condition than was asked for").waiting
    }

    async fn until_waiting(&self, count: u64, waiter: Option<&Waiter>) {
        until(
            &format!("`waiting` of a shortage comes to {count}, the requests that wait for these bots"),
            async || {
                let waits = waiter.is_none_or(Waiter::still_waits);
                assert!(waits, "a request that nothing is free for waits, instead of being answered");
                self.waiting().await == count
            },
        )
        .await;
    }

    /// What time it is by the farm's clock.
    pub(super) async fn now(&self) -> Timestamp {
        let bot = self.clock.get_or_init(async || {
            let bot = NewBot { project: ProjectId::new(), ..self.new_bot() };
            self.keep(bot).await.id
        });
        let lease = self.take(Selector::bot(*bot.await)).await;
        self.release(&lease).await;
        lease.acquired_at
    }

    /// Comes back when it is later than `at` by the farm's clock.
    pub(super) async fn until_after(&self, at: Timestamp) {
        until("the farm's clock goes on", async || self.now().await > at).await;
    }

    /// Comes back when the lease has ended by itself.
    pub(super) async fn until_ended(&self, lease: &Lease) {
        until("a lease that nobody renews ends", async || self.lookup(lease).await.is_err()).await;
    }

    /// Every hand-out of a bot, newest first.
    pub(super) async fn history(&self, bot: BotId) -> Vec<LeaseRecord> {
        let (mut records, mut page) = (Vec::new(), PageRequest::first(PageRequest::MAX));
        loop {
            let answer = self.farm().history(bot, &page).await.expect("the history of a bot can be read");
            records.extend(answer.items);
            if answer.next.is_none() {
                return records;
            }
            page = page.after(answer.next);
        }
    }

    /// The counts of this claim's only pool.
    pub(super) async fn pool(&self) -> PoolStats {
        let stats = self.farm().stats().await.expect("a farm counts its bots");
        let mut pools = stats.pools.into_iter().filter(|pool| pool.project == self.project);
        let pool = pools.next().expect("every project with a bot has a pool");
        assert_eq!(pools.next(), None, "bots of one project, env and domain are one pool");
        pool
    }

    /// Proves that nothing was lost and nothing handed out twice: each of these bots can be leased, each of its
    /// hand-outs began after the one before had ended, with a larger fence, and nobody waits. At most 32 bots.
    pub(super) async fn prove_sound(&self, bots: &[Bot]) {
        let all = self.start(self.ask_many(bots.iter().map(|bot| self.named(bot))));
        let all = all.lease("after all is done, every bot can be leased").await;
        for leased in &all.bots {
            let records = self.history(leased.bot.id).await;
            let newest = records.first().expect("the hand-out in force stands in the history");
            assert_eq!((newest.fence, &newest.end), (leased.fence, &None), "the newest record is the one in force");
            for pair in records.windows(2) {
                let [newer, older] = pair else { unreachable!("a window of two") };
                assert!(newer.fence > older.fence, "each hand-out of a bot carries a strictly larger fence: {pair:?}");
                let end = older.end.as_ref().expect("a bot is handed out once its lease has ended, no earlier");
                assert!(newer.from >= end.at, "nobody else gets a bot before its lease's end: {pair:?}");
            }
        }
        self.release(&all).await;
        for bot in bots {
            let bot = self.look(bot).await;
            assert_eq!((bot.holding, bot.cooling_until), (None, None), "a bot is free at once after a clean release");
        }
        until("the queue is empty once everybody was served or has gone", async || self.waiting().await == 0).await;
    }
}

/// A checked text.
pub(super) fn text<T: for<'t> TryFrom<&'t str, Error: Debug>>(text: &str) -> T {
    T::try_from(text).expect("the suite's own texts are valid")
}

pub(super) fn secret(text: &str) -> Secret {
    Secret::try_from(text).expect("the suite's own passwords are valid")
}

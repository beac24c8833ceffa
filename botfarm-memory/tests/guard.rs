//! The three nets that catch a lease: its release, the guard's `Drop`, and the TTL.

use std::{
    env,
    error::Error as StdError,
    panic::{AssertUnwindSafe, catch_unwind},
    process::{self, Command},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use botfarm_core::{
    ActiveLease, Bot, BotChanges, BotFarm, BotFarmExt, BotFilter, BotId, BotRelease, BotState, Condition, EndReason,
    EndedRun, Ending, Env, Error, HandOut, HandOutFilter, ImportReport, Lease, LeaseGuard, LeaseId, LeasePolicy,
    LeaseRecord, LeaseRequest, LostLease, NewBot, Page, PageRequest, ProjectId, QueuedRequest, Result, Revocation, Run,
    RunEnding, Selector, Stats,
};
use botfarm_memory::MemoryFarm;
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

/// Long enough for a slow machine to renew in, short enough to outlive.
const TTL: Duration = Duration::from_secs(2);

/// More than anything takes that a farm answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// A farm whose line is bad: so many renewals and releases get no answer, and so many after them fail.
#[derive(Debug, Clone)]
struct ShakyFarm {
    farm: MemoryFarm,
    unanswered: Arc<AtomicU32>,
    failing: Arc<AtomicU32>,
}

const ALL: u32 = u32::MAX;

impl ShakyFarm {
    fn new(bots: u32) -> Self {
        let policy = LeasePolicy { min_ttl: Duration::ZERO, cooling: Duration::from_secs(3), ..LeasePolicy::default() };
        let farm = MemoryFarm::with_policy(policy);
        let project = ProjectId::new();
        let bot = |n| {
            let login = format!("bot {n}").parse().unwrap();
            NewBot::new(login, "secret".try_into().unwrap(), project.clone(), Env::STAGE)
        };
        runtime().block_on(farm.import((0..bots).map(bot).collect(), false)).unwrap();
        Self { farm, unanswered: Arc::default(), failing: Arc::default() }
    }

    async fn line(&self) -> Result<()> {
        let one_less = |left: u32| if left == ALL { Some(ALL) } else { left.checked_sub(1) };
        if self.unanswered.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
            std::future::pending::<()>().await;
        }
        if self.failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
            let detail = "the line is bad".into();
            return Err(Error::Unavailable { detail, retry_after: Duration::from_secs(1), source: None });
        }
        Ok(())
    }

    /// Waits, without giving way to the runtime, until nobody holds a bot.
    async fn until_free(&self) {
        let start = Instant::now();
        while self.farm.list_all(&BotFilter::default()).await.unwrap().iter().any(|bot| bot.holding.is_some()) {
            assert!(start.elapsed() < PATIENCE, "what a guard held is free when it has gone");
            thread::yield_now();
        }
    }

    async fn revoke_all(&self) {
        for bot in self.farm.list_all(&BotFilter::default()).await.unwrap() {
            let revocation = Revocation::new("needed for a demo".parse().unwrap(), "anna".parse().unwrap());
            self.farm.revoke(bot.id, revocation).await.unwrap();
        }
    }

    /// How each hand-out of the first bot ended, newest first.
    async fn endings(&self) -> Vec<Option<EndReason>> {
        let bot = &self.farm.list_all(&BotFilter::default()).await.unwrap()[0];
        let history = self.farm.history(bot.id, &PageRequest::default()).await.unwrap();
        history.items.into_iter().map(|record| record.end.map(|end| end.reason)).collect()
    }
}

#[async_trait]
impl BotFarm for ShakyFarm {
    async fn create(&self, bot: NewBot) -> Result<Bot> {
        self.farm.create(bot).await
    }

    async fn import(&self, bots: Vec<NewBot>, dry_run: bool) -> Result<ImportReport> {
        self.farm.import(bots, dry_run).await
    }

    async fn get(&self, id: BotId) -> Result<Bot> {
        self.farm.get(id).await
    }

    async fn list(&self, filter: &BotFilter, page: &PageRequest) -> Result<Page<Bot>> {
        self.farm.list(filter, page).await
    }

    async fn update(&self, id: BotId, changes: BotChanges) -> Result<Bot> {
        self.farm.update(id, changes).await
    }

    async fn delete(&self, id: BotId) -> Result<()> {
        self.farm.delete(id).await
    }

    async fn acquire(&self, request: LeaseRequest) -> Result<Lease> {
        self.farm.acquire(request).await
    }

    async fn lookup(&self, id: LeaseId) -> Result<Lease> {
        self.farm.lookup(id).await
    }

    async fn renew(&self, id: LeaseId, ttl: Option<Duration>) -> Result<Lease> {
        self.line().await?;
        self.farm.renew(id, ttl).await
    }

    async fn release(&self, id: LeaseId, ending: Ending) -> Result<()> {
        self.line().await?;
        self.farm.release(id, ending).await
    }

    async fn release_bot(&self, bot: BotId, release: BotRelease) -> Result<()> {
        self.farm.release_bot(bot, release).await
    }

    async fn revoke(&self, bot: BotId, revocation: Revocation) -> Result<()> {
        self.farm.revoke(bot, revocation).await
    }

    async fn end_run(&self, run: &Run, ending: RunEnding) -> Result<EndedRun> {
        self.farm.end_run(run, ending).await
    }

    async fn leases_of_run(&self, run: &Run, page: &PageRequest) -> Result<Page<ActiveLease>> {
        self.farm.leases_of_run(run, page).await
    }

    async fn leases(&self, page: &PageRequest) -> Result<Page<ActiveLease>> {
        self.farm.leases(page).await
    }

    async fn history(&self, bot: BotId, page: &PageRequest) -> Result<Page<LeaseRecord>> {
        self.farm.history(bot, page).await
    }

    async fn hand_outs(&self, filter: &HandOutFilter, page: &PageRequest) -> Result<Page<HandOut>> {
        self.farm.hand_outs(filter, page).await
    }

    async fn queue(&self, page: &PageRequest) -> Result<Page<QueuedRequest>> {
        self.farm.queue(page).await
    }

    async fn stats(&self) -> Result<Stats> {
        self.farm.stats().await
    }

    async fn check(&self) -> Result<()> {
        self.farm.check().await
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A farm made on a thread of its own, since a runtime cannot be started on another.
fn farm(bots: u32) -> ShakyFarm {
    thread::spawn(move || ShakyFarm::new(bots)).join().unwrap()
}

/// For a lease that does not end by itself while the test runs, and is not renewed either.
fn request() -> LeaseRequest {
    LeaseRequest::new("a test".parse().unwrap(), Selector::any()).ttl(PATIENCE * 10)
}

/// For a lease that is renewed several times while the test runs.
fn brief() -> LeaseRequest {
    request().ttl(TTL)
}

/// Blocks the thread, and with it the runtime.
fn block(span: Duration) {
    let start = Instant::now();
    while let Some(left) = span.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}

/// Holds on for longer than the TTL, whatever the thread is, and gives the lease back.
async fn outlive_the_ttl(farm: &ShakyFarm, guard: LeaseGuard) {
    let first = guard.expires_at;
    block(TTL * 2);
    let seen = farm.lookup(guard.id).await.expect("a guarded lease is renewed for as long as the guard lives");
    assert!(seen.expires_at > first + TTL, "it has been renewed: {first} {}", seen.expires_at);
    assert_eq!(farm.endings().await, [None]);
    guard.release().await.expect("a lease that was kept is released");
    assert_eq!(farm.endings().await, [Some(EndReason::Released)]);
}

fn lost(answer: Result<()>) -> LostLease {
    match answer {
        Err(Error::LeaseLost(lost)) => *lost,
        other => panic!("expected LeaseLost, got {other:?}"),
    }
}

/// Runs `body` in a process of its own: a child that runs this very test again. Gives the child's exit code and what it
/// wrote to stderr; in the child itself, does not come back.
fn in_a_child(test: &str, body: impl FnOnce()) -> (Option<i32>, String) {
    if env::var("BOTFARM_TEST_CHILD").is_ok_and(|child| child == test) {
        body();
        process::exit(0);
    }
    let mut child = Command::new(env::current_exe().unwrap());
    let child = child.args([test, "--exact", "--nocapture"]).env("BOTFARM_TEST_CHILD", test).output().unwrap();
    (child.status.code(), String::from_utf8_lossy(&child.stderr).into_owned())
}

fn is_send_and_owned<T: Send + 'static>(_: &T) {}

// The lease is kept alive.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_outlives_its_ttl_on_a_multi_thread_runtime() {
    let farm = farm(1);
    let guard = farm.lease(brief()).await.unwrap();
    is_send_and_owned(&guard);
    outlive_the_ttl(&farm, guard).await;
}

#[tokio::test]
async fn lease_outlives_its_ttl_on_a_runtime_that_is_blocked() {
    let farm = farm(1);
    let held: Arc<dyn BotFarm> = Arc::new(farm.clone());
    let guard = held.lease(brief()).await.unwrap();
    outlive_the_ttl(&farm, guard).await;
}

#[tokio::test(start_paused = true)]
async fn lease_outlives_its_ttl_where_time_is_paused() {
    let farm = farm(1);
    let guard = farm.lease(brief()).await.unwrap();
    outlive_the_ttl(&farm, guard).await;
}

#[test]
fn lease_outlives_its_ttl_without_a_runtime() {
    let farm = farm(1);
    let guard = runtime().block_on(farm.lease(brief())).unwrap();
    block(TTL * 2);
    runtime().block_on(async {
        farm.lookup(guard.id).await.expect("the runtime that it came from is gone, the guard is not");
        guard.release().await.expect("a lease that was kept is released");
    });
}

#[tokio::test]
async fn lease_granted_after_a_long_wait_outlives_its_ttl() {
    let farm = farm(1);
    let first = farm.acquire(brief()).await.unwrap();
    // Longer than a tenth of the TTL: until the first expires, and its bot has rested.
    let guard = farm.lease(brief().wait(PATIENCE)).await.unwrap();
    assert!(guard.acquired_at > first.expires_at);
    let first = guard.expires_at;
    block(TTL * 2);
    assert!(farm.lookup(guard.id).await.unwrap().expires_at > first + TTL, "it has been renewed");
    guard.release().await.unwrap();
}

#[tokio::test]
async fn lease_outlives_renewals_that_fail() {
    let farm = farm(1);
    farm.failing.store(3, Ordering::SeqCst);
    let guard = farm.lease(brief()).await.unwrap();
    outlive_the_ttl(&farm, guard).await;
}

#[tokio::test]
async fn lease_outlives_a_renewal_that_is_never_answered() {
    let farm = farm(1);
    farm.unanswered.store(1, Ordering::SeqCst);
    let guard = farm.lease(brief().ttl(TTL * 3)).await.unwrap();
    let first = guard.expires_at;
    block(TTL * 3);
    assert!(farm.lookup(guard.id).await.unwrap().expires_at > first, "it has been renewed");
    guard.release().await.unwrap();
}

// The first net.

#[tokio::test]
async fn release_that_fails_is_tried_again_by_drop() {
    let farm = farm(1);
    let guard = farm.lease(request()).await.unwrap();
    farm.failing.store(1, Ordering::SeqCst);
    let failed = guard.release_as(Ending::dirty()).await.unwrap_err();
    assert_eq!(failed.code(), "unavailable", "a release tells its errors");
    farm.until_free().await;
    let bot = &farm.list_all(&BotFilter::default()).await.unwrap()[0];
    assert_eq!(bot.condition, Condition::Dirty, "the bot is left as the release said");
}

#[tokio::test]
async fn release_that_is_given_up_is_done_by_drop() {
    let farm = farm(1);
    let guard = farm.lease(request()).await.unwrap();
    farm.unanswered.store(1, Ordering::SeqCst);
    assert!(timeout(Duration::from_millis(20), guard.release()).await.is_err(), "the farm does not answer");
    farm.until_free().await;
    assert_eq!(farm.endings().await, [Some(EndReason::Released)]);
}

#[tokio::test]
async fn with_lease_gives_back_whether_its_body_succeeds_fails_or_panics() {
    let farm = farm(1);
    let body = async |lease: Lease| -> Result<String, Box<dyn StdError + Send + Sync>> {
        assert_eq!(farm.lookup(lease.id).await.unwrap().id, lease.id, "the body has the lease");
        Ok(lease.bot().bot.login.to_string())
    };
    assert_eq!(farm.with_lease(request(), body).await.unwrap(), "bot 0");
    assert_eq!(farm.endings().await, [Some(EndReason::Released)], "it is given back before the call ends");

    let body = async |_| -> Result<(), Box<dyn StdError + Send + Sync>> { Err("the test failed".into()) };
    assert_eq!(farm.with_lease(request(), body).await.unwrap_err().to_string(), "the test failed");
    assert_eq!(farm.endings().await, [Some(EndReason::Released); 2]);

    let there = farm.clone();
    let task = tokio::spawn(async move {
        there.with_lease(request(), async |_| -> Result<()> { panic!("the test panicked") }).await
    });
    let panic = task.await.unwrap_err().into_panic();
    assert_eq!(*panic.downcast::<&str>().unwrap(), "the test panicked", "a panic goes on after the release");
    assert_eq!(farm.endings().await, [Some(EndReason::Released); 3]);
}

// The second net.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drop_gives_back_on_a_multi_thread_runtime() {
    let farm = farm(1);
    drop(farm.lease(request()).await.unwrap());
    farm.until_free().await;
    assert_eq!(farm.endings().await, [Some(EndReason::Released)]);
}

#[tokio::test]
async fn drop_gives_back_on_a_current_thread_runtime() {
    let farm = farm(1);
    let mut guard = farm.lease(request()).await.unwrap();
    guard.set_ending(Ending::broken());
    drop(guard);
    farm.until_free().await;
    let bot = &farm.list_all(&BotFilter::default()).await.unwrap()[0];
    assert_eq!((bot.condition, bot.state()), (Condition::Broken, BotState::Free), "as it was told to");
}

#[test]
fn drop_gives_back_without_a_runtime() {
    let farm = farm(1);
    let guard = runtime().block_on(farm.lease(request())).unwrap();
    thread::spawn(move || drop(guard)).join().unwrap();
    runtime().block_on(farm.until_free());
}

#[tokio::test]
async fn drop_gives_back_while_unwinding() {
    let farm = farm(2);
    let guard = farm.lease(request()).await.unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _guard = guard;
        panic!("the test panicked")
    }));
    assert_eq!(*panic.unwrap_err().downcast::<&str>().unwrap(), "the test panicked");
    let guard = farm.lease(request()).await.unwrap();
    let task = tokio::spawn(async move {
        let _guard = guard;
        panic!("the task panicked")
    });
    assert!(task.await.unwrap_err().is_panic());
    farm.until_free().await;
}

#[tokio::test]
async fn cancelled_task_gives_back() {
    let farm = farm(2);
    let there = farm.clone();
    let guarded = tokio::spawn(async move {
        let _guard = there.lease(request()).await.unwrap();
        std::future::pending::<()>().await;
    });
    let there = farm.clone();
    let within = tokio::spawn(async move {
        there.with_lease(request(), async |_| -> Result<()> { std::future::pending().await }).await
    });
    while farm.list_all(&BotFilter::default()).await.unwrap().iter().any(|bot| bot.holding.is_none()) {
        tokio::task::yield_now().await;
    }
    guarded.abort();
    within.abort();
    assert!(guarded.await.unwrap_err().is_cancelled() && within.await.unwrap_err().is_cancelled());
    farm.until_free().await;
}

#[test]
fn runtime_that_is_shut_down_gives_back() {
    let farm = farm(8);
    for runtime in [runtime(), Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()] {
        let held = Arc::new(AtomicU32::new(0));
        for _ in 0..8 {
            let (farm, held) = (farm.clone(), held.clone());
            runtime.spawn(async move {
                let _guard = farm.lease(request()).await.unwrap();
                held.fetch_add(1, Ordering::SeqCst);
                std::future::pending::<()>().await;
            });
        }
        runtime.block_on(async {
            while held.load(Ordering::SeqCst) < 8 {
                tokio::task::yield_now().await;
            }
        });
        drop(runtime);
        self::runtime().block_on(farm.until_free());
    }
}

#[test]
fn drop_is_patient_with_a_farm_that_never_answers_but_not_for_long() {
    // In a process of its own, since a process remembers that a farm is gone.
    let child = in_a_child("drop_is_patient_with_a_farm_that_never_answers_but_not_for_long", || {
        let (farm, healthy) = (farm(60), farm(1));
        let lease = |farm: &ShakyFarm| runtime().block_on(farm.lease(request())).unwrap();
        let guards: Vec<_> = (0..60).map(|_| lease(&farm)).collect();
        let guard = lease(&healthy);
        farm.unanswered.store(ALL, Ordering::SeqCst);
        let start = Instant::now();
        drop(guards);
        let patience = start.elapsed();
        assert!(patience >= Duration::from_secs(1), "an answer may take a second: {patience:?}");
        assert!(patience < Duration::from_secs(30), "sixty guards do not wait for a second each: {patience:?}");
        drop(guard);
        runtime().block_on(healthy.until_free());
    });
    assert_eq!(child.0, Some(0), "{}", child.1);
}

#[test]
fn drop_does_not_panic_when_the_farm_fails() {
    let farm = farm(1);
    let guard = runtime().block_on(farm.lease(request())).unwrap();
    farm.failing.store(ALL, Ordering::SeqCst);
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _guard = guard;
        panic!("the test panicked")
    }));
    assert_eq!(*panic.unwrap_err().downcast::<&str>().unwrap(), "the test panicked", "a second panic would abort");
    assert_eq!(runtime().block_on(farm.endings()), [None], "the TTL will end it");
}

// The third net.

static HELD: OnceLock<LeaseGuard> = OnceLock::new();

#[test]
fn process_exit_is_left_to_the_ttl() {
    let start = Instant::now();
    let child = in_a_child("process_exit_is_left_to_the_ttl", || {
        let farm = farm(3);
        let lease = || runtime().block_on(farm.lease(request())).unwrap();
        HELD.set(lease()).unwrap();
        let elsewhere = lease();
        thread::spawn(move || {
            let _guard = elsewhere;
            block(PATIENCE * 10);
        });
        let _guard = lease();
        process::exit(7);
    });
    assert_eq!(child.0, Some(7), "guards do not stand in the way of an exit: {}", child.1);
    assert!(!child.1.contains("panicked"), "{}", child.1);
    assert!(start.elapsed() < PATIENCE * 5, "nobody waits for the TTL");
}

/// Cuts the line, before the first renewal or after one, while somebody else waits for the bot.
async fn holder_is_told_first(renewed: bool) {
    let farm = farm(1);
    let guard = farm.lease(brief()).await.unwrap();
    let ends = async || farm.lookup(guard.id).await.expect("a guarded lease is renewed").expires_at;
    while renewed && ends().await == guard.expires_at {
        thread::yield_now();
    }
    farm.unanswered.store(1, Ordering::SeqCst);
    farm.failing.store(ALL, Ordering::SeqCst);
    let ends = ends().await;
    let next = tokio::spawn({
        let farm = farm.clone();
        async move {
            let lease = farm.acquire(request().wait(PATIENCE)).await.unwrap();
            (lease, Instant::now())
        }
    });
    let lost = timeout(PATIENCE, guard.lost()).await.expect("who cannot renew knows that its lease is over");
    let told = Instant::now();
    let lost = self::lost(Err(lost));
    assert_eq!((lost.reason, lost.at), (EndReason::Expired, ends), "it says how, and when");
    let (next, granted) = next.await.unwrap();
    assert!(told < granted, "the holder is told first");
    assert_eq!(self::lost(guard.release().await), lost, "a release tells it again");
    farm.lookup(next.id).await.expect("a guard of a lost lease leaves the next holder alone");
}

#[tokio::test]
async fn holder_knows_that_its_lease_is_over_before_anybody_else_has_the_bot() {
    holder_is_told_first(false).await;
}

#[tokio::test]
async fn holder_knows_that_its_renewed_lease_is_over_before_anybody_else_has_the_bot() {
    holder_is_told_first(true).await;
}

// The lease is taken away.

#[tokio::test]
async fn revoked_lease_is_told_with_who_and_why() {
    let farm = farm(1);
    let guard = farm.lease(brief()).await.unwrap();
    farm.revoke_all().await;
    for _ in 0..2 {
        let lost = timeout(PATIENCE, guard.lost()).await.expect("a lost lease is told, every time");
        let text = lost.to_string();
        assert!(text.contains("revoked") && text.contains("anna") && text.contains("needed for a demo"), "{text}");
        assert_eq!(self::lost(Err(lost)).reason, EndReason::Revoked);
    }
    let lost = lost(guard.release().await);
    assert_eq!((lost.reason, lost.by.as_deref()), (EndReason::Revoked, Some("anna")), "a release tells it again");
}

#[tokio::test]
async fn with_lease_fails_when_the_lease_is_revoked() {
    struct Ended(Arc<AtomicBool>);
    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let farm = farm(1);
    let ended = Arc::new(AtomicBool::new(false));
    let body = async |_| -> Result<(), Box<dyn StdError + Send + Sync>> {
        let _ended = Ended(ended.clone());
        farm.revoke_all().await;
        std::future::pending().await
    };
    let failed = timeout(PATIENCE, farm.with_lease(brief(), body)).await.expect("it does not go on").unwrap_err();
    let text = failed.to_string();
    assert!(text.contains("revoked") && text.contains("anna") && text.contains("needed for a demo"), "{text}");
    assert!(ended.load(Ordering::SeqCst), "the body has been dropped");
    assert_eq!(farm.endings().await, [Some(EndReason::Revoked)]);
}

#[tokio::test]
async fn with_lease_fails_a_body_that_did_not_notice_the_loss() {
    let farm = farm(1);
    let body = async |_| -> Result<&str> {
        farm.revoke_all().await;
        Ok("all well")
    };
    let failed = farm.with_lease(request(), body).await.map(drop);
    assert_eq!(lost(failed).reason, EndReason::Revoked, "its result may be somebody else's doing");
}

#[tokio::test]
async fn with_lease_leaves_a_body_alone_that_ends_the_lease_itself() {
    let farm = farm(1);
    let body = async |lease: Lease| -> Result<&str> {
        farm.release(lease.id, Ending::dirty()).await?;
        Ok("cleaned up")
    };
    assert_eq!(farm.with_lease(request(), body).await.unwrap(), "cleaned up");
    let bot = &farm.list_all(&BotFilter::default()).await.unwrap()[0];
    assert_eq!(bot.condition, Condition::Dirty, "the first release counts");
}

//! The three nets that catch a lease, where the farm is a service: in another process, behind a network that may be gone.

mod searched;

use std::{
    env,
    net::SocketAddr,
    process::{self, Command},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use botfarm_core::{
    BotFarm, BotFarmExt, BotFilter, EndReason, Ending, Env, Error, LeaseGuard, LeasePolicy, LeaseRequest, NewBot,
    PageRequest, ProjectId, Result, Revocation, Selector,
};
use botfarm_http::{HttpFarm, Options, router, serve};
use botfarm_memory::MemoryFarm;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::{Semaphore, oneshot},
};

use self::searched::Search;

/// Long enough for a slow machine to renew in, short enough to outlive.
const TTL: Duration = Duration::from_secs(2);

/// More than anything takes that a farm answers.
const PATIENCE: Duration = Duration::from_secs(20);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A service on a thread of its own, and its farm, which outlives it.
struct Service {
    farm: MemoryFarm,
    address: SocketAddr,
    running: Option<(oneshot::Sender<()>, thread::JoinHandle<()>)>,
    /// One for each time that it was started.
    searches: Vec<Arc<Search>>,
}

impl Service {
    fn start(bots: u32) -> Self {
        let policy = LeasePolicy { min_ttl: Duration::ZERO, cooling: Duration::ZERO, ..LeasePolicy::default() };
        let farm = MemoryFarm::with_policy(policy);
        let bot = |n| {
            let login = format!("bot {n}").parse().unwrap();
            NewBot::new(login, "xyzzy of nobody".try_into().unwrap(), ProjectId::new(), Env::STAGE)
        };
        runtime().block_on(farm.import((0..bots).map(bot).collect(), false)).unwrap();
        let mut service = Self { farm, address: ([127, 0, 0, 1], 0).into(), running: None, searches: Vec::new() };
        service.restart();
        service
    }

    /// Starts it where it was.
    fn restart(&mut self) {
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let (search, router) = Search::over(router(Arc::new(self.farm.clone()), Options::default()));
        self.searches.push(search);
        let address = self.address;
        let thread = thread::spawn(move || {
            runtime().block_on(async {
                let listener = TcpListener::bind(address).await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let serving = serve(listener, router, std::future::pending());
                // Not told to stop, but cut.
                tokio::select! {
                    ended = serving => ended.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        self.address = told.recv().unwrap();
        self.running = Some((stop, thread));
    }

    fn stop(&mut self) {
        let (stop, thread) = self.running.take().unwrap();
        drop(stop);
        thread.join().unwrap();
    }

    fn farm(&self) -> HttpFarm {
        HttpFarm::new(&format!("http://{}", self.address)).unwrap()
    }

    fn lease(&self) -> LeaseGuard {
        runtime().block_on(self.farm().lease(request())).unwrap()
    }

    /// How many bots somebody holds.
    fn held(&self) -> usize {
        let bots = runtime().block_on(self.farm.list_all(&BotFilter::default())).unwrap();
        bots.iter().filter(|bot| bot.holding.is_some()).count()
    }

    fn until_free(&self) {
        let start = Instant::now();
        while self.held() > 0 {
            assert!(start.elapsed() < PATIENCE, "what a guard held is free when it has gone");
            thread::yield_now();
        }
    }

    /// How the latest hand-out of the first bot ended.
    fn ending(&self) -> Option<EndReason> {
        runtime().block_on(async {
            let bot = &self.farm.list_all(&BotFilter::default()).await.unwrap()[0];
            let history = self.farm.history(bot.id, &PageRequest::default()).await.unwrap();
            history.items[0].end.as_ref().map(|end| end.reason)
        })
    }
}

/// Keeps the thread, and the runtime on it, from doing anything else.
fn block(time: Duration) {
    let (_open, closed) = std::sync::mpsc::channel::<()>();
    closed.recv_timeout(time).unwrap_err();
}

fn request() -> LeaseRequest {
    LeaseRequest::new("test".parse().unwrap(), Selector::any())
}

#[test]
fn guard_keeps_its_lease_while_its_runtime_is_blocked_and_releases_it_with_its_errors() {
    let service = Service::start(1);
    let farm = service.farm();
    runtime().block_on(async {
        let guard = farm.lease(request().ttl(TTL)).await.unwrap();
        block(TTL * 2);
        farm.lookup(guard.id).await.expect("it has been renewed");
        guard.release().await.unwrap();
        let guard = farm.lease(request()).await.unwrap();
        farm.release(guard.id, Ending::default()).await.unwrap();
    });
    assert_eq!((service.held(), service.ending()), (0, Some(EndReason::Released)));
}

#[test]
fn runtime_that_is_shut_down_gives_back() {
    let service = Service::start(4);
    for runtime in [runtime(), Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()] {
        let guards = Arc::new(Semaphore::new(0));
        for _ in 0..4 {
            let (farm, guards) = (service.farm(), guards.clone());
            runtime.spawn(async move {
                let _guard = farm.lease(request()).await.unwrap();
                guards.add_permits(1);
                std::future::pending::<()>().await;
            });
        }
        runtime.block_on(guards.acquire_many(4)).unwrap().forget();
        drop(runtime);
        service.until_free();
    }
}

#[test]
fn drop_neither_fails_nor_waits_for_long_when_the_service_is_gone_and_is_made_good_when_it_is_back() {
    let mut service = Service::start(1);
    let guard = service.lease();
    service.stop();
    let start = Instant::now();
    drop(guard);
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    assert_eq!(service.held(), 1, "the service has not heard of it");
    service.restart();
    // Long before the TTL, which is a minute.
    service.until_free();
    assert_eq!(service.ending(), Some(EndReason::Released));
    service.stop();
}

#[test]
fn process_exit_is_left_to_the_ttl() {
    const TEST: &str = "process_exit_is_left_to_the_ttl";
    if let Ok(url) = env::var("BOTFARM_TEST_URL") {
        let farm = HttpFarm::new(&url).unwrap();
        let _guard = runtime().block_on(farm.lease(request().ttl(TTL))).unwrap();
        process::exit(7);
    }
    let service = Service::start(1);
    let url = format!("http://{}", service.address);
    let mut child = Command::new(env::current_exe().unwrap());
    let child = child.args([TEST, "--exact", "--nocapture"]).env("BOTFARM_TEST_URL", url).output().unwrap();
    let errors = String::from_utf8_lossy(&child.stderr);
    assert_eq!(child.status.code(), Some(7), "a guard does not stand in the way of an exit: {errors}");
    assert!(!errors.contains("panicked"), "{errors}");
    service.until_free();
    assert_eq!(service.ending(), Some(EndReason::Expired));
}

#[test]
fn revoked_lease_is_told_with_who_and_why() {
    let service = Service::start(1);
    let farm = service.farm();
    let revoke = async || {
        let bot = service.farm.list_all(&BotFilter::default()).await.unwrap()[0].id;
        let revocation = Revocation::new("needed for a demo".parse().unwrap(), "anna".parse().unwrap());
        service.farm.revoke(bot, revocation).await.unwrap();
    };
    runtime().block_on(async {
        let guard = farm.lease(request().ttl(TTL)).await.unwrap();
        revoke().await;
        let told = tokio::time::timeout(PATIENCE, guard.lost()).await.unwrap();
        let body = async |_| -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            revoke().await;
            std::future::pending().await
        };
        let failed = tokio::time::timeout(PATIENCE, farm.with_lease(request().ttl(TTL), body)).await.unwrap();
        for text in [told.to_string(), guard.release().await.unwrap_err().to_string(), failed.unwrap_err().to_string()]
        {
            assert!(text.contains("revoked") && text.contains("anna") && text.contains("needed for a demo"), "{text}");
        }
    });
}

#[test]
fn release_that_nobody_hears_says_so() {
    let mut service = Service::start(1);
    let farm = HttpFarm::builder(&format!("http://{}", service.address)).retry_for(Duration::from_millis(300));
    let farm = farm.build().unwrap();
    let guard = runtime().block_on(farm.lease(request())).unwrap();
    service.stop();
    let failed = runtime().block_on(guard.release()).unwrap_err();
    assert!(matches!(failed, Error::Unavailable { source: Some(_), .. }), "{failed:?}");
    assert_eq!(service.held(), 1);
}

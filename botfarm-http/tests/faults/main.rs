//! The conformance suite through a bad network: requests and answers are dropped, delayed, doubled and cut.

mod proxy;
#[path = "../searched/mod.rs"]
mod searched;

use std::{collections::HashSet, sync::Arc, thread, time::Duration};

use botfarm_core::{
    AllowedNames, BotFarm, BotFilter, Ending, Env, Error, ImportReport, LeaseRequest, NewBot, PageRequest, ProjectId,
    Selector,
    conformance::{Fixture, policy},
};
use botfarm_http::{HttpFarm, Options, router, serve};
use botfarm_memory::MemoryFarm;
use tokio::{net::TcpListener, runtime, sync::oneshot};

use self::{
    proxy::{ALL, Fault, Proxy},
    searched::Search,
};

/// A service on a runtime of its own, and two bad lines to it.
struct Service {
    proxies: [Proxy; 2],
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    _search: Arc<Search>,
}

async fn service() -> Service {
    let (tell, told) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = thread::spawn(move || {
        runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let farm = Arc::new(MemoryFarm::with_policy(policy()));
            let (search, router) =
                Search::over(router(farm, Options { names: AllowedNames::any(), ..Options::default() }));
            tell.send(([Proxy::start(address, 1).await, Proxy::start(address, 2).await], search)).unwrap();
            serve(listener, router, async { drop(stopped.await) }).await.unwrap();
        });
    });
    let (proxies, search) = told.await.unwrap();
    Service { proxies, stop: Some(stop), thread: Some(thread), _search: search }
}

impl Service {
    /// A client at the end of this line.
    fn farm(&self, line: usize) -> HttpFarm {
        HttpFarm::builder(&format!("http://{}", self.proxies[line].address))
            .timeout(Duration::from_millis(500))
            .pauses(Duration::from_millis(2), Duration::from_millis(50))
            .build()
            .unwrap()
    }

    fn count(&self, fault: Fault) -> usize {
        self.proxies.iter().map(|proxy| proxy.count(fault)).sum()
    }
}

impl Fixture for Service {
    fn handles(&self) -> Vec<Arc<dyn BotFarm>> {
        vec![Arc::new(self.farm(0)), Arc::new(self.farm(1))]
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

botfarm_core::conformance!(service);

fn bot(login: String) -> NewBot {
    NewBot::new(login.try_into().unwrap(), "xyzzy of nobody".try_into().unwrap(), ProjectId::new(), Env::STAGE)
}

/// Every kind of fault is met, many times, and what every call says is what was done.
#[tokio::test]
async fn every_call_is_done_once_and_answered_as_on_a_good_network() {
    let service = service().await;
    let farms = [service.farm(0), service.farm(1)];
    let mut bots = HashSet::new();
    for round in 0..150_usize {
        let farm = &farms[round % 2];
        let bot = farm.create(bot(format!("bot {round}"))).await.unwrap();
        assert!(bots.insert(bot.id));
        let again = farm.create(self::bot(format!("bot {round}"))).await.unwrap_err();
        assert!(matches!(again, Error::LoginTaken { .. }), "{again:?}");
        let rows = vec![self::bot(format!("row {round}")), self::bot(format!("other row {round}"))];
        let report = farm.import(rows.clone(), false).await.unwrap();
        assert_eq!(report, ImportReport { created: 2, ..ImportReport::default() });
        let report = farm.import(rows, false).await.unwrap();
        assert_eq!(report, ImportReport { unchanged: 2, ..ImportReport::default() });

        let request = LeaseRequest::new("me".parse().unwrap(), Selector::bot(bot.id));
        let lease = farm.acquire(request).await.unwrap();
        farm.renew(lease.id, None).await.unwrap();
        farm.release(lease.id, Ending::clean()).await.unwrap();
        let history = farm.history(bot.id, &PageRequest::default()).await.unwrap().items;
        assert_eq!(history.len(), 1, "it was leased once: {history:?}");
        if round % 3 == 0 {
            farm.delete(bot.id).await.unwrap();
            let again = farm.delete(bot.id).await.unwrap_err();
            assert!(matches!(again, Error::NoSuchBot { .. }), "{again:?}");
            bots.remove(&bot.id);
        }
    }
    let stats = farms[0].stats().await.unwrap();
    assert_eq!(stats.pools.iter().map(|pool| pool.free).sum::<u64>(), 100 + 300);
    let filter = BotFilter { login: Some("bot 149".parse().unwrap()), ..BotFilter::default() };
    assert_eq!(farms[1].list(&filter, &PageRequest::default()).await.unwrap().items.len(), 1);
    for (fault, _) in ALL {
        assert!(service.count(fault) > 0, "no request met {fault:?}");
    }
}

//! The conformance suite over the wire, on a database: `HttpFarm` against two services that share one, as replicas do; on a good
//! network, and on a bad one.

#[path = "faults/proxy.rs"]
#[expect(dead_code, reason = "how often there was a fault is counted for another test")]
mod proxy;
mod searched;

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use botfarm_core::{
    AllowedNames, BotFarm, Keyring, MasterKey,
    conformance::{self, Fixture},
};
use botfarm_http::{HttpFarm, Options, ReplaySecret, router, serve};
use botfarm_postgres::{PostgresFarm, PostgresOptions};
use postgres_lab::Database;
use tokio::{
    net::TcpListener,
    runtime,
    sync::{Mutex, oneshot},
};

use self::{proxy::Proxy, searched::Search};

/// A service on a runtime of its own, as if it were another process.
struct Service {
    address: SocketAddr,
    /// A bad line to it.
    proxy: Proxy,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    _search: Arc<Search>,
}

impl Service {
    async fn start(url: &str, keyring: Keyring) -> Self {
        let options = PostgresOptions::new(url)
            .unwrap()
            .policy(conformance::policy())
            // For a machine that is busy with other things.
            .connect_timeout(Duration::from_secs(30))
            .statement_timeout(Duration::from_secs(30));
        let (tell, told) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(async {
                let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
                let replay_secret = ReplaySecret::from(*keyring.derive("idempotency keys"));
                let farm = PostgresFarm::connect(options, keyring).await.unwrap();
                let address = listener.local_addr().unwrap();
                let idempotency = Arc::new(farm.clone());
                let options = Options { replay_secret, idempotency, names: AllowedNames::any(), ..Options::default() };
                let (search, router) = Search::over(router(Arc::new(farm), options));
                tell.send((address, Proxy::start(address, 3).await, search)).unwrap();
                serve(listener, router, async { drop(stopped.await) }).await.unwrap();
            });
        });
        let (address, proxy, search) = told.await.unwrap();
        Self { address, proxy, stop: Some(stop), thread: Some(thread), _search: search }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A service that does not stop would be found out here.
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Two services on one database. The last test to drop them stops them.
#[derive(Clone)]
struct Services(Arc<([Service; 2], Database)>);

impl Fixture for Services {
    fn handles(&self) -> Vec<Arc<dyn BotFarm>> {
        let [one, other] = &self.0.0;
        let farm = |service: &Service| Arc::new(HttpFarm::new(&format!("http://{}", service.address)).unwrap());
        vec![farm(one), farm(other)]
    }
}

async fn services() -> Services {
    static SHARED: Mutex<Weak<([Service; 2], Database)>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(services) = shared.upgrade() {
        return Services(services);
    }
    let database = Database::new().await;
    let keyring = Keyring::new(MasterKey::generate(), []);
    let one = Service::start(&database.url(), keyring.clone()).await;
    let other = Service::start(&database.url(), keyring).await;
    let services = Arc::new(([one, other], database));
    *shared = Arc::downgrade(&services);
    Services(services)
}

botfarm_core::conformance!(services);

/// The same two services, at the end of bad lines.
struct FarServices(Services);

impl Fixture for FarServices {
    fn handles(&self) -> Vec<Arc<dyn BotFarm>> {
        let [one, other] = &self.0.0.0;
        let farm = |service: &Service| {
            let farm = HttpFarm::builder(&format!("http://{}", service.proxy.address));
            // For a machine that is busy with other things.
            let farm = farm.timeout(Duration::from_secs(2)).retry_for(Duration::from_secs(30));
            Arc::new(farm.pauses(Duration::from_millis(2), Duration::from_millis(50)).build().unwrap())
        };
        vec![farm(one), farm(other)]
    }
}

async fn far_services() -> FarServices {
    FarServices(services().await)
}

mod on_a_bad_network {
    botfarm_core::conformance!(super::far_services);
}

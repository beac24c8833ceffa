//! The suites over the wire, on a farm in a file: `HttpFarm` against a service on a `SqliteFarm`, and what the service
//! keeps of operators on it.

#[path = "rest/document.rs"]
mod document;
#[path = "rest/logins.rs"]
mod logins;
#[path = "rest/operators.rs"]
mod operators;
#[path = "rest/principals.rs"]
mod principals;
mod searched;
#[path = "rest/service.rs"]
#[expect(dead_code, reason = "it is for other tests, too")]
mod service;

use std::{net::SocketAddr, sync::Arc, thread};

use botfarm_core::{
    AllowedNames, BotFarm, LeasePolicy,
    conformance::{Fixture, policy},
};
use botfarm_http::{HttpFarm, Options, ReplaySecret, router, serve};
use botfarm_sqlite::{SqliteFarm, SqliteOptions};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime, sync::oneshot};

use self::searched::Search;

/// A service on a runtime of its own, as if it were another process.
struct Service {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    _folder: TempDir,
    _search: Arc<Search>,
}

async fn service_on_a_file() -> Service {
    service_of(policy()).await
}

async fn service_of(policy: LeasePolicy) -> Service {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions::new(folder.path().join("farm.db")).policy(policy);
    let farm = SqliteFarm::connect(options, None).await.unwrap();
    let replay_secret = ReplaySecret::from(*farm.keyring().derive("idempotency keys"));
    let idempotency = Arc::new(farm.clone());
    let options = Options { replay_secret, idempotency, names: AllowedNames::any(), ..Options::default() };
    let (search, router) = Search::over(router(Arc::new(farm), options));
    let (tell, told) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = thread::spawn(move || {
        runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            serve(listener, router, async { drop(stopped.await) }).await.unwrap();
        });
    });
    let (stop, thread) = (Some(stop), Some(thread));
    Service { address: told.await.unwrap(), stop, thread, _folder: folder, _search: search }
}

impl Fixture for Service {
    fn handles(&self) -> Vec<Arc<dyn BotFarm>> {
        let farm = || Arc::new(HttpFarm::new(&format!("http://{}", self.address)).unwrap());
        vec![farm(), farm()]
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A service that does not stop would be found out here.
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Where the operators of those tests are kept that have them.
mod store {
    use std::sync::Arc;

    use botfarm_core::{delegate, operators::Operators};
    use botfarm_sqlite::{SqliteFarm, SqliteOptions};
    use tempfile::TempDir;

    /// The farm, and the folder that it is in.
    #[derive(Debug)]
    struct Ground(SqliteFarm, #[expect(dead_code, reason = "it is there until it is dropped")] TempDir);

    delegate!(Operators for Ground, ground => ground.0);

    /// A store that has none yet.
    pub(crate) fn operators() -> Arc<dyn Operators> {
        let folder = tempfile::tempdir().unwrap();
        let farm = SqliteFarm::open(SqliteOptions::new(folder.path().join("farm.db")), None).unwrap();
        Arc::new(Ground(farm, folder))
    }
}

botfarm_core::conformance!(service_on_a_file);
botfarm_core::conformance_model!(service_of);

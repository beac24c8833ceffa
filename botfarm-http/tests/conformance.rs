//! The conformance suite, over the wire: `HttpFarm` against the running service on a `MemoryFarm`.

mod searched;

use std::{net::SocketAddr, sync::Arc, thread};

use botfarm_core::{
    AllowedNames, BotFarm, LeasePolicy,
    conformance::{Fixture, Trial, policy},
    operators::{NewToken, Operators as _, Role, Scope},
};
use botfarm_http::{
    HttpFarm, Options,
    auth::{ApiToken, Auth, Required, SessionKey},
    router, serve,
};
use botfarm_memory::MemoryFarm;
use tokio::{net::TcpListener, runtime, sync::oneshot};

use self::searched::Search;

/// A service on a runtime of its own, as if it were another process, and two clients of it.
struct Service {
    address: SocketAddr,
    token: Option<ApiToken>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    _search: Arc<Search>,
}

async fn service() -> Service {
    service_of(policy()).await
}

async fn service_of(policy: LeasePolicy) -> Service {
    start(MemoryFarm::with_policy(policy), None).await
}

/// One that asks who is calling.
async fn guarded_service() -> Service {
    let (farm, secret) = (MemoryFarm::with_policy(policy()), ApiToken::generate().unwrap());
    let (role, scope, digest) = (Role::Admin, Scope::default(), secret.digest());
    farm.add_token(NewToken { name: "ci".parse().unwrap(), role, scope, expires_at: None, digest }).await.unwrap();
    start(farm, Some(secret)).await
}

async fn start(farm: MemoryFarm, token: Option<ApiToken>) -> Service {
    let auth = match token {
        Some(_) => Auth::Required(Required::new(Arc::new(farm.clone()), SessionKey::random())),
        None => Auth::Off,
    };
    let options = Options { auth, names: AllowedNames::any(), ..Options::default() };
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
    Service { address: told.await.unwrap(), token, stop: Some(stop), thread: Some(thread), _search: search }
}

impl Fixture for Service {
    fn handles(&self) -> Vec<Arc<dyn BotFarm>> {
        let farm = || {
            let farm = HttpFarm::builder(&format!("http://{}", self.address));
            let farm = match &self.token {
                Some(token) => farm.token(token.secret().expose().to_owned()),
                None => farm,
            };
            Arc::new(farm.build().unwrap())
        };
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

botfarm_core::conformance!(service);
botfarm_core::conformance_model!(service_of);

mod with_a_token {
    botfarm_core::conformance!(super::guarded_service);
}

// Of the claims that not every client keeps, those that this one does.

#[tokio::test]
async fn calls_come_from_any_runtime() {
    botfarm_core::conformance::calls_come_from_any_runtime(Trial::on(&service().await)).await;
}

#[tokio::test]
async fn calls_go_on_while_the_first_runtime_is_blocked() {
    botfarm_core::conformance::calls_go_on_while_the_first_runtime_is_blocked(Trial::on(&service().await)).await;
}

#[tokio::test]
async fn revocation_tells_who_did_it() {
    botfarm_core::conformance::revocation_tells_who_did_it(Trial::on(&service().await)).await;
}

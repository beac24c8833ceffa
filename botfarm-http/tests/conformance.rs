//! The conformance suite, over the wire: `HttpFarm` against the running service on a `MemoryFarm`.

use std::{net::SocketAddr, sync::Arc, thread};

use botfarm_core::{
    BotFarm,
    conformance::{Fixture, Trial, policy},
};
use botfarm_http::{HttpFarm, Options, router, serve};
use botfarm_memory::MemoryFarm;
use tokio::{net::TcpListener, runtime, sync::oneshot};

/// A service on a runtime of its own, as if it were another process, and two clients of it.
struct Service {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

async fn service() -> Service {
    let (tell, told) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = thread::spawn(move || {
        runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let farm = Arc::new(MemoryFarm::with_policy(policy()));
            serve(listener, router(farm, Options::default()), async { drop(stopped.await) }).await.unwrap();
        });
    });
    Service { address: told.await.unwrap(), stop: Some(stop), thread: Some(thread) }
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

botfarm_core::conformance!(service);

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

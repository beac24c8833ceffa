//! Whether the service can serve.

use std::{
    future::pending,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use botfarm_core::BotFarm;
use botfarm_http::{HttpFarm, serve};
use serde_json::json;
use tokio::{net::TcpListener, runtime};

use crate::service::{Rest, bot, project};

#[tokio::test]
async fn a_service_whose_farm_is_well_is_healthy_alive_and_ready() {
    let rest = Rest::empty();
    for path in ["/health", "/livez", "/readyz"] {
        let answer = rest.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({"status": "healthy"})), "{path}");
    }
}

#[tokio::test]
async fn a_service_whose_store_is_gone_is_alive_alone() {
    // Nothing listens on port 1.
    let rest = Rest::over(Arc::new(HttpFarm::builder("http://127.0.0.1:1").retry_for(Duration::ZERO).build().unwrap()));
    for path in ["/health", "/readyz"] {
        let answer = rest.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (503, json!({"status": "unhealthy"})), "{path}");
    }
    assert_eq!(rest.get("/livez").await.status, 200);
}

/// A connection on which this was asked, and nothing else will be.
fn ask(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_service_that_is_busy_says_that_it_is_alive() {
    let router = Rest::empty().router;
    let (told, address) = mpsc::channel();
    let (done, work) = mpsc::channel::<()>();
    // It has one thread, which does something that takes long.
    let service = thread::spawn(move || {
        runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let serving = tokio::spawn(serve(listener, router, pending()));
            // The service has started by then.
            tokio::task::yield_now().await;
            told.send(address).unwrap();
            work.recv().unwrap();
            told.send(address).unwrap();
            tokio::task::spawn_blocking(move || work.recv().unwrap()).await.unwrap();
            serving.abort();
        });
    });
    let served = address.recv().unwrap();
    let mut other = ask(served, "/health");
    let alive = answer(ask(served, "/livez"));
    assert!(alive.starts_with("HTTP/1.1 200") && alive.contains("x-request-id"), "{alive}");
    other.set_nonblocking(true).unwrap();
    assert!(other.read(&mut [0]).is_err(), "who asks for more waits");
    other.set_nonblocking(false).unwrap();
    done.send(()).unwrap();
    address.recv().unwrap();
    let health = answer(other);
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    done.send(()).unwrap();
    service.join().unwrap();
}

#[tokio::test]
async fn the_stats_count_every_pool() {
    let rest = Rest::empty();
    for login in ["ada", "bob", "eve"] {
        rest.farm.create(bot(login)).await.unwrap();
    }
    rest.post("/api/v1/leases", json!({"users": [{"login": "ada"}]})).await;
    let expected = json!({
        "pools": [{
            "project_id": project(), "env": "stage", "domain": "canary", "total": 3, "free": 2, "leased": 1,
            "cooling": 0, "dirty": 0, "broken": 0,
        }],
        "waiting": 0,
    });
    assert_eq!(rest.get("/api/v1/stats").await.json(), expected);
}

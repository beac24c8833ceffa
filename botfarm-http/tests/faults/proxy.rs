//! A bad network between a client and a service.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, Request, Response, StatusCode, header, request::Parts},
};
use fastrand::Rng;
use http_body_util::BodyExt as _;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use serde_json::Value;
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet, time::sleep};
use tower::ServiceExt as _;

/// A lease of fewer seconds is over before a lost answer could be asked for again.
const BRIEF: f64 = 1.0;

/// A proxy that drops, delays, doubles and cuts what it passes on. What it does to the n-th request is settled by the
/// seed and n.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// How often each [`Fault`] was done.
    pub(crate) done: Arc<[AtomicUsize; FAULTS]>,
    _stop: oneshot::Sender<()>,
}

/// What may happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection ends before the service has seen anything.
    DropRequest,
    /// Nothing reaches the service, and nothing comes back either.
    Swallow,
    /// The service has done what was asked for, and the connection ends without an answer.
    DropAnswer,
    /// The connection ends in the middle of the answer.
    CutAnswer,
    /// A gateway gives up on the service, which has done what was asked for.
    BadGateway,
    /// The service gets the request twice.
    Double,
    /// All of it takes a while.
    Delay,
}

pub(crate) const FAULTS: usize = 7;

/// All faults, and how many of a thousand requests meet each.
pub(crate) const ALL: [(Fault, u32); FAULTS] = [
    (Fault::DropRequest, 100),
    // A client notices by its timeout alone, which takes a while.
    (Fault::Swallow, 5),
    (Fault::DropAnswer, 100),
    (Fault::CutAnswer, 100),
    (Fault::BadGateway, 50),
    (Fault::Double, 100),
    (Fault::Delay, 100),
];

impl Proxy {
    /// A proxy before the service at this address.
    pub(crate) async fn start(service: SocketAddr, seed: u64) -> Self {
        // reqwest wants one, though nothing here is encrypted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let done = Arc::new([const { AtomicUsize::new(0) }; FAULTS]);
        let network = Network {
            service,
            seed,
            requests: Arc::default(),
            done: done.clone(),
            http: reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap(),
        };
        let (stop, mut stopped) = oneshot::channel();
        tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let stream = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    _ = &mut stopped => return,
                };
                let network = network.clone();
                connections.spawn(async move {
                    stream.set_nodelay(true).unwrap();
                    let pass = tower::service_fn(move |request| network.clone().pass(request))
                        .map_request(|request: Request<_>| request.map(Body::new));
                    let connection = auto::Builder::new(TokioExecutor::new());
                    // An error of `pass` ends the connection.
                    let _ = connection.serve_connection(TokioIo::new(stream), TowerToHyperService::new(pass)).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, done, _stop: stop }
    }

    /// How often this fault was done.
    pub(crate) fn count(&self, fault: Fault) -> usize {
        self.done[fault as usize].load(Ordering::Relaxed)
    }
}

#[derive(Debug, Clone)]
struct Network {
    service: SocketAddr,
    seed: u64,
    requests: Arc<AtomicU64>,
    done: Arc<[AtomicUsize; FAULTS]>,
    http: reqwest::Client,
}

/// An answer, whole.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Network {
    async fn pass(self, request: Request<Body>) -> io::Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut chance = Rng::with_seed(self.seed.wrapping_mul(1_000_003).wrapping_add(number));
        let sensitive = Sensitive::of(&body);
        let met = ALL.map(|(fault, rate)| {
            let happens = chance.u32(0..1_000) < rate && !sensitive.to(fault);
            if happens {
                self.done[fault as usize].fetch_add(1, Ordering::Relaxed);
            }
            happens
        });
        let met = |fault: Fault| met[fault as usize];
        if met(Fault::DropRequest) {
            return Err(cut("before the request was passed on"));
        }
        if met(Fault::Swallow) {
            std::future::pending::<()>().await;
        }
        if met(Fault::Delay) {
            sleep(Duration::from_millis(chance.u64(1..20))).await;
        }
        let answer = if !met(Fault::Double) {
            self.forward(&head, &body).await?
        } else if head.uri.path() == "/api/v1/leases" {
            // As twins that are under way together.
            let (one, other) = tokio::join!(self.forward(&head, &body), self.forward(&head, &body));
            let (one, other) = (one?, other?);
            // Who tries once may be refused as one twin and served as the other. To pass the refusal on is to lose a
            // TTL of the lease, which a farm may, but no claim expects.
            if one.status.is_success() || !other.status.is_success() { one } else { other }
        } else {
            drop(self.forward(&head, &body).await?);
            self.forward(&head, &body).await?
        };
        if met(Fault::DropAnswer) {
            return Err(cut("before the answer was passed on"));
        }
        if met(Fault::BadGateway) {
            return Ok(Response::builder().status(StatusCode::BAD_GATEWAY).body(Body::from("<html>")).unwrap());
        }
        let whole = answer.body.len();
        let mut response = Response::builder().status(answer.status);
        *response.headers_mut().unwrap() = answer.headers;
        if !met(Fault::CutAnswer) || whole == 0 {
            return Ok(response.body(Body::from(answer.body)).unwrap());
        }
        let half = answer.body.slice(..chance.usize(0..whole));
        let parts = [Ok(half), Err(cut("in the middle of the answer"))];
        let body = Body::from_stream(futures_util::stream::iter(parts));
        Ok(response.header(header::CONTENT_LENGTH, whole).body(body).unwrap())
    }

    /// Has the service do it. A caller that hangs up meanwhile hangs up on the service, too.
    async fn forward(&self, head: &Parts, body: &Bytes) -> io::Result<Answer> {
        let url = format!("http://{}{}", self.service, head.uri);
        let mut headers = head.headers.clone();
        for own in [header::HOST, header::CONTENT_LENGTH, header::CONNECTION] {
            headers.remove(own);
        }
        let request = self.http.request(head.method.clone(), url).headers(headers).body(body.clone());
        let response = request.send().await.map_err(io::Error::other)?;
        let (status, mut headers) = (response.status(), response.headers().clone());
        for own in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION] {
            headers.remove(own);
        }
        Ok(Answer { status, headers, body: response.bytes().await.map_err(io::Error::other)? })
    }
}

/// What a request must be spared, for no client could get over it in time.
struct Sensitive {
    /// It waits in the queue: that it was swallowed cannot be told from that.
    waits: bool,
    /// It asks for a lease that is over before a lost answer could be asked for again.
    brief: bool,
}

impl Sensitive {
    fn of(body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let seconds = |name: &str| body.get(name).and_then(Value::as_f64);
        Self {
            waits: seconds("wait_seconds").is_some_and(|wait| wait > 0.0),
            brief: seconds("ttl_seconds").is_some_and(|ttl| ttl < BRIEF),
        }
    }

    fn to(&self, fault: Fault) -> bool {
        match fault {
            Fault::Swallow => self.waits,
            Fault::DropAnswer | Fault::CutAnswer | Fault::BadGateway | Fault::Double => self.brief,
            Fault::DropRequest | Fault::Delay => false,
        }
    }
}

fn cut(when: &str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, format!("the proxy ended the connection {when}"))
}

//! A service to test: called directly, or over TCP.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, HttpBody as _},
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use botfarm_core::{BotFarm, Env, Labels, NewBot, ProjectId, Timestamp};
use botfarm_http::{HttpFarm, Options, router, serve_with_notice};
use botfarm_memory::MemoryFarm;
use chrono::SecondsFormat;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};
use tower::ServiceExt as _;

use crate::{
    document::{Asked, Document},
    searched::Search,
};

/// How the password of a [`bot`] begins: that of ada is `pass-ada`.
const PASSWORD: &str = "pass-";

/// What a service answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; null when it is empty.
    pub(crate) fn json(&self) -> Value {
        if self.body.is_empty() { Value::Null } else { serde_json::from_slice(&self.body).unwrap() }
    }

    pub(crate) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Status and code, as the table of errors has them.
    pub(crate) fn failure(&self) -> (u16, String) {
        assert_eq!(self.header(header::CONTENT_TYPE), Some("application/problem+json"), "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16(), "{body}");
        assert_eq!(body["title"], self.status.canonical_reason().unwrap(), "{body}");
        assert_eq!(body["type"], "about:blank", "{body}");
        assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
        (self.status.as_u16(), body["code"].as_str().unwrap().to_owned())
    }
}

/// A router, and the farm behind it.
#[derive(Debug, Clone)]
pub(crate) struct Rest {
    pub(crate) farm: Arc<dyn BotFarm>,
    pub(crate) router: Router,
    _search: Arc<Search>,
}

impl Rest {
    pub(crate) fn over(farm: Arc<dyn BotFarm>) -> Self {
        Self::with(farm, Options::default())
    }

    pub(crate) fn with(farm: Arc<dyn BotFarm>, options: Options) -> Self {
        let (search, router) = Search::over(router(farm.clone(), options));
        // How the password of each bot begins that a test puts into the farm itself.
        search.secret("password", PASSWORD);
        Self { farm, router, _search: search }
    }

    /// Over an empty farm in memory.
    pub(crate) fn empty() -> Self {
        Self::over(Arc::new(MemoryFarm::new()))
    }

    pub(crate) async fn request(&self, request: Request<Body>) -> Answer {
        let (asked, request) = noted(request).await;
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().into();
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        assert!(answer.headers.contains_key("x-request-id"), "{answer:?}");
        Document::get().await.check(&asked, &answer);
        answer
    }

    /// A request without a body.
    pub(crate) async fn send(&self, method: Method, path: &str) -> Answer {
        self.request(Request::builder().method(method).uri(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path).await
    }

    /// A request with this body.
    pub(crate) async fn with_body(&self, method: Method, path: &str, kind: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, kind);
        self.request(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.with_body(Method::POST, path, "application/json", body.to_string()).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.with_body(Method::PATCH, path, "application/json", body.to_string()).await
    }
}

/// The same request, and what of it the document is asked about.
async fn noted(request: Request<Body>) -> (Asked, Request<Body>) {
    let (parts, body) = request.into_parts();
    let (method, uri, headers) = (parts.method.clone(), parts.uri.clone(), parts.headers.clone());
    if body.size_hint().exact().is_none() {
        return (Asked { method, uri, headers, body: None }, Request::from_parts(parts, body));
    }
    let body = body.collect().await.unwrap().to_bytes();
    (Asked { method, uri, headers, body: Some(body.to_vec()) }, Request::from_parts(parts, Body::from(body)))
}

/// A router that is served on a port of its own. It is told to stop when this is dropped.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) ended: JoinHandle<std::io::Result<()>>,
}

impl Served {
    pub(crate) async fn start(router: Router) -> Self {
        Self::with_notice(router, Duration::ZERO).await
    }

    /// One that goes on for `notice` when it is told to stop.
    pub(crate) async fn with_notice(router: Router, notice: Duration) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let told = async move {
            drop(stopped.await);
            notice
        };
        let ended = tokio::spawn(serve_with_notice(listener, router, told));
        Self { address, stop: Some(stop), ended }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn farm(&self) -> HttpFarm {
        HttpFarm::new(&self.url()).unwrap()
    }

    /// A client that gives up where another would ask again.
    pub(crate) fn farm_that_asks_once(&self) -> HttpFarm {
        HttpFarm::builder(&self.url()).retry_for(Duration::ZERO).build().unwrap()
    }
}

pub(crate) fn bot(login: &str) -> NewBot {
    NewBot::new(login.try_into().unwrap(), format!("{PASSWORD}{login}").try_into().unwrap(), project(), Env::STAGE)
}

pub(crate) fn labelled<const N: usize>(login: &str, labels: [(&str, &str); N]) -> NewBot {
    bot(login).labels(Labels::try_from(labels).unwrap())
}

/// The project of [`bot`].
pub(crate) fn project() -> ProjectId {
    "0b7e6f9a-4a53-4d0e-9a51-2f5f5c1d7a11".parse().unwrap()
}

/// A time as the wire has it.
pub(crate) fn time(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Waits until `what` holds, which is to happen soon.
pub(crate) async fn until<F: Future<Output = bool>>(mut what: impl FnMut() -> F) {
    let patience = async {
        while !what().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), patience).await.expect("did not come to pass");
}

/// A connection on which requests are written by hand, so that the test decides when it ends.
#[derive(Debug)]
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) async fn connect(served: &Served) -> Self {
        Self(TcpStream::connect(served.address).await.unwrap())
    }

    /// Writes a request, and does not wait for the answer.
    pub(crate) async fn send(&mut self, method: Method, path: &str, body: &Value) {
        self.send_with(method, path, "", body).await;
    }

    /// The same, with more headers.
    pub(crate) async fn send_with(&mut self, method: Method, path: &str, headers: &str, body: &Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        );
        self.0.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    }

    /// Reads one answer: its status and its body.
    pub(crate) async fn answer(&mut self) -> (u16, Value) {
        let head = self.head().await;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.0.read_exact(&mut body).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Reads up to the empty line.
    pub(crate) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }
}

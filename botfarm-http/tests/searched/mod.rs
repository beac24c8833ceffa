//! All that a test has the service say, searched for every password, token, key and lease id that the test used.
//!
//! [`Search::over`] puts itself around a router, and listens to all that goes in and out. When the test ends, it reads
//! the metrics, the lists and the histories, too, and looks for all that it has seen to be a secret: in answers that are
//! not to hold it, and in what the whole process has logged meanwhile, at the finest level.

mod exchange;
mod log;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    thread,
    time::Duration,
};

use aho_corasick::AhoCorasick;
use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use serde_json::Value;
use tower::ServiceExt as _;

use self::exchange::Exchange;
pub(crate) use self::log::Log;

/// What goes over the wire and is shorter is found everywhere by chance.
const SHORTEST: usize = 6;

/// How long reading what the service has to say at the end may take. Some tests end with a service that cannot answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a service was told and has said.
#[derive(Debug, Default)]
struct Heard {
    /// With what each is.
    secrets: BTreeMap<String, &'static str>,
    /// What was said, and where.
    said: Vec<(String, Vec<u8>)>,
    /// The latest value of `Authorization` that was taken.
    credential: Option<String>,
}

impl Heard {
    fn secret(&mut self, what: &'static str, text: impl Into<String>) {
        let text = text.into();
        // As JSON has it.
        let escaped = Value::from(text.as_str()).to_string();
        self.secrets.insert(escaped[1..escaped.len() - 1].to_owned(), what);
        self.secrets.insert(text, what);
    }

    /// What was found, and where. Not the secret itself: what a test prints is kept somewhere.
    fn found(&self, log: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        // All of them in one go: there may be thousands, and much to read.
        let secrets = AhoCorasick::new(self.secrets.keys()).unwrap();
        let what: Vec<_> = self.secrets.values().collect();
        let said = self.said.iter().map(|(place, text)| (place.as_str(), text.as_slice()));
        for (place, text) in said.chain([("the log", log)]) {
            let mut seen = BTreeSet::new();
            for secret in secrets.find_overlapping_iter(text) {
                if seen.insert(secret.pattern()) {
                    let before = String::from_utf8_lossy(&text[secret.start().saturating_sub(200)..secret.start()]);
                    found.push(format!("a {} is in {place}, after {before:?}", what[secret.pattern().as_usize()]));
                }
            }
        }
        found
    }
}

/// Listens to one service, and panics when it is dropped if that has said a secret.
#[derive(Debug)]
pub(crate) struct Search {
    heard: Arc<Mutex<Heard>>,
    router: Router,
    /// From where on the log is this test's, and of others that run at the same time.
    log: usize,
}

impl Search {
    /// The same service, listened to.
    pub(crate) fn over(router: Router) -> (Arc<Self>, Router) {
        let log = log::len();
        let heard = Arc::<Mutex<Heard>>::default();
        let router = router.layer(from_fn_with_state(heard.clone(), listen));
        (Arc::new(Self { heard, router: router.clone(), log }), router)
    }

    /// A secret that does not go over the wire.
    pub(crate) fn secret(&self, what: &'static str, text: &str) {
        self.heard.lock().secret(what, text);
    }

    fn found(&self) -> Vec<String> {
        self.heard.lock().found(&log::all(self.log))
    }
}

async fn listen(
    axum::extract::State(heard): axum::extract::State<Arc<Mutex<Heard>>>,
    request: Request,
    next: Next,
) -> Response {
    let (exchange, request) = Exchange::begin(heard, request);
    let response = next.run(request).await;
    exchange.answered(response)
}

impl Drop for Search {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        let credential = self.heard.lock().credential.take();
        // The test's own runtime is busy with ending the test.
        thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let _ = tokio::time::timeout(PATIENCE, read_all(&self.router, credential.as_deref())).await;
                });
            });
        });
        let found = self.found();
        assert!(found.is_empty(), "{} places: {:#?}", found.len(), &found[..found.len().min(10)]);
    }
}

/// Reads what the service has to say of all that has happened. Its pages have nothing of that.
async fn read_all(router: &Router, credential: Option<&str>) {
    for page in ["/metrics", "/api/v1/stats", "/api/v1/leases", "/api/v1/operators", "/api/v1/tokens"] {
        read(router, page, credential).await;
    }
    let users = read(router, "/api/v1/users?limit=20", credential).await;
    let users: Value = users.and_then(|users| serde_json::from_slice(&users).ok()).unwrap_or_default();
    for id in users.as_array().into_iter().flatten().filter_map(|user| user["id"].as_str()) {
        read(router, &format!("/api/v1/users/{id}/history"), credential).await;
    }
}

/// The body, if that is to be had.
async fn read(router: &Router, path: &str, credential: Option<&str>) -> Option<Vec<u8>> {
    let mut request = Request::get(path);
    if let Some(credential) = credential {
        request = request.header(header::AUTHORIZATION, credential);
    }
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.ok()?.to_bytes();
    (status == StatusCode::OK).then(|| body.into())
}

#[tokio::test]
async fn a_secret_is_found_wherever_it_is_said() {
    use axum::{
        body::Bytes,
        routing::{get, post},
    };

    let password = "pa\"ss of nobody";
    let body = serde_json::json!({"login": "nobody", "password": password}).to_string();
    let plant = async |path: &str, said: &'static str| {
        let router = Router::new()
            .route("/api/v1/users", post(async |_: Bytes| StatusCode::CREATED))
            .route("/api/v1/users/{id}/history", get(move || async move { said }))
            .route("/metrics", get(move || async move { said }))
            .route("/quiet", get(|| async { "all is well" }));
        let (search, router) = Search::over(router);
        let create = Request::post("/api/v1/users").header(header::CONTENT_TYPE, "application/json");
        router.clone().oneshot(create.body(Body::from(body.clone())).unwrap()).await.unwrap();
        let answer = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        answer.into_body().collect().await.unwrap();
        // What is found is expected.
        let found = search.found();
        std::mem::take(&mut *search.heard.lock());
        found
    };
    let history = "/api/v1/users/1/history";
    assert_eq!(plant(history, "nothing").await, [""; 0]);
    for (path, said) in [
        (history, "…pa\"ss of nobody…"),
        (history, r#"{"note":"pa\"ss of nobody"}"#),
        ("/metrics", "holder=\"pa\\\"ss of nobody\""),
    ] {
        let found = plant(path, said).await;
        assert!(found.len() == 1 && found[0].contains("a password is in the answer to GET"), "{found:?}");
        assert!(!found[0].contains("ss of nobody"), "{found:?}");
    }
}

#[tokio::test]
async fn a_secret_is_found_in_the_log() {
    let own = Log::start();
    let (search, _) = Search::over(Router::new());
    let secret = uuid::Uuid::new_v4().to_string();
    search.secret("key", &secret);
    assert_eq!(search.found(), [""; 0]);
    // From a thread of its own, as a service that is served logs. It is no secret of any other test's.
    thread::scope(|scope| scope.spawn(|| tracing::trace!(key = secret, "said too much")).join()).unwrap();
    let found = search.found();
    assert!(found.len() == 1 && found[0].contains("a key is in the log"), "{found:?}");
    assert!(!own.text().contains("said too much"), "each thread has a log of its own, too");
    std::mem::take(&mut *search.heard.lock());
}

//! One span, one line in the log and one count for each request, and an id to find them by.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use botfarm_core::RequestId;
use futures_util::FutureExt as _;
use tracing::{Instrument as _, Span, field};
use uuid::Uuid;

use crate::server::{
    BASE,
    auth::Proxies,
    layers::{
        headers,
        versions::{self, Versions},
    },
    metrics::counters::Metrics,
    refusal::Refusal,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is the same for all requests.
#[derive(Debug, Clone)]
pub(crate) struct Observer {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) proxies: Arc<Proxies>,
    pub(crate) versions: Arc<Versions>,
}

/// Finds out where a request comes from. Answers with a request id, keeps panics from ending the connection, logs and counts. Of the URL the log has the
/// route alone: paths hold lease ids.
pub(crate) async fn observe(State(observer): State<Observer>, mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let of_the_api = request.uri().path().starts_with(BASE);
    if request.headers().get_all(header::HOST).iter().count() > 1 {
        let mut response = Refusal::malformed("the header Host must be sent once").into_response();
        headers::harden(response.headers_mut(), of_the_api);
        response.headers_mut().insert(REQUEST_ID, id);
        return response;
    }
    let notice = observer.versions.notice(request.headers());
    let client = observer.proxies.client(request.extensions(), request.headers());
    request.extensions_mut().insert(client);
    if let Some(known) = id.to_str().ok().and_then(|id| RequestId::try_from(id).ok()) {
        request.extensions_mut().insert(known);
    }
    let metrics = observer.metrics;
    let (method, route) = (request.method().clone(), request.extensions().get::<MatchedPath>().cloned());
    let mut watch = Watch { metrics, method, route, span: Span::none(), started: Instant::now(), answered: None };
    watch.span = tracing::info_span!(
        "request",
        method = %watch.method,
        route = watch.route(),
        request_id = id.to_str().unwrap_or_default(),
        status = field::Empty,
        latency_ms = field::Empty,
    );
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(watch.span.clone()).await;
    let mut response = answered.unwrap_or_else(|_| Refusal::panicked().into_response());
    watch.answered = Some(response.status());
    drop(watch);
    headers::harden(response.headers_mut(), of_the_api);
    versions::tell(response.headers_mut(), notice);
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The caller's own id, if it is one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let sane = |id: &&HeaderValue| id.to_str().is_ok_and(|id| RequestId::try_from(id).is_ok());
    headers.get(REQUEST_ID).filter(sane).cloned().unwrap_or_else(new_id)
}

/// A UUID that no other request has. Nobody is to be kept from guessing it, so only the process draws randomness.
fn new_id() -> HeaderValue {
    static PROCESS: LazyLock<[u8; 16]> = LazyLock::new(|| Uuid::new_v4().into_bytes());
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut bytes = *PROCESS;
    bytes[8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let mut text = Uuid::encode_buffer();
    let text = uuid::Builder::from_custom_bytes(bytes).into_uuid().hyphenated().encode_lower(&mut text);
    // A UUID is of letters, digits and hyphens.
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("none"))
}

/// Sees a request to its end, also when its future is dropped.
struct Watch {
    metrics: Arc<Metrics>,
    method: Method,
    route: Option<MatchedPath>,
    span: Span,
    started: Instant,
    answered: Option<StatusCode>,
}

impl Watch {
    fn route(&self) -> &str {
        self.route.as_ref().map_or("none", MatchedPath::as_str)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        self.metrics.answered(&self.method, self.route(), self.answered, took);
        if let Some(status) = self.answered {
            self.span.record("status", status.as_u16());
        }
        // Whole microseconds: what comes after them is noise.
        let latency = Duration::from_micros(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        self.span.record("latency_ms", latency.as_secs_f64() * 1_000.0);
        let outcome = if self.answered.is_some() { "answered" } else { "the caller hung up" };
        self.span.in_scope(|| tracing::info!("{outcome}"));
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, middleware::from_fn_with_state, routing::get};
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_problem_like_any_other() {
        async fn panic() {
            panic!("hunter2");
        }
        let observer =
            Observer { metrics: Arc::new(Metrics::new()), proxies: Arc::default(), versions: Arc::default() };
        let router = Router::new().route("/", get(panic)).layer(from_fn_with_state(observer, observe));
        let response = router.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert!(response.headers().contains_key(REQUEST_ID));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], "internal");
        assert!(!body.to_string().contains("hunter2"));
    }
}

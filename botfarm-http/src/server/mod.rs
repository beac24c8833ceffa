//! The service: a router over any farm.

mod audit;
pub mod auth;
mod docs;
mod drain;
mod extract;
mod health;
mod idempotency;
mod layers;
mod metrics;
mod openapi;
mod options;
mod private;
mod refusal;
mod resources;
mod routes;
mod serve;

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::Request, http::uri::PathAndQuery, middleware::from_fn_with_state};
use botfarm_core::{BotFarm, Ending, Error, Lease, LeaseRequest, Result, meant_by};
use tokio::{sync::SemaphorePermit, time::Instant};
use tower::ServiceExt as _;

pub use self::{
    idempotency::replay::ReplaySecret,
    layers::{
        cors::{NoOrigin, Origin},
        open::Hosts,
    },
    options::Options,
    serve::{serve, serve_with_notice},
};
use crate::server::{
    audit::Trail,
    auth::{Caller, Gate, Proxies},
    drain::{Drain, Stage},
    layers::{
        compression, cors,
        observe::{self, Observer},
        open,
        shares::{Key, RequestTurn, Share, Shares},
    },
    metrics::{counters::Metrics, metered::Metered},
    refusal::Refusal,
};

/// For how long a caller is believed to be one after it was let in.
const FRESH: Duration = Duration::from_secs(1);

/// Where the API begins.
const BASE: &str = "/api/v1";

/// What every handler needs. Cloned for each layer of each request, and so quickly.
#[derive(Debug, Clone)]
struct App {
    /// The farm as the caller may see it.
    farm: Arc<dyn BotFarm>,
    shared: Arc<Shared>,
    /// What the caller may have under way.
    share: Arc<Share>,
    /// The request's place among those that the caller has under way.
    turn: Option<RequestTurn>,
}

/// What is the same for all callers.
#[derive(Debug)]
struct Shared {
    options: Options,
    gate: Gate,
    metrics: Arc<Metrics>,
    /// The whole farm.
    metered: Arc<Metered>,
    shares: Shares,
    proxies: Arc<Proxies>,
    trail: Arc<Trail>,
}

impl App {
    fn new(farm: Arc<dyn BotFarm>, options: Options) -> Self {
        let gate = Gate::new(&options.auth);
        let metrics = Arc::new(Metrics::new());
        let metered = Arc::new(Metered::new(farm, metrics.clone()));
        let shares = Shares::new(&options);
        let share = shares.of(Key::Principal(None), "nobody");
        let proxies = Arc::new(Proxies::new(options.trusted_proxies.clone()));
        let trail = Arc::new(Trail::new(options.audit.clone()));
        let farm = metered.clone();
        let all = Shared { options, gate, metrics, metered, shares, proxies, trail };
        Self { farm, shared: Arc::new(all), share, turn: None }
    }

    /// The same, with the farm as the caller may see it; with a place among the caller's requests, unless it has one.
    fn seen_by(&self, caller: &Caller, turn: Option<RequestTurn>) -> Result<Self, Refusal> {
        let share = self.shared.shares.of(caller.share(), caller.name());
        let turn = turn.map_or_else(|| share.request(), Ok)?;
        Ok(Self { farm: caller.view(&self.farm), shared: self.shared.clone(), share, turn: Some(turn) })
    }

    /// Whether the caller may ask for this lease, beside what it has; if it wants to wait, with its place.
    fn admit(&self, request: &LeaseRequest) -> Result<Option<SemaphorePermit<'_>>, Refusal> {
        let most = self.share.most_leases();
        self.share.lease(self.shared.metered.in_force(request.terms.owner.as_ref(), request.id, most))?;
        if request.wait.is_zero() { Ok(None) } else { self.share.wait().map(Some) }
    }

    /// Leases bots. When the service is about to stop, whoever waits is sent away, to wait elsewhere.
    ///
    /// # Errors
    /// When the caller is no longer one: its token, operator or login was revoked while it waited. Else what the farm
    /// answers.
    async fn acquire(&self, caller: &Caller, request: LeaseRequest, drain: &Drain) -> Result<Result<Lease>, Refusal> {
        let (id, asked) = (request.id, Instant::now());
        let granted = tokio::select! {
            granted = self.wait(request, drain) => granted,
            refusal = self.shared.gate.revoked(caller) => return Err(refusal),
        };
        // Another replica may have revoked it since it was last asked about.
        if granted.is_ok()
            && asked.elapsed() > FRESH
            && let Err(refusal) = self.shared.gate.still(caller).await
        {
            // If that fails, the lease expires: nobody has been told its id.
            let _ = self.farm.release(id, Ending::clean()).await;
            return Err(refusal);
        }
        Ok(granted)
    }

    /// Of what no bot could match it says what may have been meant.
    async fn wait(&self, request: LeaseRequest, drain: &Drain) -> Result<Lease> {
        let selectors = request.selectors.clone();
        match self.granted(request, drain).await {
            Err(Error::NoMatch { selector, detail }) => {
                let meant = match selectors.get(selector) {
                    Some(selector) => meant_by(selector, &*self.farm).await,
                    None => None,
                };
                let detail = meant.map_or(detail.clone(), |meant| format!("{detail}; did you mean {meant}?"));
                Err(Error::NoMatch { selector, detail })
            }
            answer => answer,
        }
    }

    async fn granted(&self, request: LeaseRequest, drain: &Drain) -> Result<Lease> {
        let draining = || Error::Unavailable {
            detail: "the service is about to stop".to_owned(),
            retry_after: Duration::from_secs(1),
            source: None,
        };
        if request.wait.is_zero() {
            return self.farm.acquire(request).await;
        }
        if drain.has_started() {
            return match self.farm.acquire(request.wait(Duration::ZERO)).await {
                Err(Error::Exhausted(_) | Error::Busy(_)) => Err(draining()),
                answer => answer,
            };
        }
        tokio::select! {
            // A grant first: what is granted is not taken back.
            biased;
            granted = self.farm.acquire(request) => granted,
            () = drain.reaches(Stage::Draining) => Err(draining()),
        }
    }
}

/// The service as a function of its farm: everything under `/api/v1`, and `/health`, `/livez`, `/readyz`, `/metrics`.
///
/// [`serve`] runs it; a test may call it as the `tower::Service` that it is.
pub fn router(farm: Arc<dyn BotFarm>, options: Options) -> Router {
    let app = App::new(farm, options);
    let (routes, described) = routes::routes(&app);
    let mut service = routes
        .merge(compression::of_routes(docs::router(described)))
        .fallback(refusal::no_such_route)
        .method_not_allowed_fallback(refusal::method_not_allowed);
    let origins = &app.shared.options.cors_origins;
    if !origins.is_empty() {
        service = service.layer(cors::layer(origins));
    }
    if app.shared.gate.is_open() {
        service = service.layer(from_fn_with_state(app.clone(), open::refuse_strangers));
    }
    let service = service.layer(from_fn_with_state(app.clone(), audit::audit));
    let (metrics, proxies) = (app.shared.metrics.clone(), app.shared.proxies.clone());
    let observer = Observer { metrics, proxies, versions: Arc::default() };
    let service = service.layer(from_fn_with_state(observer, observe::observe)).with_state(app);
    // What matches no route has a second try, without the slash.
    service.clone().fallback_service(service.map_request(without_trailing_slash))
}

/// `/users/` is `/users`.
fn without_trailing_slash(mut request: Request) -> Request {
    let uri = request.uri();
    let path = uri.path();
    let trimmed = path.trim_end_matches('/');
    if trimmed.len() == path.len() || trimmed.is_empty() {
        return request;
    }
    let trimmed = match uri.query() {
        Some(query) => format!("{trimmed}?{query}"),
        None => trimmed.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(trimmed).ok();
    if let Ok(uri) = http::Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

#[cfg(test)]
mod tests {
    use axum::{
        Extension,
        body::Body,
        http::{StatusCode, header},
    };
    use botfarm_core::{Env, NewBot, ProjectId, Selector};
    use botfarm_memory::MemoryFarm;

    use super::*;

    async fn status(router: &Router, method: &str, path: &str, body: &'static str) -> StatusCode {
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
        router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap().status()
    }

    #[tokio::test]
    async fn a_service_that_drains_keeps_nobody_waiting() {
        let bot =
            |login: &str| NewBot::new(login.parse().unwrap(), "x".try_into().unwrap(), ProjectId::new(), Env::STAGE);
        let farm = Arc::new(MemoryFarm::with_bots([bot("ada"), bot("bob")]).unwrap());
        let lease = farm.acquire(LeaseRequest::new("me".parse().unwrap(), Selector::any())).await.unwrap();
        let (start, drain) = Drain::channel();
        let router = router(farm, Options::default()).layer(Extension(drain));
        let renew = format!("{BASE}/leases/{}/renew", lease.id.as_uuid());
        assert_eq!(status(&router, "GET", "/readyz", "").await, StatusCode::OK);

        start.send_replace(Stage::Draining);
        let (at_once, patiently) = (r#"{"users": [{}]}"#, r#"{"users": [{}], "wait_seconds": 300}"#);
        assert_eq!(status(&router, "GET", "/readyz", "").await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(&router, "POST", "/api/v1/leases", patiently).await, StatusCode::CREATED);
        assert_eq!(status(&router, "POST", "/api/v1/leases", patiently).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(&router, "POST", "/api/v1/leases", at_once).await, StatusCode::CONFLICT);
        assert_eq!(status(&router, "GET", "/health", "").await, StatusCode::OK);
        assert_eq!(status(&router, "POST", &renew, "").await, StatusCode::OK);
        let release = format!("{BASE}/leases/{}", lease.id.as_uuid());
        assert_eq!(status(&router, "DELETE", &release, "").await, StatusCode::NO_CONTENT);
    }
}

//! What goes into the audit trail.
//!
//! One entry for each request that has written something, for each look at a password that somebody was not just given,
//! for each login, and for those who were refused, counted. A hand-out, its renewals by whom it was given to, and its end
//! are in the history. What a request is about, its handler says; who has sent it, whoever lets it in.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    extract::{MatchedPath, OriginalUri, Request, State},
    http::{Extensions, Method, StatusCode},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use botfarm_core::{
    Holder, Lease, LeaseId, Origin, Owner,
    audit::{Act, Audit, AuditEntry, AuditFilter},
};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    server::{
        App, BASE,
        auth::{Admin, Client},
        extract::{input::Query, list},
        refusal::{Refusal, Refused, explained},
    },
    wire::{AuditRow, Code, Time},
};

/// So often are refusals written down that were counted meanwhile.
const MINUTE: Duration = Duration::from_mins(1);
/// So many kinds of refusals are told apart within a minute.
const APART: usize = 100;
/// So many renewals by others than the owner are remembered, so that each is recorded once.
const RENEWALS: usize = 10_000;

/// What those who handle a request say of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Witness(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    principal: Option<Owner>,
    name: Option<Holder>,
    objects: Vec<String>,
    changes_nothing: bool,
    has_guessed: bool,
}

impl Witness {
    /// That of a request, if there is one.
    pub(super) fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    /// This principal has sent it.
    pub(super) fn is(&self, principal: Option<Owner>, name: Holder) {
        let mut said = self.said();
        // Whoever calls a service that asks nobody has no name of their own.
        said.name = principal.is_some().then_some(name);
        said.principal = principal;
    }

    /// It is about this.
    pub(super) fn about(&self, kind: &str, id: impl std::fmt::Display) {
        self.said().objects.push(format!("{kind} {id}"));
    }

    /// It has shown the passwords of a lease.
    pub(super) fn shows(&self, lease: &Lease) {
        for leased in &lease.bots {
            self.about("user", leased.bot.id);
        }
    }

    /// It has changed nothing, whatever it is for: it was asked what it would change, or has been done before.
    pub(super) fn changes_nothing(&self) {
        self.said().changes_nothing = true;
    }

    /// It has come with a password that is wrong, or with one too many.
    pub(super) fn has_guessed(&self) {
        self.said().has_guessed = true;
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The trail, and what is not in it yet.
#[derive(Debug)]
pub(super) struct Trail {
    audit: Arc<dyn Audit>,
    refusals: Mutex<HashMap<Refusals, Act>>,
    renewals: Mutex<HashSet<(LeaseId, Option<Owner>)>>,
}

/// Refusals that are counted together: of a principal, or of an address; about an operator, where that is known.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Refusals(Option<Owner>, Option<IpAddr>, Option<String>, Arc<str>);

impl Trail {
    pub(super) fn new(audit: Arc<dyn Audit>) -> Self {
        Self { audit, refusals: Mutex::default(), renewals: Mutex::default() }
    }

    /// Whether it is the first time that somebody renews this lease of somebody else.
    pub(super) fn is_first_renewal(&self, id: LeaseId, by: Option<Owner>) -> bool {
        let mut renewals = self.renewals.lock().unwrap_or_else(PoisonError::into_inner);
        if renewals.len() >= RENEWALS {
            renewals.clear();
        }
        renewals.insert((id, by))
    }

    /// Records what has been done. What has been done stays done, whether it can be recorded or not.
    async fn record(&self, acts: Vec<Act>) {
        for act in &acts {
            tracing::info!(
                target: "botfarm::audit",
                principal = act.principal.as_deref(),
                name = act.name.as_deref(),
                action = act.action.as_str(),
                object = act.object.as_deref(),
                address = act.origin.address.map(tracing::field::display),
                request = act.origin.request.as_deref(),
                result = act.result.as_str(),
                count = act.count,
                "audit"
            );
        }
        if let Err(error) = self.audit.record(acts).await {
            tracing::error!(cause = explained(&error), "what was done could not be recorded in the audit trail");
        }
    }

    /// Counts a refusal. It is written down within a minute.
    fn count(self: &Arc<Self>, refusals: Refusals, act: Act) {
        let mut counted = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.is_empty() {
            let trail = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(MINUTE).await;
                trail.flush().await;
            });
        }
        let (refusals, act) = if counted.len() < APART || counted.contains_key(&refusals) {
            (refusals, act)
        } else {
            // Of everybody else together.
            let act = Act { principal: None, name: None, object: None, origin: Origin::default(), ..act };
            (Refusals(None, None, None, Arc::from("others")), act)
        };
        counted.entry(refusals).and_modify(|first| first.count = first.count.saturating_add(1)).or_insert(act);
    }

    /// Writes down the refusals that were counted.
    async fn flush(&self) {
        let counted = std::mem::take(&mut *self.refusals.lock().unwrap_or_else(PoisonError::into_inner));
        if !counted.is_empty() {
            let mut acts: Vec<_> = counted.into_values().collect();
            acts.sort_by_key(|act| act.id);
            self.record(acts).await;
        }
    }
}

/// What a request asks for, as far as the trail goes.
struct Asked {
    method: Method,
    route: String,
    /// What the path names, but for leases, whose ids are secrets.
    object: Option<String>,
    origin: Origin,
}

impl Asked {
    fn of(request: &Request) -> Option<Self> {
        let route = request.extensions().get::<MatchedPath>()?.as_str().strip_prefix(BASE)?.to_owned();
        let mut path = request.uri().path().strip_prefix(BASE)?.split('/').skip(1);
        let (kind, id) = (path.next(), path.next().and_then(|id| id.parse::<Uuid>().ok()));
        let object = match (kind?, id) {
            ("users", Some(id)) => Some(format!("user {id}")),
            ("operators", Some(id)) => Some(format!("operator {id}")),
            ("tokens", Some(id)) => Some(format!("token {id}")),
            _ => None,
        };
        let Client(address) = request.extensions().get().copied().unwrap_or_default();
        let origin = Origin { address, request: request.extensions().get().cloned() };
        Some(Self { method: request.method().clone(), route, object, origin })
    }

    /// Whether its success is told by the history, unless its handler says more.
    fn is_in_the_history(&self) -> bool {
        const LOCKS: [&str; 3] = ["/users/{id}/acquire", "/users/{id}/acquire_lock", "/users/{id}/lock"];
        const RELEASES: [&str; 2] = ["/users/{id}/release", "/users/{id}/release_lock"];
        let route = self.route.as_str();
        route.starts_with("/leases") || LOCKS.contains(&route) || RELEASES.contains(&route)
    }

    fn writes(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }

    fn logs_in(&self) -> bool {
        self.route == "/login"
    }

    /// Whether it is seen to its end though its caller hangs up: what is done has to be recorded. A lease that nobody
    /// waits for any more is undone, and so is a login that nobody hears of.
    fn is_seen_through(&self) -> bool {
        self.writes() && !self.is_in_the_history() && !self.logs_in()
    }

    fn act(self, said: &Said, result: &str) -> Option<Act> {
        // A method and a route are short, and so is a code.
        let action = format!("{} {}", self.method, self.route).parse().ok()?;
        let act = Act::new(action, result.parse().ok()?);
        Some(Act { principal: said.principal.clone(), name: said.name.clone(), origin: self.origin, ..act })
    }
}

/// Records what a request has done, before it is answered.
pub(super) async fn audit(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let Some(asked) = Asked::of(&request) else { return next.run(request).await };
    let (witness, trail) = (Witness::default(), app.shared.trail.clone());
    request.extensions_mut().insert(witness.clone());
    let is_seen_through = asked.is_seen_through();
    let work = async move {
        let response = next.run(request).await;
        let said = std::mem::take(&mut *witness.said());
        let refused = response.extensions().get::<Refused>().cloned();
        note(&trail, asked, said, response.status(), refused).await;
        response
    };
    if !is_seen_through {
        return work.await;
    }
    match tokio::spawn(work.in_current_span()).await {
        Ok(response) => response,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Refusal::panicked().into_response(),
        },
    }
}

async fn note(trail: &Arc<Trail>, asked: Asked, said: Said, status: StatusCode, refused: Option<Refused>) {
    let unrefused = if said.has_guessed { "invalid" } else { "done" };
    let result = refused.map_or_else(|| Arc::from(unrefused), |Refused(code)| code);
    let is_refused = said.has_guessed || matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    if is_refused || asked.logs_in() && status == StatusCode::TOO_MANY_REQUESTS {
        let address = Client::network(Client(asked.origin.address)).filter(|_| said.principal.is_none());
        let object = said.objects.first().cloned();
        let refusals = Refusals(said.principal.clone(), address, object.clone(), result.clone());
        if let Some(act) = asked.act(&said, &result) {
            trail.count(refusals, Act { object: object.and_then(|object| object.parse().ok()), ..act });
        }
        return;
    }
    let is_told = !said.objects.is_empty() || asked.writes() && !asked.is_in_the_history();
    // When a write fails within, nobody knows whether it was made.
    let is_done = status.is_success() || asked.writes() && !asked.is_in_the_history() && status.is_server_error();
    if said.changes_nothing || !is_told || !is_done {
        return;
    }
    let mut objects: Vec<_> = said.objects.iter().filter_map(|object| object.parse().ok()).map(Some).collect();
    if objects.is_empty() {
        objects.push(asked.object.as_deref().and_then(|object| object.parse().ok()));
    }
    let Some(act) = asked.act(&said, &result) else { return };
    let again = || Act::new(act.action.clone(), act.result.clone()).id;
    let acts = objects.into_iter().map(|object| Act { id: again(), object, ..act.clone() }).collect();
    trail.record(acts).await;
}

/// `GET /audit`.
pub(super) async fn list(
    Admin(app, caller): Admin,
    uri: OriginalUri,
    Query(mut query): Query,
) -> Result<Response, Refusal> {
    if !caller.is_auditor() {
        let detail = "a token that is confined to a project or an env does not read the audit trail";
        return Err(Refusal::new(Code::Forbidden, detail));
    }
    let page = list::page(&mut query).unwrap_or_default();
    let filter = AuditFilter {
        principal: query.optional("principal"),
        action: query.optional("action"),
        object: query.optional("object"),
        since: query.optional("since").map(|Time(since)| since),
    };
    let filter = query.finish(filter)?;
    let turn = app.share.page().await?;
    app.shared.trail.flush().await;
    Ok(list::one_page::<AuditEntry, AuditRow>(&uri, app.shared.trail.audit.recorded(&filter, &page).await?, turn))
}

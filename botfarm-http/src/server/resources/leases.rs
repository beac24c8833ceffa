//! `/leases`: leasing, renewing, giving back.

use std::time::Duration;

use axum::{
    extract::OriginalUri,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Response},
};
use botfarm_core::{Ending, Faults, LeaseId, LeaseRequest, Selector, Terms, input::Fields, nearest};
use serde_json::Value;

use crate::{
    server::{
        App, BASE, Options,
        auth::{Caller, Tester, Viewer},
        drain::Drain,
        extract::{
            input::{Id, Json as JsonBody, OptionalJson, Query, QueryOrJson},
            list,
            prefer::Prefer,
        },
        idempotency::replay,
        private::Private,
        refusal::Refusal,
    },
    wire::{ActiveLease, Lease, Seconds},
};

/// How many selectors one request may have.
const MOST: usize = 32;

pub(crate) async fn acquire(
    Tester(app, caller): Tester,
    headers: HeaderMap,
    prefer: Prefer,
    drain: Drain,
    JsonBody(mut body): JsonBody,
) -> Response {
    let applied = prefer.fill(&mut body, app.shared.options.max_wait);
    applied.acknowledge(grant(&app, &caller, &headers, &drain, body).await)
}

async fn grant(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    drain: &Drain,
    body: Value,
) -> Result<impl IntoResponse + use<>, Refusal> {
    let mut fields = Fields::of(body, "");
    let selectors = selectors(&mut fields);
    let id: Option<LeaseId> = fields.optional("id");
    // What a program has that forgot to make one, as others have that forgot it, too.
    if id.is_some_and(|id| id.as_uuid().is_nil() || id.as_uuid().is_max()) {
        fields.fault("id", "must be a random UUID: who knows it has the lease");
    }
    let key = idempotency_key(headers, &mut fields);
    if id.is_some() && key.is_some() {
        fields.fault("id", "must not go with the header Idempotency-Key: either names the lease");
    }
    let id = match (id, key) {
        (Some(id), _) => id,
        (None, Some(key)) => app.shared.options.replay_secret.lease_id(caller.key_space(), key),
        (None, None) => LeaseId::new(),
    };
    let request = LeaseRequest {
        sticky: fields.optional("sticky"),
        avoid: fields.optional("avoid").unwrap_or_default(),
        ..request(&mut fields, id, selectors, &app.shared.options, caller)
    };
    let mut request = fields.finish(request)?;
    if key.is_some() {
        request.fingerprint = Some(replay::fingerprint(&request)?);
    }
    let _place = app.admit(&request)?;
    let lease = app.acquire(caller, request, drain).await??;
    // Asked for again by somebody else, who knows its id.
    if !app.shared.metered.is_owned(lease.id, caller.owner().as_ref()) {
        caller.witness().shows(&lease);
    }
    let lease = Lease::from(lease);
    let location = (header::LOCATION, format!("{BASE}/leases/{}", lease.id.as_uuid()));
    Ok((StatusCode::CREATED, AppendHeaders([location]), Private(lease)))
}

/// Reads what every request for a lease may have.
pub(crate) fn request(
    fields: &mut Fields,
    id: LeaseId,
    selectors: Vec<Selector>,
    options: &Options,
    caller: &Caller,
) -> LeaseRequest {
    let wait: Option<Seconds> = fields.optional("wait_seconds");
    LeaseRequest {
        id,
        selectors,
        terms: terms(fields, caller).into(),
        ttl: fields.optional("ttl_seconds").map(|Seconds(ttl)| ttl),
        wait: wait.map_or(Duration::ZERO, |Seconds(wait)| wait.min(options.max_wait)),
        sticky: None,
        avoid: Vec::new(),
        fingerprint: None,
    }
}

fn terms(fields: &mut Fields, caller: &Caller) -> Terms {
    let mut terms = Terms::new(fields.optional("holder").unwrap_or_else(|| caller.name()));
    (terms.owner, terms.origin) = (caller.owner(), caller.origin());
    terms.run = fields.optional("run");
    terms.note = fields.optional("note");
    terms.url = fields.optional("url");
    terms
}

fn selectors(fields: &mut Fields) -> Vec<Selector> {
    let values: Vec<Value> = fields.required("users").unwrap_or_default();
    // Not looked at one by one: there may be hundreds of thousands.
    if values.len() > MOST {
        fields.fault("users", format!("must be 1 to {MOST} selectors, are {}", values.len()));
        return Vec::new();
    }
    let (mut selectors, mut faults) = (Vec::with_capacity(values.len()), Faults::default());
    for (index, value) in values.into_iter().enumerate() {
        match selector(value, &format!("/users/{index}")) {
            Ok(selector) => selectors.push(selector),
            Err(more) => faults.append(more),
        }
    }
    fields.faults(faults);
    selectors
}

fn selector(value: Value, at: &str) -> Result<Selector, Faults> {
    let mut fields = Fields::of(value, at);
    let selector = Selector {
        alias: fields.optional("as"),
        id: fields.optional("id"),
        login: fields.optional("login"),
        project: fields.optional("project_id"),
        env: fields.optional("env"),
        domain: fields.optional("domain"),
        labels: fields.optional("labels").unwrap_or_default(),
        condition: fields.optional("condition").unwrap_or_default(),
    };
    fields.finish(selector)
}

/// The header, if it is there and sane.
fn idempotency_key<'h>(headers: &'h HeaderMap, fields: &mut Fields) -> Option<&'h str> {
    const NAME: &str = "Idempotency-Key";
    let mut values = headers.get_all(NAME).iter();
    let Some(key) = values.next() else {
        // Passed over, it would let a request that is sent again take a second user.
        let meant = |name: &HeaderName| nearest(name.as_str().trim_start_matches("x-"), [NAME]).is_some();
        if let Some(name) = headers.keys().find(|name| meant(name)) {
            fields.fault(name.as_str(), format!("is no header of this call; did you mean {NAME}?"));
        }
        return None;
    };
    if values.next().is_some() {
        fields.fault(NAME, "must be sent once");
    }
    let key = std::str::from_utf8(key.as_bytes()).ok().filter(|key| (1..=255).contains(&key.chars().count()));
    if key.is_none() {
        fields.fault(NAME, "must have 1 to 255 characters of UTF-8");
    }
    key
}

pub(crate) async fn lookup(Tester(app, caller): Tester, Id(id): Id<LeaseId>) -> Result<Private<Lease>, Refusal> {
    let lease = app.farm.lookup(id).await?;
    caller.witness().shows(&lease);
    Ok(Private(Lease::from(lease)))
}

pub(crate) async fn renew(
    Tester(app, caller): Tester,
    Id(id): Id<LeaseId>,
    OptionalJson(body): OptionalJson,
) -> Result<Private<Lease>, Refusal> {
    let mut fields = Fields::of(body, "");
    let ttl: Option<Seconds> = fields.optional("ttl_seconds");
    let ttl = fields.finish(ttl)?.map(|Seconds(ttl)| ttl);
    let lease = app.farm.renew(id, ttl).await?;
    // Whoever was given it is not shown anything new.
    let owner = caller.owner();
    if !app.shared.metered.is_owned(id, owner.as_ref()) && app.shared.trail.is_first_renewal(id, owner) {
        caller.witness().shows(&lease);
    }
    Ok(Private(Lease::from(lease)))
}

pub(crate) async fn release(
    Tester(app, _): Tester,
    Id(id): Id<LeaseId>,
    QueryOrJson(mut fields): QueryOrJson,
) -> Result<StatusCode, Refusal> {
    let ending = Ending { outcome: fields.optional("outcome").unwrap_or_default(), note: fields.optional("note") };
    app.farm.release(id, fields.finish(ending)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn list(
    Viewer(app, _): Viewer,
    uri: OriginalUri,
    Query(mut query): Query,
) -> Result<Response, Refusal> {
    let page = list::page(&mut query);
    query.finish(())?;
    let Some(page) = page else {
        return list::all::<_, ActiveLease, _, _>(&app.share.clone(), move |page| {
            let app = app.clone();
            async move { app.farm.leases(&page).await }
        })
        .await;
    };
    let turn = app.share.page().await?;
    Ok(list::one_page::<_, ActiveLease>(&uri, app.farm.leases(&page).await?, turn))
}

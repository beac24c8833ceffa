//! `/leases`: leasing, renewing, giving back.

use axum::{
    extract::OriginalUri,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Response},
};
use botfarm_core::{Ending, LeaseId, LeaseRequest, Location, Selector, Terms, nearest};
use serde_json::Value;

use crate::{
    fields::{Fields, Read as _},
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
    wire::{self, ActiveLease, Lease, Renewal, Seconds},
};

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
    let mut fields = Fields::of(body, Location::whole());
    let id: Option<LeaseId> = fields.peek("id");
    let asked = wire::LeaseRequest::take(&mut fields);
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
    let mut request = request(fields.finish_all(asked)?, id, &app.shared.options, caller);
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

/// What the farm is asked for, under the lease id `id`.
pub(crate) fn request(asked: wire::LeaseRequest, id: LeaseId, options: &Options, caller: &Caller) -> LeaseRequest {
    let wire::LeaseRequest { users, id: _, ttl_seconds, wait_seconds, holder, run, note, url, sticky, avoid } = asked;
    let mut terms = Terms::new(holder.unwrap_or_else(|| caller.name()));
    (terms.owner, terms.origin) = (caller.owner(), caller.origin());
    (terms.run, terms.note, terms.url) = (run, note, url);
    LeaseRequest {
        id,
        selectors: users.into_iter().map(Selector::from).collect(),
        terms: terms.into(),
        ttl: ttl_seconds.map(|Seconds(ttl)| ttl),
        wait: wait_seconds.0.min(options.max_wait),
        sticky,
        avoid,
        fingerprint: None,
    }
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
    let Renewal { ttl_seconds } = Renewal::read(body, Location::whole())?;
    let ttl = ttl_seconds.map(|Seconds(ttl)| ttl);
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

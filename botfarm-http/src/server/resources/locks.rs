//! Lock by id: what existing bot-farm clients call.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use botfarm_core::{BotId, BotRelease, Ending, Error, LeaseId, Location, Revocation};
use serde_json::Value;

use crate::{
    fields::Read as _,
    server::{
        App,
        auth::{Admin, Caller, Tester},
        drain::Drain,
        extract::{
            input::{Id, Json as JsonBody, OptionalJson, QueryOrJson},
            prefer::Prefer,
        },
        private::Private,
        refusal::Refusal,
        resources::leases,
    },
    wire::{Lease, LockRequest, Locked, Message, RevokeRequest, Unlocked, UserRelease},
};

pub(crate) async fn acquire(
    Tester(app, caller): Tester,
    Id(id): Id<BotId>,
    prefer: Prefer,
    drain: Drain,
    OptionalJson(mut body): OptionalJson,
) -> Response {
    let applied = prefer.fill(&mut body, app.shared.options.max_wait);
    applied.acknowledge(grant(&app, &caller, id, &drain, body).await)
}

async fn grant(
    app: &App,
    caller: &Caller,
    id: BotId,
    drain: &Drain,
    body: Value,
) -> Result<impl IntoResponse + use<>, Refusal> {
    let asked = LockRequest::read(body, Location::whole())?.of(id);
    let request = leases::request(asked, LeaseId::new(), &app.shared.options, caller);
    let _place = app.admit(&request)?;
    let lease = app.acquire(caller, request, drain).await?.map_err(|error| match error {
        // What could never match is a bot that is not there.
        Error::NoMatch { .. } => Error::NoSuchBot { id },
        error => error,
    })?;
    let message = format!("User {id} is yours; renew or release the lease by its lease_id.");
    let Lease { id: lease_id, terms } = lease.into();
    Ok(Private(Locked { message, id, user_id: id, lease_id, locktime: terms.acquired_at, terms }))
}

pub(crate) async fn release(
    Tester(app, caller): Tester,
    Id(id): Id<BotId>,
    QueryOrJson(mut fields): QueryOrJson,
) -> Result<Json<Unlocked>, Refusal> {
    let asked = UserRelease::take(&mut fields);
    let UserRelease { outcome, note, lease_id: lease, holder, force } = fields.finish_all(asked)?;
    let may_release_all = force && !caller.is_known() || caller.is_admin();
    // Who names nobody means a lease of their own: by now the user may be somebody else's.
    let own = (lease.is_none() && !may_release_all).then(|| caller.name());
    let ending = Ending { outcome, note };
    let release = BotRelease { ending, lease, holder: holder.or(own), owner: caller.releases() };
    app.farm.release_bot(id, release).await?;
    if caller.is_admin() {
        // It may have been somebody else's.
        caller.witness().about("user", id);
    }
    let message = format!("User {id} is released.");
    Ok(Json(Unlocked { message, id, user_id: id, locktime: None }))
}

pub(crate) async fn revoke(
    Admin(app, caller): Admin,
    Id(id): Id<BotId>,
    JsonBody(body): JsonBody,
) -> Result<Json<Message>, Refusal> {
    let RevokeRequest { reason, by } = RevokeRequest::read(body, Location::whole())?;
    // The history is to be trusted: whoever is known does not choose a name.
    let by = by.filter(|_| !caller.is_known()).unwrap_or_else(|| caller.name());
    let revocation = Revocation::new(reason, by);
    app.farm.revoke(id, revocation).await?;
    Ok(Json(Message { message: format!("Whatever lease held user {id} is revoked.") }))
}

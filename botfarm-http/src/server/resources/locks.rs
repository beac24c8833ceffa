//! Lock by id: what existing bot-farm clients call.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use botfarm_core::{BotId, BotRelease, Ending, Error, LeaseId, Revocation, Selector, input::Fields};
use serde_json::Value;

use crate::{
    server::{
        App,
        auth::{Admin, Caller, Tester},
        drain::Drain,
        extract::{
            input::{self, Id, Json as JsonBody, OptionalJson, QueryOrJson},
            prefer::Prefer,
        },
        private::Private,
        refusal::Refusal,
        resources::leases,
    },
    wire::{Lease, Locked, Message, Unlocked},
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
    let mut fields = Fields::of(body, "");
    let request = leases::request(&mut fields, LeaseId::new(), vec![Selector::bot(id)], &app.shared.options, caller);
    let request = fields.finish(request)?;
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
    let ending = Ending { outcome: fields.optional("outcome").unwrap_or_default(), note: fields.optional("note") };
    let (lease, holder) = (fields.optional("lease_id"), fields.optional("holder"));
    let may_release_all = input::flag(&mut fields, "force") && !caller.is_known() || caller.is_admin();
    // Who names nobody means a lease of their own: by now the user may be somebody else's.
    let own = (lease.is_none() && !may_release_all).then(|| caller.name());
    let release = BotRelease { ending, lease, holder: holder.or(own), owner: caller.releases() };
    app.farm.release_bot(id, fields.finish(release)?).await?;
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
    let mut fields = Fields::of(body, "");
    // The history is to be trusted: whoever is known does not choose a name.
    let by = fields.optional("by").filter(|_| !caller.is_known()).unwrap_or_else(|| caller.name());
    let revocation = fields.required("reason").map(|reason| Revocation::new(reason, by));
    // There is a reason when there was no fault.
    let revocation = fields.finish(revocation)?.ok_or_else(|| Refusal::malformed("the body must be an object"))?;
    app.farm.revoke(id, revocation).await?;
    Ok(Json(Message { message: format!("Whatever lease held user {id} is revoked.") }))
}

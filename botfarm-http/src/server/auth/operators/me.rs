//! `/operators/me`: what an operator does about its own login.

use axum::{http::request::Parts, response::IntoResponse};
use botfarm_core::{Error, Field, Location, operators::PasswordHash};

use crate::{
    fields::Read as _,
    server::{
        auth::{
            caller::Viewer,
            gate::now,
            login::{
                device::DeviceId,
                handlers::{begun, over},
            },
        },
        extract::input::Json as JsonBody,
        refusal::Refusal,
    },
    wire::{Password, PasswordChange},
};

/// Ends all sessions of the operator but the one that it goes on with, which begins with this.
pub(crate) async fn change_password(
    Viewer(app, caller): Viewer,
    parts: Parts,
    JsonBody(body): JsonBody,
) -> Result<impl IntoResponse, Refusal> {
    let guard = app.shared.gate.guard()?;
    let (session, login) = caller.session("an API token has no password; log in as the operator whose it is to be")?;
    let PasswordChange { old: Password(old), new: Password(new) } = PasswordChange::read(body, Location::whole())?;
    // Before the old one is looked at: what would be refused anyhow tells nothing of it.
    PasswordHash::check(login, &new).map_err(at_new)?;
    if old == new {
        return Err(Error::invalid(Field::other("new"), "must not be the old one").into());
    }
    let client = parts.extensions.get().copied().unwrap_or_default();
    let device = DeviceId::of(&guard.required, &parts.headers, login, now());
    let wrong = || Error::invalid(Field::other("old"), "is not your password");
    let (_, kept) = guard.prove(client, device, login, old, caller.witness()).await?.ok_or_else(wrong)?;
    let hash = guard.hash(login, new).await?;
    // Unless somebody else has changed it meanwhile.
    let changed = guard.required.operators.set_password(session.operator, Some(kept), hash).await?.ok_or_else(wrong)?;
    guard.standings.revoked();
    tracing::info!(operator = %session.operator, "changed its password, which has ended its other sessions");
    begun(guard, &changed, device)
}

pub(crate) async fn end_sessions(Viewer(app, caller): Viewer) -> Result<impl IntoResponse, Refusal> {
    let guard = app.shared.gate.guard()?;
    let (session, _) = caller.session("an API token has no sessions; an admin revokes it with DELETE /tokens/{id}")?;
    guard.required.operators.end_sessions(session.operator).await?;
    guard.standings.revoked();
    tracing::info!(operator = %session.operator, "ended all of its sessions");
    Ok(over(guard))
}

/// The field has another name here.
fn at_new(error: Error) -> Error {
    match error {
        Error::Invalid { faults } => {
            let why = faults.into_iter().map(|fault| fault.detail).collect::<Vec<_>>().join("; ");
            Error::invalid(Field::other("new"), why)
        }
        error => error,
    }
}

//! `/tokens`: the credentials of programs.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use botfarm_core::{
    BotFarmExt as _, Error, Location, Note, Revocation,
    operators::{self, Scope, TokenId},
};
use uuid::Uuid;

use crate::{
    fields::{Fields, Read as _},
    server::{
        auth::{caller::Admin, gate::now, operators::api_token::ApiToken},
        extract::input::{Id, Json as JsonBody, Query},
        private::Private,
        refusal::Refusal,
    },
    wire::{Code, EndedLeases, IssuedToken, NewToken, Password, Token},
};

pub(crate) async fn list(Admin(app, caller): Admin) -> Result<Json<Vec<Token>>, Refusal> {
    let guard = app.shared.gate.unconfined(&caller)?;
    let tokens = guard.required.operators.tokens().await?;
    Ok(Json(tokens.into_iter().map(Token::from).collect()))
}

pub(crate) async fn add(Admin(app, caller): Admin, JsonBody(body): JsonBody) -> Result<impl IntoResponse, Refusal> {
    let guard = app.shared.gate.unconfined(&caller)?;
    let mut fields = Fields::of(body, Location::whole());
    let expires_at = NewToken::end(fields.peek("expires_at"), now());
    let new = NewToken::take(&mut fields);
    if expires_at.is_some_and(|at| at <= now()) {
        fields.fault("expires_at", "must be in the future");
    }
    let NewToken { name, role, project_id, env, expires_at: _ } = fields.finish_all(new)?;
    let scope = Scope { project: project_id, env };
    let secret = ApiToken::generate()?;
    let new = operators::NewToken { name, role, scope, expires_at, digest: secret.digest() };
    let token = guard.required.operators.add_token(new).await?;
    caller.witness().about("token", token.id);
    tracing::info!(by = %caller.name(), token = %token.id, %role, "made an API token");
    let issued = IssuedToken { token: token.into(), secret: Password(secret.secret().clone()) };
    Ok((StatusCode::CREATED, Private(issued)))
}

pub(crate) async fn remove(
    Admin(app, caller): Admin,
    Id(id): Id<Uuid>,
    Query(mut query): Query,
) -> Result<Response, Refusal> {
    let guard = app.shared.gate.unconfined(&caller)?;
    let ends_leases = query.flag("end_leases");
    query.finish(())?;
    let id = TokenId(id);
    // First the token: what leases no more gets nothing that escapes.
    let was_there = guard.required.operators.remove_token(id).await?;
    if was_there {
        guard.standings.revoked();
        tracing::info!(by = %caller.name(), token = %id, "revoked an API token");
    }
    let mut ended = 0;
    if ends_leases {
        let reason = Note::try_from("the API token that leased it was revoked").map_err(Error::backend)?;
        ended = app.farm.revoke_all_of(&id.owner(), Revocation::new(reason, caller.name())).await?;
        tracing::info!(by = %caller.name(), token = %id, ended, "ended the leases of an API token");
    }
    // Whoever asks again, since the first try has ended half of the leases or its answer was lost, is served, too.
    if !was_there && ended == 0 {
        return Err(Refusal::new(Code::NoSuchToken, format!("there is no API token {id}")));
    }
    Ok(if ends_leases { Json(EndedLeases { ended }).into_response() } else { StatusCode::NO_CONTENT.into_response() })
}

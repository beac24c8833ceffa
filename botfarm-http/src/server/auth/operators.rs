//! `/operators`: who logs in.

pub(crate) mod api_token;
pub(crate) mod me;
pub(crate) mod tokens;

use axum::{Json, http::StatusCode};
use botfarm_core::{
    Login, Secret,
    input::Fields,
    operators::{OperatorId, Role},
};
use uuid::Uuid;

use crate::{
    server::{
        auth::caller::Admin,
        extract::input::{Id, Json as JsonBody},
        refusal::Refusal,
    },
    wire::{Code, Operator},
};

pub(crate) async fn list(Admin(app, caller): Admin) -> Result<Json<Vec<Operator>>, Refusal> {
    let guard = app.shared.gate.unconfined(&caller)?;
    let operators = guard.required.operators.operators().await?;
    Ok(Json(operators.into_iter().map(Operator::from).collect()))
}

pub(crate) async fn add(
    Admin(app, caller): Admin,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<Operator>), Refusal> {
    let guard = app.shared.gate.unconfined(&caller)?;
    let mut fields = Fields::of(body, "");
    let login: Option<Login> = fields.required("login");
    let password: Option<Secret> = fields.required("password");
    let role: Option<Role> = fields.required("role");
    let given = (|| Some((login?, password?, role?)))();
    // Whatever is required is there when there was no fault.
    let (login, password, role) = fields.finish(given)?.ok_or_else(|| Refusal::malformed("the body is incomplete"))?;
    let hash = guard.hash(&login, password).await?;
    let operator = guard.required.operators.add_operator(login, hash, role).await?;
    caller.witness().about("operator", operator.id);
    tracing::info!(by = %caller.name(), operator = %operator.id, %role, "added an operator");
    Ok((StatusCode::CREATED, Json(operator.into())))
}

pub(crate) async fn remove(Admin(app, caller): Admin, Id(id): Id<Uuid>) -> Result<StatusCode, Refusal> {
    let guard = app.shared.gate.unconfined(&caller)?;
    if !guard.required.operators.remove_operator(OperatorId(id)).await? {
        return Err(Refusal::new(Code::NoSuchOperator, format!("there is no operator {id}")));
    }
    guard.standings.revoked();
    tracing::info!(by = %caller.name(), operator = %id, "removed an operator");
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn reset_password(
    Admin(app, caller): Admin,
    Id(id): Id<Uuid>,
    JsonBody(body): JsonBody,
) -> Result<StatusCode, Refusal> {
    let guard = app.shared.gate.unconfined(&caller)?;
    let mut fields = Fields::of(body, "");
    let password: Option<Secret> = fields.required("password");
    let password = fields.finish(password)?.ok_or_else(|| Refusal::malformed("the body is incomplete"))?;
    let nobody = || Refusal::new(Code::NoSuchOperator, format!("there is no operator {id}"));
    let operators = &guard.required.operators;
    let all = operators.operators().await?;
    let operator = all.into_iter().find(|operator| operator.id == OperatorId(id)).ok_or_else(nobody)?;
    let hash = guard.hash(&operator.login, password).await?;
    operators.set_password(operator.id, None, hash).await?.ok_or_else(nobody)?;
    guard.standings.revoked();
    tracing::info!(by = %caller.name(), operator = %id, "gave an operator another password, and ended its sessions");
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn end_sessions(Admin(app, caller): Admin, Id(id): Id<Uuid>) -> Result<StatusCode, Refusal> {
    let guard = app.shared.gate.unconfined(&caller)?;
    if guard.required.operators.end_sessions(OperatorId(id)).await?.is_none() {
        return Err(Refusal::new(Code::NoSuchOperator, format!("there is no operator {id}")));
    }
    guard.standings.revoked();
    tracing::info!(by = %caller.name(), operator = %id, "ended all sessions of an operator");
    Ok(StatusCode::NO_CONTENT)
}

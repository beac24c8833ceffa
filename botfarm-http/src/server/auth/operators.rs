//! `/operators`: who logs in.

pub(crate) mod api_token;
pub(crate) mod me;
pub(crate) mod tokens;

use axum::{Json, http::StatusCode};
use botfarm_core::{Location, operators::OperatorId};
use uuid::Uuid;

use crate::{
    fields::Read as _,
    server::{
        auth::caller::Admin,
        extract::input::{Id, Json as JsonBody},
        refusal::Refusal,
    },
    wire::{Code, NewOperator, NewPassword, Operator, Password},
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
    let NewOperator { login, password: Password(password), role } = NewOperator::read(body, Location::whole())?;
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
    let NewPassword { password: Password(password) } = NewPassword::read(body, Location::whole())?;
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

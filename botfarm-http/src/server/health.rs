//! Whether the service can serve, and how the farm is doing.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};

use crate::{
    server::{
        App,
        auth::Viewer,
        drain::Drain,
        extract::held::held,
        refusal::{Refusal, explained},
    },
    wire::{Health, HealthStatus, Stats},
};

/// How long the farm may take to say that it is well.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the farm's store can be reached.
pub(super) async fn health(State(app): State<App>) -> (StatusCode, Json<Health>) {
    let status = match tokio::time::timeout(PATIENCE, app.farm.check()).await {
        Ok(Ok(())) => return (StatusCode::OK, Json(Health { status: HealthStatus::Healthy })),
        Ok(Err(error)) => explained(&error),
        Err(_) => "no answer in time".to_owned(),
    };
    tracing::warn!(cause = status, "the farm is not well");
    (StatusCode::SERVICE_UNAVAILABLE, Json(Health { status: HealthStatus::Unhealthy }))
}

/// Whether the process answers at all: no reason to restart it when its store is gone.
pub(super) async fn livez() -> Json<Health> {
    Json(Health { status: HealthStatus::Healthy })
}

/// Whether to send requests here.
pub(super) async fn readyz(app: State<App>, drain: Drain) -> (StatusCode, Json<Health>) {
    if drain.has_started() {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(Health { status: HealthStatus::Draining }));
    }
    health(app).await
}

pub(super) async fn stats(Viewer(app, _): Viewer) -> Result<Response, Refusal> {
    let turn = app.share.page().await?;
    let stats: Stats = app.farm.stats().await?.into();
    Ok(held(Json(stats).into_response(), turn))
}

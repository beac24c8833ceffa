//! How the service and its farm are doing.

use axum::http::StatusCode;
use botfarm_core::operators::Role;
use serde_json::json;

use super::{
    examples, failures,
    operation::{Operation, text},
};
use crate::wire::{Health, Stats};

fn new(id: &str, summary: &str) -> Operation {
    Operation::new("service", id, summary)
}

pub(in crate::server) fn stats() -> Operation {
    new("get_stats", "Count users by project, env and domain").role(Role::Viewer).gives::<Stats>(
        StatusCode::OK,
        "The counts.",
        examples::stats(),
    )
}

pub(in crate::server) fn health() -> Operation {
    new("get_health", "Whether the farm's store can be reached")
        .gives::<Health>(StatusCode::OK, "It can.", json!({"status": "healthy"}))
        .gives::<Health>(StatusCode::SERVICE_UNAVAILABLE, "It cannot.", json!({"status": "unhealthy"}))
}

pub(in crate::server) fn livez() -> Operation {
    new("get_liveness", "Whether the process answers at all").gives::<Health>(
        StatusCode::OK,
        "It does.",
        json!({"status": "healthy"}),
    )
}

pub(in crate::server) fn readyz() -> Operation {
    new("get_readiness", "Whether to send requests here")
        .gives::<Health>(StatusCode::OK, "Do.", json!({"status": "healthy"}))
        .gives::<Health>(
            StatusCode::SERVICE_UNAVAILABLE,
            "Do not: the store cannot be reached, or the service is about to stop.",
            json!({"status": "draining"}),
        )
}

pub(in crate::server) fn metrics() -> Operation {
    let example = "# TYPE botfarm_users gauge\nbotfarm_users{env=\"stage\",state=\"free\"} 7\n";
    new("get_metrics", "Metrics for Prometheus")
        .about("Of the whole farm: not for a token that is confined to a project or an env.")
        .role(Role::Viewer)
        .gives_of("text/plain", StatusCode::OK, "The text format of Prometheus.", text(), json!(example))
        .fails(&[failures::forbidden])
}

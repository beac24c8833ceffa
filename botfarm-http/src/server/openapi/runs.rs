//! Runs.

use axum::http::StatusCode;
use botfarm_core::{Run, operators::Role};
use serde_json::json;

use super::{examples, operation::Operation};
use crate::wire::{ActiveLease, EndedRun, RunEnd};

fn new(id: &str, summary: &str) -> Operation {
    Operation::new("leases", id, summary)
}

pub(in crate::server) fn list() -> Operation {
    new("list_run_leases", "List the leases in force of a run")
        .about(
            "Of a CI run or a test session, as `run` of its leases names it. Without ids and passwords. All of them; with \
             `limit` or `cursor` one page, with a link to the next in `Link`. A run that nobody knows has none.",
        )
        .role(Role::Viewer)
        .named::<Run>("run")
        .page()
        .gives_list::<ActiveLease>("The leases.", examples::active_lease())
        .with("Link")
}

pub(in crate::server) fn end() -> Operation {
    new("end_run", "End a run")
        .about(
            "Ends all leases that the caller has as a part of the run, and sends its requests that wait away. An admin \
             ends whosever they are, unless confined. The holders get 410 `lease-lost` with the reason `taken`, and so \
             does who was sent away.",
        )
        .role(Role::Tester)
        .once()
        .named::<Run>("run")
        .json::<RunEnd>(json!({"outcome": "dirty", "note": "the pipeline was cancelled"}))
        .optional()
        .gives::<EndedRun>(StatusCode::OK, "What it had.", json!({"ended": 3, "waiters": 1}))
}

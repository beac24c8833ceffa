//! Leases.

use axum::http::StatusCode;
use botfarm_core::{LeaseId, Note, Outcome, operators::Role};
use serde_json::json;

use super::{examples, failures, operation::Operation};
use crate::wire::{ActiveLease, Lease, LeaseRequest, Renewal};

fn new(id: &str, summary: &str) -> Operation {
    Operation::new("leases", id, summary)
}

pub(in crate::server) fn acquire() -> Operation {
    new("acquire_lease", "Lease users")
        .about(
            "Gives one user for each selector, or none at all. With `wait_seconds` the request stands in the queue for \
             at most that long, first come first served. A caller that hangs up leaves the queue.",
        )
        .role(Role::Tester)
        .idempotent(
            "The same key gives the same lease while it lives, and 410 once it has ended: so asking again is safe. \
             Not together with `id`, which does the same.",
        )
        .prefers_wait()
        .json::<LeaseRequest>(json!({
            "users": [{"env": "stage", "labels": {"role": "admin"}}], "ttl_seconds": 900, "wait_seconds": 60,
            "holder": "nightly",
        }))
        .gives::<Lease>(StatusCode::CREATED, "The lease, with the passwords.", examples::lease())
        .with("Cache-Control")
        .with("Location")
        .fails(&[failures::busy, failures::exhausted, failures::lease_lost, failures::no_match])
}

pub(in crate::server) fn list() -> Operation {
    new("list_leases", "List the leases in force")
        .about(
            "Without their ids and passwords. All of them; with `limit` or `cursor` one page, with a link to the next \
             in `Link`.",
        )
        .role(Role::Viewer)
        .page()
        .gives_list::<ActiveLease>("The leases.", examples::active_lease())
        .with("Link")
}

pub(in crate::server) fn lookup() -> Operation {
    new("get_lease", "Look at a lease by its id")
        .role(Role::Tester)
        .id::<LeaseId>()
        .gives::<Lease>(StatusCode::OK, "The lease, with the passwords.", examples::lease())
        .with("Cache-Control")
        .fails(&[failures::no_such_lease, failures::lease_lost])
}

pub(in crate::server) fn renew() -> Operation {
    new("renew_lease", "Renew a lease")
        .about("It then lives for as long as it did from its grant, or for `ttl_seconds` from now on.")
        .role(Role::Tester)
        .id::<LeaseId>()
        .json::<Renewal>(json!({"ttl_seconds": 900}))
        .optional()
        .gives::<Lease>(StatusCode::OK, "The lease, with its new end.", examples::lease())
        .with("Cache-Control")
        .fails(&[failures::no_such_lease, failures::lease_lost])
}

pub(in crate::server) fn release() -> Operation {
    new("release_lease", "Give a lease back")
        .about("Also when it was given back before. `outcome` and `note` may be in a JSON body instead.")
        .role(Role::Tester)
        .id::<LeaseId>()
        .query::<Outcome>("outcome", "In what state its users are left. `clean` unless given.")
        .query::<Note>("note", "A remark for the history.")
        .gives_nothing(StatusCode::NO_CONTENT, "It is given back.")
        .fails(&[failures::no_such_lease, failures::lease_lost])
}

//! Lock by id, in its three spellings each.

use axum::http::StatusCode;
use botfarm_core::{BotId, Holder, LeaseId, Note, Outcome, operators::Role};
use serde_json::json;

use super::{examples, failures, operation::Operation};
use crate::wire::{LockRequest, Locked, Unlocked, UserRelease};

pub(in crate::server) fn acquire() -> Operation {
    locking("acquire_user").about("Gives a lease of this user alone. `POST /leases` is for any user that will do.")
}

pub(in crate::server) fn acquire_lock() -> Operation {
    locking("acquire_user_lock").about("Another name for `acquire`.")
}

pub(in crate::server) fn lock() -> Operation {
    locking("lock_user").about("Another name for `acquire`.")
}

fn locking(id: &str) -> Operation {
    Operation::new("locks", id, "Lease this user")
        .role(Role::Tester)
        .id::<BotId>()
        .prefers_wait()
        .json::<LockRequest>(json!({"ttl_seconds": 900, "wait_seconds": 60, "holder": "nightly"}))
        .optional()
        .gives::<Locked>(StatusCode::OK, "The lease, with the password.", examples::locked())
        .with("Cache-Control")
        .fails(&[failures::no_such_user, failures::busy])
}

pub(in crate::server) fn release() -> Operation {
    releasing("release_user").about(
        "Ends the lease that holds the user, all of it, if it is the one that is named, or that of the holder who is named; \
         of the caller, where none is. An admin ends whatever lease holds it. When nobody holds it, nothing happens.",
    )
}

pub(in crate::server) fn release_lock() -> Operation {
    releasing("release_user_lock").about("Another name for `release`.")
}

pub(in crate::server) fn unlock() -> Operation {
    releasing("unlock_user").about("Another name for `release`.")
}

fn releasing(id: &str) -> Operation {
    Operation::new("locks", id, "Give this user back")
        .role(Role::Tester)
        .id::<BotId>()
        .once()
        .query::<Outcome>("outcome", "In what state the users of the lease are left. `clean` unless given.")
        .query::<Note>("note", "A remark for the history.")
        .query::<LeaseId>("lease_id", "Only if this lease holds the user.")
        .query::<Holder>("holder", "Only if this is who holds it. The caller's name unless given, or a lease is.")
        .query::<bool>("force", "Whoever holds it, where nobody is asked who they are.")
        .json::<UserRelease>(json!({"outcome": "dirty", "note": "changed the address"}))
        .optional()
        .gives::<Unlocked>(StatusCode::OK, "Nobody holds the user.", examples::unlocked())
        .fails(&[failures::no_such_user, failures::not_holder, failures::busy, failures::lease_lost])
}

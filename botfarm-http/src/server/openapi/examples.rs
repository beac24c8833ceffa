//! What the examples of answers show. A test compares them with the schemas.

use serde_json::{Value, json};

/// `value`, and `more` besides.
fn with(mut value: Value, more: Value) -> Value {
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

pub(super) fn user() -> Value {
    json!({
        "id": "01931f6e-7a3c-7c44-9c1b-5d2f7a1e0b42", "login": "ada@example.com",
        "project_id": "0b7e6f9a-4a53-4d0e-9a51-2f5f5c1d7a11", "env": "stage", "domain": "canary",
        "labels": {"plan": "pro"}, "condition": "ready", "created_at": "2026-01-02T03:04:05.000000Z",
        "locktime": null, "cooling_until": null, "lease": null,
    })
}

fn held_user() -> Value {
    with(
        user(),
        json!({
            "locktime": "2026-01-03T03:04:05.000000Z",
            "lease": {
                "holder": "nightly", "run": "shop 4711", "note": null, "url": "https://ci.example.com/jobs/4711",
                "since": "2026-01-03T03:04:05.000000Z", "expires_at": "2026-01-03T03:19:05.000000Z",
            },
        }),
    )
}

pub(super) fn lease() -> Value {
    let user = with(held_user(), json!({"as": null, "password": "an-example-of-a-password", "fence": 7}));
    json!({
        "id": "6f1c2a52-8f0e-4b53-9d5e-0c6b1f6f3e77", "holder": "nightly", "run": "shop 4711", "note": null,
        "url": "https://ci.example.com/jobs/4711", "acquired_at": "2026-01-03T03:04:05.000000Z",
        "expires_at": "2026-01-03T03:19:05.000000Z", "expires_in_seconds": 900, "ttl_seconds": 900,
        "renew_after_seconds": 300, "users": [user],
    })
}

pub(super) fn locked() -> Value {
    let (id, lease) = ("01931f6e-7a3c-7c44-9c1b-5d2f7a1e0b42", lease());
    let message = format!("User {id} is yours; renew or release the lease by its lease_id.");
    let (lease_id, locktime) = (lease["id"].clone(), lease["acquired_at"].clone());
    let more = json!({"message": message, "id": id, "user_id": id, "lease_id": lease_id, "locktime": locktime});
    with(lease, more)
}

pub(super) fn unlocked() -> Value {
    let id = "01931f6e-7a3c-7c44-9c1b-5d2f7a1e0b42";
    json!({"message": format!("User {id} is released."), "id": id, "user_id": id, "locktime": null})
}

pub(super) fn active_lease() -> Value {
    json!({
        "holder": "nightly", "run": "shop 4711", "note": null, "url": "https://ci.example.com/jobs/4711",
        "acquired_at": "2026-01-03T03:04:05.000000Z", "expires_at": "2026-01-03T03:19:05.000000Z",
        "users": [with(held_user(), json!({"as": null}))],
    })
}

pub(super) fn history_row() -> Value {
    json!({
        "user_id": "01931f6e-7a3c-7c44-9c1b-5d2f7a1e0b42", "fence": 7, "holder": "nightly", "run": "shop 4711", "note": null,
        "project_id": "0b7e6f9a-4a53-4d0e-9a51-2f5f5c1d7a11", "owner": "token 01931f6e-7a3c-7c44-9c1b-5d2f7a1e0b42",
        "address": "192.0.2.7", "request_id": "b1c9d2f0-5c1e-4d57-8d21-000000000007",
        "url": "https://ci.example.com/jobs/4711", "from": "2026-01-03T03:04:05.000000Z",
        "to": "2026-01-03T03:09:05.000000Z", "reason": "released", "outcome": "clean", "by": null, "end_note": null,
    })
}

pub(super) fn hand_out() -> Value {
    with(history_row(), json!({"login": "ada@example.com", "env": "stage", "released_by": "nightly"}))
}

pub(super) fn waiter() -> Value {
    json!({
        "place": 1, "holder": "nightly", "run": "shop 4711", "note": null, "url": "https://ci.example.com/jobs/4711",
        "since": "2026-01-03T03:04:05.000000Z", "alive": true, "selectors": [{"env": "stage", "labels": {"plan": "pro"}}],
        "reason": "3 match, 3 leased, 0 cooling, 0 out of service, place 1 of 2; the longest is held by release since \
                   2026-01-03T02:04:05Z",
        "holds": 2,
    })
}

pub(super) fn audit_row() -> Value {
    json!({
        "id": "01931f6e-7a3c-7c44-9c1b-5d2f7a1e0b43", "at": "2026-01-03T03:04:05.000000Z",
        "principal": "operator 5f0d2c1e-58a3-4d8e-8f0a-3f9b6d6f2a10", "name": "ada", "action": "DELETE /users/{id}",
        "object": "user 01931f6e-7a3c-7c44-9c1b-5d2f7a1e0b42", "address": "192.0.2.7",
        "request_id": "b1c9d2f0-5c1e-4d57-8d21-000000000007", "result": "done", "count": 1,
    })
}

pub(super) fn stats() -> Value {
    json!({
        "pools": [{
            "project_id": "0b7e6f9a-4a53-4d0e-9a51-2f5f5c1d7a11", "env": "stage", "domain": "canary",
            "total": 12, "free": 7, "leased": 3, "cooling": 1, "dirty": 1, "broken": 0,
        }],
        "waiting": 0,
    })
}

pub(super) fn message(message: &str) -> Value {
    json!({"message": message})
}

pub(super) fn operator() -> Value {
    json!({
        "id": "5f0d2c1e-58a3-4d8e-8f0a-3f9b6d6f2a10", "login": "grace", "role": "admin",
        "created_at": "2026-01-02T03:04:05.000000Z",
    })
}

pub(super) fn token() -> Value {
    json!({
        "id": "b1d7a1de-9a0f-4a51-8c59-7b2a4b0f6c33", "name": "checkout pipeline", "role": "tester",
        "project_id": null, "env": "stage", "created_at": "2026-01-02T03:04:05.000000Z", "expires_at": null,
        "last_used_at": "2026-01-03T03:04:00.000000Z",
    })
}

pub(super) fn issued_token() -> Value {
    with(token(), json!({"last_used_at": null, "token": "bf_…"}))
}

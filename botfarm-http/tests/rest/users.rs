//! `/users`.

use axum::http::{Method, header};
use botfarm_core::{BotFarm, LeaseRequest, PageRequest, Revocation, Selector};
use serde_json::{Value, json};

use crate::service::{Rest, bot, labelled, project, time};

#[tokio::test]
async fn a_user_is_created_where_location_says() {
    let rest = Rest::empty();
    let body = json!({
        "login": "ada@shop.test", "password": "hunter2", "project_id": project(), "env": "stage",
        "domain": "regular", "labels": {"role": "admin"},
    });
    let answer = rest.post("/api/v1/users", body).await;
    assert_eq!(answer.status, 201);
    let user = answer.json();
    let id = user["id"].as_str().unwrap();
    let kept = rest.farm.get(id.parse().unwrap()).await.unwrap();
    let expected = json!({
        "id": id, "login": "ada@shop.test", "project_id": project(), "env": "stage", "domain": "regular",
        "labels": {"role": "admin"}, "condition": "ready", "created_at": time(kept.created_at), "locktime": null,
        "cooling_until": null, "lease": null,
    });
    assert_eq!(user, expected);
    let location = answer.header(header::LOCATION).unwrap();
    assert_eq!(location, format!("/api/v1/users/{id}"));
    assert_eq!(rest.get(location).await.json(), expected);
}

#[tokio::test]
async fn domain_and_labels_have_defaults() {
    let rest = Rest::empty();
    let body = json!({"login": "ada", "password": "hunter2", "project_id": project(), "env": "prod"});
    let user = rest.post("/api/v1/users", body).await.json();
    assert_eq!((&user["domain"], &user["labels"]), (&json!("canary"), &json!({})));
}

#[tokio::test]
async fn a_leased_user_shows_its_holder_but_neither_password_nor_lease_id() {
    let rest = Rest::empty();
    let kept = rest.farm.create(bot("ada")).await.unwrap();
    let request = LeaseRequest::new("checkout test".parse().unwrap(), Selector::any())
        .run("nightly 7".parse().unwrap())
        .note("nightly".parse().unwrap())
        .url("https://ci.test/7".parse().unwrap());
    let lease = rest.farm.acquire(request).await.unwrap();
    let answer = rest.get(&format!("/api/v1/users/{}", kept.id)).await;
    let user = answer.json();
    assert_eq!(user["locktime"], time(lease.acquired_at));
    let expected = json!({
        "holder": "checkout test", "run": "nightly 7", "note": "nightly", "url": "https://ci.test/7",
        "since": time(lease.acquired_at), "expires_at": time(lease.expires_at),
    });
    assert_eq!(user["lease"], expected);
    let text = user.to_string();
    assert!(!text.contains("pass-ada") && !text.contains(&lease.id.as_uuid().to_string()), "{text}");
}

#[tokio::test]
async fn a_user_that_rests_says_until_when() {
    let rest = Rest::empty();
    let kept = rest.farm.create(bot("ada")).await.unwrap();
    rest.farm.acquire(LeaseRequest::new("me".parse().unwrap(), Selector::any())).await.unwrap();
    let revocation = Revocation::new("stuck".parse().unwrap(), "admin".parse().unwrap());
    rest.farm.revoke(kept.id, revocation).await.unwrap();
    let until = rest.farm.get(kept.id).await.unwrap().cooling_until.unwrap();
    let user = rest.get(&format!("/api/v1/users/{}", kept.id)).await.json();
    assert_eq!((&user["cooling_until"], &user["lease"]), (&json!(time(until)), &Value::Null));
}

#[tokio::test]
async fn a_change_changes_what_it_names_alone() {
    let rest = Rest::empty();
    let kept = rest.farm.create(labelled("ada", [("role", "admin")])).await.unwrap();
    let path = format!("/api/v1/users/{}", kept.id);
    let before = rest.get(&path).await.json();
    assert_eq!(rest.patch(&path, json!({})).await.json(), before);
    let after = rest.patch(&path, json!({"labels": {"plan": "pro"}, "condition": "dirty", "domain": "regular"})).await;
    let mut expected = before;
    expected["labels"] = json!({"plan": "pro"});
    expected["condition"] = json!("dirty");
    expected["domain"] = json!("regular");
    assert_eq!((after.status.as_u16(), after.json()), (200, expected));
}

#[tokio::test]
async fn a_new_password_is_what_the_next_holder_gets() {
    let rest = Rest::empty();
    let kept = rest.farm.create(bot("ada")).await.unwrap();
    let answer = rest.patch(&format!("/api/v1/users/{}", kept.id), json!({"password": "new-pass-ada"})).await;
    assert!(!answer.json().to_string().contains("new-pass-ada"));
    let lease = rest.post("/api/v1/leases", json!({"users": [{}]})).await.json();
    assert_eq!(lease["users"][0]["password"], "new-pass-ada");
}

#[tokio::test]
async fn a_deleted_user_is_gone() {
    let rest = Rest::empty();
    let kept = rest.farm.create(bot("ada")).await.unwrap();
    let path = format!("/api/v1/users/{}", kept.id);
    let answer = rest.delete(&path).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    assert_eq!(rest.get(&path).await.failure(), (404, "no-such-user".to_owned()));
}

#[tokio::test]
async fn the_history_has_every_hand_out_newest_first_and_in_pages() {
    let rest = Rest::empty();
    let kept = rest.farm.create(bot("ada")).await.unwrap();
    let path = format!("/api/v1/users/{}/history", kept.id);
    assert_eq!(rest.get(&path).await.json(), json!([]));
    let body = json!({"users": [{}], "holder": "first", "run": "r", "note": "n", "url": "http://ci.test"});
    let first = rest.post("/api/v1/leases", body).await;
    let id = first.json()["id"].as_str().unwrap().to_owned();
    rest.delete(&format!("/api/v1/leases/{id}?outcome=clean&note=all%20well")).await;
    let second = rest.post("/api/v1/leases", json!({"users": [{}], "holder": "second"})).await;
    let [first, second] = [first, second].map(|answer| answer.header("x-request-id").unwrap().to_owned());
    let records = rest.farm.history(kept.id, &PageRequest::default()).await.unwrap().items;
    let end = records[1].end.clone().unwrap();
    let expected = json!([
        {
            "user_id": kept.id, "fence": records[0].fence, "holder": "second", "run": null, "note": null, "url": null,
            "project_id": kept.project, "owner": null, "address": null, "request_id": second,
            "from": time(records[0].from), "to": null, "reason": null, "outcome": null, "by": null, "end_note": null,
        },
        {
            "user_id": kept.id, "fence": records[1].fence, "holder": "first", "run": "r", "note": "n", "url": "http://ci.test",
            "project_id": kept.project, "owner": null, "address": null, "request_id": first,
            "from": time(records[1].from), "to": time(end.at), "reason": "released", "outcome": "clean", "by": null,
            "end_note": "all well",
        },
    ]);
    assert_eq!(rest.get(&path).await.json(), expected);
    let page = rest.get(&format!("{path}?limit=1")).await;
    assert_eq!(page.json(), json!([expected[0]]));
    let link = page.header(header::LINK).unwrap();
    let next = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
    let last = rest.get(next).await;
    assert_eq!((last.json(), last.header(header::LINK)), (json!([expected[1]]), None));
    assert!(!expected.to_string().contains(&id));
}

#[tokio::test]
async fn a_trailing_slash_changes_nothing() {
    let rest = Rest::empty();
    let kept = rest.farm.create(bot("ada")).await.unwrap();
    let plain = rest.get(&format!("/api/v1/users/{}", kept.id)).await.json();
    assert_eq!(rest.get(&format!("/api/v1/users/{}/", kept.id)).await.json(), plain);
    assert_eq!(rest.get("/api/v1/users/?limit=1").await.json(), json!([plain]));
    assert_eq!(rest.get("/health/").await.status, 200);
    let body = json!({"login": "bob", "password": "x", "project_id": project(), "env": "stage"});
    assert_eq!(rest.post("/api/v1/users/", body).await.status, 201);
    let path = format!("/api/v1/users/{}/acquire/", kept.id);
    assert_eq!(rest.send(Method::POST, &path).await.status, 200);
}

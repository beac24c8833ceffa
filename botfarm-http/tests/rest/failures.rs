//! Every row of the table of errors, with its status and its code.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Method, Request, header},
};
use botfarm_core::{BotFarm, LeaseId, PageRequest};
use botfarm_http::{HttpFarm, Options};
use serde_json::{Value, json};

use crate::service::{Answer, Rest, Served, bot, project, time};

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

fn is(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.failure(), (status, code.to_owned()), "{}", answer.json());
}

fn pointers(answer: &Answer) -> Vec<String> {
    let errors = answer.json()["errors"].clone();
    let errors = errors.as_array().unwrap();
    assert!(errors.iter().all(|fault| !fault["detail"].as_str().unwrap().is_empty()), "{errors:?}");
    errors.iter().map(|fault| fault["pointer"].as_str().unwrap().to_owned()).collect()
}

/// A farm with `ada` and `bob`, of which `ada` is held.
async fn one_held() -> (Rest, Value) {
    let rest = Rest::empty();
    rest.farm.create(bot("ada")).await.unwrap();
    rest.farm.create(bot("bob")).await.unwrap();
    let lease = rest.post("/api/v1/leases", json!({"users": [{"login": "ada"}], "holder": "me"})).await.json();
    (rest, lease)
}

#[tokio::test]
async fn malformed() {
    let rest = Rest::empty();
    for (method, path) in [
        (Method::POST, "/api/v1/users".to_owned()),
        (Method::POST, "/api/v1/users/import".to_owned()),
        (Method::PATCH, format!("/api/v1/users/{NOBODY}")),
        (Method::POST, format!("/api/v1/users/{NOBODY}/acquire")),
        (Method::POST, format!("/api/v1/users/{NOBODY}/release")),
        (Method::DELETE, format!("/api/v1/users/{NOBODY}/lock")),
        (Method::POST, format!("/api/v1/users/{NOBODY}/revoke")),
        (Method::POST, "/api/v1/leases".to_owned()),
        (Method::POST, format!("/api/v1/leases/{NOBODY}/renew")),
    ] {
        let answer = rest.with_body(method, &path, "application/json", "{\"password\": \"hunter2\"").await;
        is(&answer, 400, "malformed");
        assert!(!answer.json().to_string().contains("hunter2"));
    }
    for path in ["/api/v1/users", "/api/v1/leases"] {
        is(&rest.send(Method::POST, path).await, 400, "malformed");
    }
    for path in ["/api/v1/users/4711", "/api/v1/users/4711/history", "/api/v1/leases/ada", "/api/v1/users/%ff"] {
        is(&rest.get(path).await, 400, "malformed");
    }
    is(&rest.get("/api/v1/users?cursor=nonsense").await, 400, "malformed");
    is(&rest.get("/api/v1/leases?cursor=nonsense").await, 400, "malformed");
    let id = rest.farm.create(bot("ada")).await.unwrap().id;
    is(&rest.get(&format!("/api/v1/users/{id}/history?cursor=%00")).await, 400, "malformed");
}

#[tokio::test]
async fn login_taken() {
    let (rest, _) = one_held().await;
    let body = json!({"login": "ADA", "password": "hunter2", "project_id": project(), "env": "stage"});
    let answer = rest.post("/api/v1/users", body).await;
    is(&answer, 400, "login-taken");
    let body = answer.json();
    assert_eq!((&body["login"], &body["env"]), (&json!("ADA"), &json!("stage")));
    assert!(!body.to_string().contains("hunter2"));
}

#[tokio::test]
async fn no_such_user() {
    let rest = Rest::empty();
    let path = format!("/api/v1/users/{NOBODY}");
    for answer in [
        rest.get(&path).await,
        rest.patch(&path, json!({"condition": "dirty"})).await,
        rest.delete(&path).await,
        rest.get(&format!("{path}/history")).await,
        rest.send(Method::POST, &format!("{path}/acquire")).await,
        rest.post(&format!("{path}/lock"), json!({"wait_seconds": 60})).await,
        rest.send(Method::POST, &format!("{path}/release")).await,
        rest.delete(&format!("{path}/lock")).await,
        rest.post(&format!("{path}/revoke"), json!({"reason": "stuck"})).await,
    ] {
        is(&answer, 404, "no-such-user");
        assert_eq!(answer.json()["user_id"], NOBODY);
    }
}

#[tokio::test]
async fn no_such_lease() {
    let rest = Rest::empty();
    let path = format!("/api/v1/leases/{NOBODY}");
    for answer in
        [rest.get(&path).await, rest.send(Method::POST, &format!("{path}/renew")).await, rest.delete(&path).await]
    {
        is(&answer, 404, "no-such-lease");
    }
}

#[tokio::test]
async fn no_such_route() {
    let rest = Rest::empty();
    for path in ["/nowhere", "/api/v1/nowhere", "/api/v1", "/api/v2/users", "/api/v1/users/a/b/c", "//"] {
        is(&rest.get(path).await, 404, "no-such-route");
    }
}

#[tokio::test]
async fn method_not_allowed() {
    let rest = Rest::empty();
    let user = format!("/api/v1/users/{NOBODY}");
    for (method, path, allowed) in [
        (Method::PUT, "/api/v1/users".to_owned(), "GET,HEAD,POST"),
        (Method::GET, "/api/v1/users/import".to_owned(), "POST"),
        (Method::POST, user.clone(), "GET,HEAD,PATCH,DELETE"),
        (Method::GET, format!("{user}/lock"), "POST,DELETE"),
        (Method::GET, format!("{user}/acquire/"), "POST"),
        (Method::PATCH, format!("/api/v1/leases/{NOBODY}"), "GET,HEAD,DELETE"),
        (Method::POST, "/health".to_owned(), "GET,HEAD"),
    ] {
        let answer = rest.send(method, &path).await;
        is(&answer, 405, "method-not-allowed");
        let sorted = |methods: &str| {
            let mut methods: Vec<_> = methods.split(',').map(|method| method.trim().to_owned()).collect();
            methods.sort();
            methods
        };
        assert_eq!(sorted(answer.header(header::ALLOW).unwrap()), sorted(allowed), "{path}");
    }
}

#[tokio::test]
async fn busy() {
    let (rest, lease) = one_held().await;
    let user = &lease["users"][0];
    let id = user["id"].as_str().unwrap();
    let expected = json!({
        "type": "about:blank", "title": "Conflict", "status": 409, "code": "busy", "user_id": id, "holder": "me",
        "since": lease["acquired_at"], "expires_at": lease["expires_at"], "condition": "ready",
    });
    for mut answer in [
        rest.send(Method::POST, &format!("/api/v1/users/{id}/acquire")).await,
        rest.post("/api/v1/leases", json!({"users": [{"id": id}]})).await,
        rest.post("/api/v1/leases", json!({"users": [{"login": "ADA", "env": "stage"}], "wait_seconds": 0.01})).await,
    ]
    .map(|answer| {
        is(&answer, 409, "busy");
        answer.json()
    }) {
        let detail = answer.as_object_mut().unwrap().remove("detail").unwrap();
        assert!(detail.as_str().unwrap().contains("is held by me since"), "{detail}");
        assert_eq!(answer, expected);
    }
}

#[tokio::test]
async fn exhausted() {
    let (rest, lease) = one_held().await;
    let broken = rest.farm.create(bot("eve")).await.unwrap();
    rest.patch(&format!("/api/v1/users/{}", broken.id), json!({"condition": "broken"})).await;
    let body = json!({"users": [{"env": "stage"}, {"env": "stage"}], "wait_seconds": 0.01});
    let answer = rest.post("/api/v1/leases", body).await;
    is(&answer, 409, "exhausted");
    let mut body = answer.json();
    let after = Duration::from_secs_f64(body["retry_after_seconds"].take().as_f64().unwrap());
    let header = Duration::from_secs(answer.header(header::RETRY_AFTER).unwrap().parse().unwrap());
    assert!(header >= after && header <= after + Duration::from_secs(1) && !header.is_zero(), "{header:?} {after:?}");
    let selector = body["selector"].take();
    assert!(selector == 0 || selector == 1, "{selector}");
    let detail = body["detail"].take();
    assert!(detail.as_str().unwrap().contains("3 match, 1 leased"), "{detail}");
    let expected = json!({
        "type": "about:blank", "title": "Conflict", "status": 409, "detail": null, "code": "exhausted",
        "selector": null, "matching": 3, "leased": 1, "cooling": 0, "out_of_service": 1, "place": 1,
        "waiting": 0, "oldest": {"holder": "me", "since": lease["acquired_at"]}, "retry_after_seconds": null,
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn in_use() {
    let (rest, lease) = one_held().await;
    let id = lease["users"][0]["id"].as_str().unwrap();
    let path = format!("/api/v1/users/{id}");
    for answer in [
        rest.delete(&path).await,
        rest.patch(&path, json!({"condition": "broken"})).await,
        rest.patch(&path, json!({"domain": "regular", "labels": {}})).await,
        rest.patch(&path, json!({"project_id": NOBODY})).await,
    ] {
        is(&answer, 409, "in-use");
        let body = answer.json();
        assert_eq!((&body["user_id"], &body["holder"]), (&json!(id), &json!("me")));
        assert_eq!(body["expires_at"], lease["expires_at"]);
    }
    assert_eq!(rest.patch(&path, json!({"labels": {"role": "admin"}, "password": "new"})).await.status, 200);
}

/// Everything that a lost lease is good for.
async fn uses(rest: &Rest, lease: &Value) -> Vec<Answer> {
    let path = format!("/api/v1/leases/{}", lease["id"].as_str().unwrap());
    let replay = json!({"users": [{"login": "ada"}], "holder": "me", "id": lease["id"]});
    vec![
        rest.get(&path).await,
        rest.send(Method::POST, &format!("{path}/renew")).await,
        rest.post("/api/v1/leases", replay).await,
        rest.delete(&path).await,
    ]
}

#[tokio::test]
async fn lease_lost_by_release() {
    let (rest, lease) = one_held().await;
    rest.delete(&format!("/api/v1/leases/{}", lease["id"].as_str().unwrap())).await;
    let mut answers = uses(&rest, &lease).await;
    assert_eq!(answers.pop().unwrap().status, 204);
    for answer in answers {
        is(&answer, 410, "lease-lost");
        let body = answer.json();
        assert_eq!((&body["reason"], &body["by"]), (&json!("released"), &Value::Null));
    }
}

#[tokio::test]
async fn lease_lost_by_revocation() {
    let (rest, lease) = one_held().await;
    let id = lease["users"][0]["id"].as_str().unwrap();
    rest.post(&format!("/api/v1/users/{id}/revoke"), json!({"reason": "hangs", "by": "admin"})).await;
    let ended = rest.farm.history(id.parse().unwrap(), &PageRequest::default()).await.unwrap().items[0].end.clone();
    let release = json!({"lease_id": lease["id"]});
    let mut answers = uses(&rest, &lease).await;
    answers.push(rest.post(&format!("/api/v1/users/{id}/release"), release).await);
    for answer in answers {
        is(&answer, 410, "lease-lost");
        let body = answer.json();
        assert_eq!(body["ended_at"], time(ended.as_ref().unwrap().at));
        assert_eq!(
            (&body["reason"], &body["by"], &body["note"]),
            (&json!("revoked"), &json!("admin"), &json!("hangs"))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn lease_lost_by_expiry() {
    let rest = Rest::empty();
    rest.farm.create(bot("ada")).await.unwrap();
    let body = json!({"users": [{"login": "ada"}], "holder": "me", "ttl_seconds": 5});
    let lease = rest.post("/api/v1/leases", body).await.json();
    tokio::time::advance(Duration::from_secs(6)).await;
    for answer in uses(&rest, &lease).await {
        is(&answer, 410, "lease-lost");
        let body = answer.json();
        assert_eq!((&body["reason"], &body["ended_at"]), (&json!("expired"), &lease["expires_at"]));
    }
}

#[tokio::test]
async fn too_large() {
    let rest = Rest::with(Rest::empty().farm, Options { body_limit: 1_000, import_limit: 2_000, ..Options::default() });
    let id = rest.farm.create(bot("ada")).await.unwrap().id;
    for (path, size) in [
        ("/api/v1/users".to_owned(), 1_001),
        ("/api/v1/leases".to_owned(), 1_001),
        (format!("/api/v1/users/{id}/acquire"), 1_001),
        ("/api/v1/users/import".to_owned(), 2_001),
    ] {
        let whole = " ".repeat(size);
        is(&rest.with_body(Method::POST, &path, "application/json", whole.clone()).await, 413, "too-large");
        // Not told beforehand, nor in one piece.
        let pieces = futures_util::stream::iter(whole.into_bytes().chunks(100).map(<[u8]>::to_vec).collect::<Vec<_>>());
        let pieces = futures_util::StreamExt::map(pieces, Ok::<_, std::io::Error>);
        let answer = rest.with_body(Method::POST, &path, "application/json", Body::from_stream(pieces)).await;
        is(&answer, 413, "too-large");
        let fits = rest.with_body(Method::POST, &path, "application/json", " ".repeat(size - 1)).await;
        is(&fits, 400, "malformed");
    }
}

#[tokio::test]
async fn unsupported_media_type() {
    let rest = Rest::empty();
    let id = rest.farm.create(bot("ada")).await.unwrap().id;
    for path in ["/api/v1/leases".to_owned(), "/api/v1/users/import".to_owned(), format!("/api/v1/users/{id}/lock")] {
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/xml"] {
            is(&rest.with_body(Method::POST, &path, kind, "{}").await, 415, "unsupported-media-type");
        }
        let untold = Request::post(&path).body(Body::from("{}")).unwrap();
        is(&rest.request(untold).await, 415, "unsupported-media-type");
    }
}

#[tokio::test]
async fn invalid_names_every_faulty_field() {
    let (rest, lease) = one_held().await;
    let id = lease["users"][0]["id"].as_str().unwrap();
    let lease = format!("/api/v1/leases/{}", lease["id"].as_str().unwrap());
    let user = format!("/api/v1/users/{id}");
    let body = json!({
        "login": "", "password": "", "project_id": "*", "env": "the moon", "domain": 7, "labels": {"a:b": "c"}, "typo": 1,
    });
    let all = ["/login", "/password", "/project_id", "/env", "/domain", "/labels", "/typo"];
    let answer = rest.post("/api/v1/users", body).await;
    is(&answer, 422, "invalid");
    assert_eq!(pointers(&answer), all);

    let answer = rest.post("/api/v1/users", json!({})).await;
    assert_eq!(pointers(&answer), ["/login", "/password", "/project_id", "/env"]);

    let answer = rest.patch(&user, json!({"login": "new", "condition": "tired", "labels": {"a": 1}})).await;
    is(&answer, 422, "invalid");
    assert_eq!(pointers(&answer), ["/labels", "/condition", "/login"]);

    let body = json!({
        "users": [{"env": "stage", "lables": {}}, {"as": "a b", "id": 7}, "any"], "id": "x", "ttl_seconds": -1,
        "wait_seconds": "long", "holder": "", "note": "", "url": "ftp://x", "sticky": "", "avoid": ["x"], "wait": 1,
    });
    let answer = rest.post("/api/v1/leases", body).await;
    is(&answer, 422, "invalid");
    let mut found = pointers(&answer);
    found.sort();
    let mut expected = [
        "/users/0/lables",
        "/users/1/as",
        "/users/1/id",
        "/users/2",
        "/id",
        "/ttl_seconds",
        "/wait_seconds",
        "/holder",
        "/note",
        "/url",
        "/sticky",
        "/avoid",
        "/wait",
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);

    for (answer, expected) in [
        (rest.post("/api/v1/leases", json!({})).await, vec!["/users"]),
        (rest.post("/api/v1/leases", json!({"users": []})).await, vec!["/users"]),
        (rest.post("/api/v1/leases", json!({"users": {}})).await, vec!["/users"]),
        (rest.post("/api/v1/leases", json!({"users": [{}], "ttl_seconds": 1})).await, vec!["/ttl_seconds"]),
        (rest.post("/api/v1/leases", json!([])).await, vec![""]),
        (rest.post("/api/v1/leases?wait_seconds=5", json!({"users": [{}]})).await, vec!["/wait_seconds"]),
        (rest.post(&format!("{user}/acquire"), json!({"ttl": 5, "users": []})).await, vec!["/ttl", "/users"]),
        (rest.post(&format!("{user}/acquire"), json!({"ttl_seconds": 86_401})).await, vec!["/ttl_seconds"]),
        (rest.post(&format!("{user}/release"), json!({"outcome": "good", "x": 1})).await, vec!["/outcome", "/x"]),
        (rest.post(&format!("{user}/release?note=a"), json!({"note": "b"})).await, vec!["/note"]),
        (rest.delete(&format!("{user}/lock?lease_id=x&outcom=clean")).await, vec!["/lease_id", "/outcom"]),
        (rest.post(&format!("{user}/revoke"), json!({"reson": "stuck"})).await, vec!["/reason", "/reson"]),
        (rest.post(&format!("{lease}/renew"), json!({"ttl_seconds": null, "ttl": 5})).await, vec!["/ttl"]),
        (rest.post(&format!("{lease}/renew"), json!({"ttl_seconds": 4.999})).await, vec!["/ttl_seconds"]),
        (rest.delete(&format!("{lease}?outcome=good&note=")).await, vec!["/outcome", "/note"]),
        (
            rest.get("/api/v1/users?limit=0&env=a+moon&state=asleep&label=role&login=&typo=1&project_id=*").await,
            vec!["/limit", "/project_id", "/env", "/login", "/state", "/label", "/typo"],
        ),
        (rest.get("/api/v1/users?limit=1001").await, vec!["/limit"]),
        (rest.get("/api/v1/users?limit=ten&limit=5").await, vec!["/limit", "/limit"]),
        (rest.get("/api/v1/users?label=a:1&label=a:2").await, vec!["/label"]),
        (rest.get(&format!("{user}/history?limit=-1&x=")).await, vec!["/limit", "/x"]),
        (rest.get("/api/v1/leases?limit=1e3&state=free").await, vec!["/limit", "/state"]),
        (rest.post("/api/v1/users/import?dry_run=maybe&x", json!([])).await, vec!["/dry_run", "/x"]),
        (rest.post("/api/v1/users/import", json!({})).await, vec![""]),
    ] {
        is(&answer, 422, "invalid");
        let (mut found, mut expected) = (pointers(&answer), expected);
        found.sort();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn invalid_idempotency_keys() {
    let rest = Rest::empty();
    rest.farm.create(bot("ada")).await.unwrap();
    let ask = |keys: Vec<Vec<u8>>, body: Value| {
        let mut request = Request::post("/api/v1/leases").header(header::CONTENT_TYPE, "application/json");
        for key in keys {
            request = request.header("idempotency-key", key);
        }
        request.body(Body::from(body.to_string())).unwrap()
    };
    let one = json!({"users": [{}]});
    for keys in [vec![vec![]], vec!["k".repeat(256).into()], vec![vec![0xff]], vec![b"a".into(), b"b".into()]] {
        let answer = rest.request(ask(keys, one.clone())).await;
        is(&answer, 422, "invalid");
        assert_eq!(pointers(&answer), ["/Idempotency-Key"]);
    }
    let both = rest.request(ask(vec![b"a".into()], json!({"users": [{}], "id": LeaseId::new().as_uuid()}))).await;
    is(&both, 422, "invalid");
    assert_eq!(pointers(&both), ["/id"]);
}

#[tokio::test]
async fn no_match_whatever_the_wait() {
    let (rest, _) = one_held().await;
    for selector in [
        json!({"env": "prod"}),
        json!({"login": "eve"}),
        json!({"id": NOBODY}),
        json!({"labels": {"role": "admin"}}),
        json!({"project_id": NOBODY}),
    ] {
        let body = json!({"users": [{}, selector], "wait_seconds": 300});
        let answer = rest.post("/api/v1/leases", body).await;
        is(&answer, 422, "no-match");
        assert_eq!(answer.json()["selector"], 1);
    }
}

#[tokio::test]
async fn key_reused() {
    let (rest, _) = one_held().await;
    for (users, status) in [(json!([{"login": "bob"}]), 201), (json!([{}]), 422)] {
        let request = Request::post("/api/v1/leases")
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", "build 7");
        let answer = rest.request(request.body(Body::from(json!({"users": users}).to_string())).unwrap()).await;
        assert_eq!(answer.status, status);
        if status == 422 {
            is(&answer, 422, "key-reused");
        }
    }
}

#[tokio::test]
async fn unavailable() {
    // Nothing listens on port 1.
    let rest = Rest::over(Arc::new(HttpFarm::builder("http://127.0.0.1:1").retry_for(Duration::ZERO).build().unwrap()));
    for answer in [
        rest.get("/api/v1/users").await,
        rest.get("/api/v1/stats").await,
        rest.post("/api/v1/leases", json!({"users": [{}]})).await,
        rest.send(Method::POST, &format!("/api/v1/leases/{NOBODY}/renew")).await,
    ] {
        is(&answer, 503, "unavailable");
        assert_eq!(answer.header(header::RETRY_AFTER), Some("1"));
        assert!(!answer.json().to_string().contains(NOBODY), "{}", answer.json());
    }
}

#[tokio::test]
async fn internal() {
    // A service that is none.
    let other = Served::start(Router::new()).await;
    let rest = Rest::over(Arc::new(other.farm()));
    for answer in [rest.get("/api/v1/users").await, rest.post("/api/v1/leases", json!({"users": [{}]})).await] {
        is(&answer, 500, "internal");
        assert!(!answer.json().to_string().contains("404"), "the cause is not sent: {}", answer.json());
    }
}

#[tokio::test]
async fn a_sane_request_id_comes_back_and_another_is_replaced() {
    let rest = Rest::empty();
    let with = async |id: &str| {
        let request = Request::get("/livez").header("x-request-id", id).body(Body::empty()).unwrap();
        rest.request(request).await.header("x-request-id").unwrap().to_owned()
    };
    let longest = "x".repeat(128);
    for sane in ["build-7.step_3", "1", longest.as_str()] {
        assert_eq!(with(sane).await, sane);
    }
    for bad in ["", "a b", "a/b", "<script>", &"x".repeat(129)] {
        let made = with(bad).await;
        assert!(made.parse::<uuid::Uuid>().is_ok(), "{made}");
    }
    assert_ne!(with("").await, with("").await);
}

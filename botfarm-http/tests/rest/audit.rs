//! Who did what: the audit trail.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{
    body::Body,
    http::{Method, Request, header},
};
use botfarm_core::{
    BotFarm as _, Error, NewBot, Page, PageRequest, ProjectId, Result,
    audit::{Act, Audit, AuditEntry, AuditFilter},
    operators::{Role, Scope},
};
use botfarm_http::{Options, auth::Auth};
use botfarm_memory::MemoryFarm;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

use crate::{
    document::Document,
    principals::{PASSWORD, Principals, call, log_in},
    searched::Log,
    service::{Answer, Rest, Served, bot, project, until},
    shutdown::begin,
};

/// What has been recorded, oldest first, as an admin sees it: the action, the object, the result and how often.
async fn trail(rest: &Rest, admin: &str) -> Vec<(String, Value, String, u64)> {
    let mut rows = rows(rest, admin, "").await;
    rows.reverse();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rows.iter()
        .map(|row| (text(&row["action"]), row["object"].clone(), text(&row["result"]), row["count"].as_u64().unwrap()))
        .collect()
}

async fn rows(rest: &Rest, admin: &str, query: &str) -> Vec<Value> {
    let answer = call(rest, admin, Method::GET, &format!("/audit?limit=1000{query}"), Value::Null).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json().as_array().unwrap().clone()
}

fn done(action: &str, object: &str) -> (String, Value, String, u64) {
    let object = if object.is_empty() { Value::Null } else { json!(object) };
    (action.to_owned(), object, "done".to_owned(), 1)
}

#[tokio::test]
async fn every_write_is_in_the_trail_with_who_and_what_and_which_request() {
    let principals = Principals::new().await;
    let rest = principals.empty();
    let (ann_id, _) = principals.store.operator(&"ann".parse().unwrap()).await.unwrap().unwrap();
    let ann = principals.log_in("ann").await;
    let asked = async |method: Method, path: &str, body: Value| -> Answer {
        let answer = call(&rest, &ann, method, path, body).await;
        assert!(answer.status.is_success(), "{path}: {answer:?}");
        answer
    };
    let id = |answer: &Answer| answer.json()["id"].as_str().unwrap().to_owned();
    let new = json!({"login": "ada", "password": "x", "project_id": project(), "env": "stage"});
    let created = asked(Method::POST, "/users", new.clone()).await;
    let user = id(&created);
    asked(Method::PATCH, &format!("/users/{user}"), json!({"condition": "ready"})).await;
    asked(Method::POST, "/users/import?dry_run=true", json!([new])).await;
    asked(Method::POST, "/users/import", json!([new])).await;
    asked(Method::POST, &format!("/users/{user}/revoke"), json!({"reason": "needed"})).await;
    asked(Method::POST, &format!("/users/{user}/release"), Value::Null).await;
    asked(Method::DELETE, &format!("/users/{user}"), Value::Null).await;
    let operator =
        id(&asked(Method::POST, "/operators", json!({"login": "eve", "password": PASSWORD, "role": "viewer"})).await);
    asked(Method::DELETE, &format!("/operators/{operator}"), Value::Null).await;
    let token = id(&asked(Method::POST, "/tokens", json!({"name": "ci"})).await);
    asked(Method::DELETE, &format!("/tokens/{token}"), Value::Null).await;

    let user = format!("user {user}");
    let expected = [
        done("POST /users", &user),
        done("PATCH /users/{id}", &user),
        done("POST /users/import", ""),
        done("POST /users/{id}/revoke", &user),
        done("POST /users/{id}/release", &user),
        done("DELETE /users/{id}", &user),
        done("POST /operators", &format!("operator {operator}")),
        done("DELETE /operators/{id}", &format!("operator {operator}")),
        done("POST /tokens", &format!("token {token}")),
        done("DELETE /tokens/{id}", &format!("token {token}")),
    ];
    assert_eq!(trail(&rest, &ann).await, expected);
    let rows = rows(&rest, &ann, "&action=POST%20/users").await;
    let who = json!(format!("operator {}", ann_id.id));
    assert_eq!((rows.len(), &rows[0]["principal"], &rows[0]["name"]), (1, &who, &json!("ann")));
    assert_eq!(rows[0]["request_id"], json!(created.header("x-request-id").unwrap()));
}

/// Made from the routes, so that a new one is among them.
#[tokio::test]
async fn every_route_that_writes_is_in_the_trail_or_in_the_history() {
    let told_by_the_history = [
        "POST /leases",
        "DELETE /leases/{id}",
        "POST /leases/{id}/renew",
        "POST /users/{id}/acquire",
        "POST /users/{id}/acquire_lock",
        "POST /users/{id}/lock",
    ];
    let principals = Principals::new().await;
    let routes = Document::get().await.routes();
    let writing: Vec<_> = routes.filter(|(path, method, _)| *method != "get" && path.starts_with("/api/v1")).collect();
    assert!(writing.len() > 15);
    for (path, method, _) in writing {
        let route = path.strip_prefix("/api/v1").unwrap();
        let action = format!("{} {route}", method.to_ascii_uppercase());
        if told_by_the_history.contains(&&*action) {
            continue;
        }
        let farm = Arc::new(MemoryFarm::new());
        let user = farm.create(bot("ada")).await.unwrap().id.to_string();
        let rest = principals.serve(farm);
        let unique = Uuid::new_v4();
        let login = format!("eve {unique}");
        principals.add_operator(&login, Role::Admin).await;
        let [ann, eve] = [principals.log_in("ann").await, principals.log_in(&login).await];
        let id = if route.starts_with("/operators") {
            principals.add_operator(&format!("op {unique}"), Role::Viewer).await.id.to_string()
        } else if route.starts_with("/tokens") {
            principals.token(&format!("token {unique}"), Role::Viewer, Scope::default(), None).await.0.id.to_string()
        } else {
            user
        };
        let new = json!({"login": "new", "password": "x", "project_id": project(), "env": "stage"});
        let body = match &*action {
            "POST /users" => new,
            "POST /users/import" => json!([new]),
            "PATCH /users/{id}" => json!({"condition": "dirty"}),
            "POST /users/{id}/revoke" => json!({"reason": "needed"}),
            "POST /login" => json!({"login": "ann", "password": PASSWORD}),
            "POST /operators" => json!({"login": format!("new {unique}"), "password": PASSWORD, "role": "viewer"}),
            "PUT /operators/{id}/password" => json!({"password": "another zebra battery"}),
            "POST /operators/me/password" => json!({"old": PASSWORD, "new": "another zebra battery"}),
            "POST /tokens" => json!({"name": format!("new {unique}")}),
            _ => Value::Null,
        };
        let path = route.replace("{id}", &id);
        let answer = call(&rest, &eve, method.to_ascii_uppercase().parse().unwrap(), &path, body).await;
        assert!(answer.status.is_success(), "{action}: {answer:?}");
        let actions: BTreeSet<_> = trail(&rest, &ann).await.into_iter().map(|(action, ..)| action).collect();
        assert_eq!(actions, BTreeSet::from([action]));
    }
}

#[tokio::test]
async fn a_lease_is_in_the_history_alone_and_each_look_at_its_passwords_in_the_trail() {
    let principals = Principals::new().await;
    let farm = Arc::new(MemoryFarm::with_bots([bot("ada"), bot("bob")]).unwrap());
    let rest = principals.serve(farm.clone());
    let (_, ci) = principals.token("ci", Role::Tester, Scope::default(), None).await;
    let [ann, tom] = [principals.log_in("ann").await, principals.log_in("tom").await];
    let lease = call(&rest, &ci, Method::POST, "/leases", json!({"users": [{}, {}]})).await.json();
    let path = format!("/leases/{}", lease["id"].as_str().unwrap());
    let renew = async |who: &str| {
        assert_eq!(call(&rest, who, Method::POST, &format!("{path}/renew"), Value::Null).await.status, 200);
    };
    renew(&ci).await;
    assert_eq!(trail(&rest, &ann).await, [], "who was given what, the history tells");

    for who in [&ci, &tom] {
        call(&rest, who, Method::GET, &path, Value::Null).await;
    }
    // Once, however often.
    renew(&tom).await;
    renew(&tom).await;
    let again = json!({"users": [{}, {}], "id": lease["id"]});
    assert_eq!(call(&rest, &tom, Method::POST, "/leases", again).await.status, 201);
    assert_eq!(call(&rest, &ci, Method::DELETE, &path, Value::Null).await.status, 204);
    let users = [0, 1].map(|index| format!("user {}", lease["users"][index]["id"].as_str().unwrap()));
    let actions = ["GET /leases/{id}", "GET /leases/{id}", "POST /leases/{id}/renew", "POST /leases"];
    let expected: Vec<_> = actions.iter().flat_map(|action| users.iter().map(|user| done(action, user))).collect();
    assert_eq!(trail(&rest, &ann).await, expected);
    let toms = rows(&rest, &ann, "&principal=tom").await;
    assert_eq!(toms.len(), 6);
    let text = json!(rows(&rest, &ann, "").await).to_string();
    assert!(!text.contains(lease["id"].as_str().unwrap()), "a lease id is a secret");
}

#[tokio::test]
async fn logins_are_in_the_trail_and_so_are_those_who_were_refused() {
    let principals = Principals::new().await;
    let rest = principals.empty();
    let (ann_id, _) = principals.store.operator(&"ann".parse().unwrap()).await.unwrap().unwrap();
    let (tom_id, _) = principals.store.operator(&"tom".parse().unwrap()).await.unwrap().unwrap();
    let ann = log_in(&rest, "ann", PASSWORD).await.json()["access_token"].as_str().unwrap().to_owned();
    let tom = principals.log_in("tom").await;
    for _ in 0..3 {
        assert_eq!(log_in(&rest, "tom", "not his password").await.status, 401);
        assert_eq!(log_in(&rest, "s3cret typed as a login", "x").await.status, 401);
        assert_eq!(rest.get("/api/v1/users").await.status, 401);
        assert_eq!(call(&rest, &tom, Method::GET, "/tokens", Value::Null).await.status, 403);
    }
    // A session that somebody has come by is no way to try passwords unseen.
    for old in ["not his horse battery", "not his zebra battery"] {
        let change = json!({"old": old, "new": "zebra battery horse"});
        assert_eq!(call(&rest, &tom, Method::POST, "/operators/me/password", change).await.status, 422);
    }
    let unfit = json!({"old": PASSWORD, "new": "short"});
    assert_eq!(call(&rest, &tom, Method::POST, "/operators/me/password", unfit).await.status, 422);
    assert_eq!(call(&rest, &tom, Method::POST, "/logout", Value::Null).await.status, 204);
    let rows = rows(&rest, &ann, "").await;
    let told: BTreeSet<_> = rows
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
            (text("action"), text("principal"), text("object"), text("result"), row["count"].as_u64().unwrap())
        })
        .collect();
    let (by_ann, by_tom) = (format!("operator {}", ann_id.id), format!("operator {}", tom_id.id));
    let row = |action: &str, principal: &str, object: &str, result: &str, count| {
        (action.to_owned(), principal.to_owned(), object.to_owned(), result.to_owned(), count)
    };
    let expected = BTreeSet::from([
        row("POST /login", &by_ann, &by_ann, "done", 1),
        row("POST /login", "-", &by_tom, "unauthenticated", 3),
        row("POST /login", "-", "-", "unauthenticated", 6),
        row("GET /tokens", &by_tom, "-", "forbidden", 3),
        row("POST /operators/me/password", &by_tom, &by_tom, "invalid", 2),
        row("POST /logout", &by_tom, "-", "done", 1),
    ]);
    assert_eq!(told, expected, "refusals are counted, and nothing is told of what somebody typed");
    assert!(!json!(rows).to_string().contains("s3cret"));
}

#[tokio::test(start_paused = true)]
async fn however_many_are_refused_the_trail_grows_by_few_entries_a_minute() {
    let kept = Kept::default();
    let principals = Principals::new().await;
    let options = Options {
        auth: Auth::Required(principals.required.clone()),
        audit: Arc::new(kept.clone()),
        ..Options::default()
    };
    let rest = Rest::with(Arc::new(MemoryFarm::new()), options);
    let mut tokens = Vec::new();
    for number in 0..150 {
        tokens.push(principals.token(&format!("viewer {number}"), Role::Viewer, Scope::default(), None).await.1);
    }
    for token in &tokens {
        for _ in 0..4 {
            assert_eq!(call(&rest, token, Method::GET, "/tokens", Value::Null).await.status, 403);
        }
    }
    tokio::time::sleep(Duration::from_mins(1)).await;
    until(async || !kept.0.lock().unwrap().is_empty()).await;
    let counts: Vec<_> = kept.0.lock().unwrap().iter().map(|act| act.count).collect();
    assert_eq!((counts.len(), counts.iter().sum::<u32>(), counts.iter().max()), (101, 600, Some(&200)));
}

/// Keeps what is recorded; or, when it is told to, fails.
#[derive(Debug, Clone, Default)]
struct Kept(Arc<std::sync::Mutex<Vec<Act>>>, bool);

#[async_trait]
impl Audit for Kept {
    async fn record(&self, acts: Vec<Act>) -> Result<()> {
        if self.1 {
            return Err(Error::backend(std::io::Error::other("the disk is full")));
        }
        self.0.lock().unwrap().extend(acts);
        Ok(())
    }

    async fn recorded(&self, _: &AuditFilter, _: &PageRequest) -> Result<Page<AuditEntry>> {
        Ok(Page { items: Vec::new(), next: None })
    }
}

#[tokio::test]
async fn what_cannot_be_recorded_is_done_all_the_same_and_that_is_logged_as_an_error() {
    let log = Log::start();
    let options = Options { audit: Arc::new(Kept(Arc::default(), true)), ..Options::default() };
    let rest = Rest::with(Arc::new(MemoryFarm::new()), options);
    let new = json!({"login": "ada", "password": "x", "project_id": project(), "env": "stage"});
    let answer = rest.post("/api/v1/users", new).await;
    assert_eq!(answer.status, 201);
    let user = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(rest.get(&format!("/api/v1/users/{user}")).await.status, 200);
    let text = log.text();
    let error = text.lines().find(|line| line.contains("ERROR")).expect("it is logged");
    assert!(error.contains("could not be recorded") && error.contains("the disk is full"), "{error}");
    let line = text.lines().find(|line| line.contains("botfarm::audit")).expect("each entry is a line of the log, too");
    assert!(line.contains("POST /users") && line.contains(&user), "{line}");
}

#[tokio::test]
async fn a_change_whose_caller_hangs_up_is_recorded() {
    let kept = Kept::default();
    let farm = MemoryFarm::new();
    let options = Options { audit: Arc::new(kept.clone()), ..Options::default() };
    let served = Served::start(Rest::with(Arc::new(farm.clone()), options).router).await;
    let new = json!({"login": "ada", "password": "x", "project_id": project(), "env": "stage"}).to_string();
    let mut gone = begin(&served, "/users", &new).await;
    gone.0.write_all(new.as_bytes()).await.unwrap();
    drop(gone);
    until(async || !kept.0.lock().unwrap().is_empty()).await;
    let acts = kept.0.lock().unwrap().clone();
    assert_eq!((acts.len(), acts[0].action.as_str()), (1, "POST /users"));
    let address = acts[0].origin.address.map(|address| address.to_string());
    assert_eq!((address.as_deref(), &acts[0].principal), (Some("127.0.0.1"), &None));
}

#[tokio::test]
async fn a_change_that_is_asked_for_twice_is_recorded_once() {
    let rest = Rest::empty();
    let new = json!({"login": "ada", "password": "x", "project_id": project(), "env": "stage"});
    for _ in 0..2 {
        let request = Request::post("/api/v1/users")
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", "7");
        let answer = rest.request(request.body(Body::from(new.to_string())).unwrap()).await;
        assert_eq!(answer.status, 201);
    }
    assert_eq!(rest.get("/api/v1/audit").await.json().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_confined_admin_does_not_read_the_trail() {
    let principals = Principals::new().await;
    let rest = principals.empty();
    let scope = Scope { project: Some(project()), env: None };
    let (_, confined) = principals.token("confined", Role::Admin, scope, None).await;
    let answer = call(&rest, &confined, Method::GET, "/audit", Value::Null).await;
    assert_eq!(answer.failure(), (403, "forbidden".to_owned()));
}

#[tokio::test]
async fn the_trail_comes_in_pages_and_as_it_is_asked_for() {
    let served = Served::start(Rest::empty().router).await;
    let farm = served.farm();
    let mut users = Vec::new();
    for login in ["ada", "bob", "eve"] {
        users.push(farm.create(NewBot { project: ProjectId::new(), ..bot(login) }).await.unwrap().id);
    }
    farm.delete(users[1]).await.unwrap();
    let listed = async |filter: AuditFilter| -> Vec<String> {
        let (mut seen, mut page) = (Vec::new(), PageRequest::first(1));
        loop {
            let Page { items, next } = farm.audit(&filter, &page).await.unwrap();
            seen.extend(items.into_iter().map(|entry| format!("{} {}", entry.act.action, entry.act.object.unwrap())));
            if next.is_none() {
                return seen;
            }
            page = page.after(next);
        }
    };
    let [ada, bob, eve] = [0, 1, 2].map(|index| format!("POST /users user {}", users[index]));
    let gone = format!("DELETE /users/{{id}} user {}", users[1]);
    assert_eq!(listed(AuditFilter::default()).await, [gone.clone(), eve.clone(), bob.clone(), ada.clone()]);
    let object = Some(format!("user {}", users[1]).parse().unwrap());
    assert_eq!(listed(AuditFilter { object, ..AuditFilter::default() }).await, [gone.clone(), bob]);
    let action = Some("DELETE /users/{id}".parse().unwrap());
    assert_eq!(listed(AuditFilter { action, ..AuditFilter::default() }).await, [gone]);
    let principal = Some("nobody".parse().unwrap());
    assert_eq!(listed(AuditFilter { principal, ..AuditFilter::default() }).await, [] as [String; 0]);
    let last = farm.audit(&AuditFilter::default(), &PageRequest::first(1)).await.unwrap().items[0].at;
    let since = Some(last + Duration::from_micros(1));
    assert_eq!(listed(AuditFilter { since, ..AuditFilter::default() }).await, [] as [String; 0]);
}

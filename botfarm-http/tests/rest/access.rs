//! Every route for every kind of caller.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use botfarm_core::{
    BotFarm, Env, LeaseRequest, Owner, Selector,
    operators::{Role, Scope},
};
use botfarm_http::auth::Required;
use botfarm_memory::MemoryFarm;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    document::Document,
    principals::{PASSWORD, Principals},
    service::{Rest, bot, project},
};

/// How a credential is presented, and which column of the table it belongs to.
#[derive(Debug)]
struct Caller {
    what: &'static str,
    header: Option<(header::HeaderName, String)>,
    column: Column,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    /// Not let in.
    Nobody,
    Viewer,
    Tester,
    /// A tester's token, confined to stage.
    Confined,
    Admin,
}

impl Caller {
    fn with(what: &'static str, header: (header::HeaderName, String), column: Column) -> Self {
        Self { what, header: Some(header), column }
    }
}

fn bearer(credential: &str) -> (header::HeaderName, String) {
    (header::AUTHORIZATION, format!("Bearer {credential}"))
}

fn cookie(credential: &str) -> (header::HeaderName, String) {
    (header::COOKIE, format!("other=1; __Host-botfarm={credential}; more=2"))
}

/// The same, with the character in the middle of its last part changed.
fn tampered(credential: &str) -> String {
    let place = credential.len() - 20;
    let (head, tail) = credential.split_at(place);
    format!("{head}{}{}", if tail.starts_with('A') { 'B' } else { 'A' }, &tail[1..])
}

/// The same claims, not signed.
fn unsigned(session: &str) -> String {
    // {"alg":"none","typ":"JWT"}
    format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", session.split('.').nth(1).unwrap())
}

async fn callers(principals: &Principals) -> Vec<Caller> {
    use Column::{Admin, Confined, Nobody, Tester, Viewer};

    let everything = Scope::default();
    let now = principals.add_operator("clock", Role::Viewer).await.created_at;
    let later = Some(now + Duration::from_hours(1));
    let [ann, tom, vic] =
        [principals.log_in("ann").await, principals.log_in("tom").await, principals.log_in("vic").await];
    let (_, admin) = principals.token("admin", Role::Admin, everything.clone(), later).await;
    let (_, tester) = principals.token("tester", Role::Tester, everything.clone(), None).await;
    let (_, viewer) = principals.token("viewer", Role::Viewer, everything.clone(), None).await;
    let stage = Scope { env: Some(Env::STAGE), project: None };
    let (_, confined) = principals.token("confined", Role::Tester, stage.clone(), None).await;
    let (_, confined_twice) =
        principals.token("confined twice", Role::Tester, Scope { project: Some(project()), ..stage }, later).await;

    let expired_session = {
        let required = Required { session_ttl: Duration::ZERO, ..principals.required.clone() };
        Principals { required, ..principals.clone() }.log_in("ann").await
    };
    let (_, expired_token) = principals.token("expired", Role::Admin, everything.clone(), Some(now)).await;
    let logged_out = principals.log_in("ann").await;
    let answer = crate::principals::call(&principals.empty(), &logged_out, Method::POST, "/logout", Value::Null).await;
    assert_eq!(answer.status, 204);
    let (revoked, revoked_token) = principals.token("revoked", Role::Admin, everything.clone(), None).await;
    principals.store.remove_token(revoked.id).await.unwrap();
    let eve = principals.add_operator("eve", Role::Admin).await;
    let removed = principals.log_in("eve").await;
    principals.store.remove_operator(eve.id).await.unwrap();
    let foreign = Principals::new().await.log_in("ann").await;

    vec![
        Caller { what: "no credential", header: None, column: Nobody },
        Caller::with("viewer", bearer(&vic), Viewer),
        Caller::with("viewer's cookie", cookie(&vic), Viewer),
        Caller::with("viewer token", bearer(&viewer), Viewer),
        Caller::with("tester", bearer(&tom), Tester),
        Caller::with("tester's cookie", cookie(&tom), Tester),
        Caller::with("tester token", bearer(&tester), Tester),
        Caller::with("confined token", bearer(&confined), Confined),
        Caller::with("confined token of a project", bearer(&confined_twice), Confined),
        Caller::with("admin", bearer(&ann), Admin),
        Caller::with("admin's cookie", cookie(&ann), Admin),
        Caller::with("admin token", bearer(&admin), Admin),
        Caller::with("bearer in lower case", (header::AUTHORIZATION, format!("bearer {ann}")), Admin),
        Caller::with("expired session", bearer(&expired_session), Nobody),
        Caller::with("expired cookie", cookie(&expired_session), Nobody),
        Caller::with("expired token", bearer(&expired_token), Nobody),
        Caller::with("tampered session", bearer(&tampered(&ann)), Nobody),
        Caller::with("tampered cookie", cookie(&tampered(&ann)), Nobody),
        Caller::with("tampered token", bearer(&tampered(&admin)), Nobody),
        Caller::with("alg none", bearer(&unsigned(&ann)), Nobody),
        Caller::with("alg none cookie", cookie(&unsigned(&ann)), Nobody),
        Caller::with("logged out", bearer(&logged_out), Nobody),
        Caller::with("logged out cookie", cookie(&logged_out), Nobody),
        Caller::with("revoked token", bearer(&revoked_token), Nobody),
        Caller::with("removed operator", bearer(&removed), Nobody),
        Caller::with("session of another service", bearer(&foreign), Nobody),
        Caller::with("password", (header::AUTHORIZATION, "Basic YW5uOnB3".to_owned()), Nobody),
        Caller::with("nothing after Bearer", bearer(""), Nobody),
        Caller::with("token without its scheme", (header::AUTHORIZATION, admin), Nobody),
    ]
}

/// What of a fresh farm the paths and bodies of the table name: `in…` is in stage, `out…` in prod.
struct Ground {
    rest: Rest,
    names: Vec<(&'static str, String)>,
}

impl Ground {
    async fn new(principals: &Principals) -> Self {
        let farm = Arc::new(MemoryFarm::new());
        let mut names = Vec::new();
        for (place, env) in [("in", Env::STAGE), ("out", Env::PROD)] {
            for (kind, name) in [("free", format!("{place}-free")), ("held", format!("{place}-held"))] {
                let new = botfarm_core::NewBot { env: env.clone(), ..bot(&name) };
                let bot = farm.create(new).await.unwrap();
                if kind == "held" {
                    let owner = Owner::try_from("somebody else").unwrap();
                    let request = LeaseRequest::new("somebody else".parse().unwrap(), Selector::bot(bot.id))
                        .with_terms(|terms| terms.owner = Some(owner));
                    let lease = farm.acquire(request).await.unwrap();
                    names.push((
                        if place == "in" { "{in-lease}" } else { "{out-lease}" },
                        lease.id.as_uuid().to_string(),
                    ));
                }
                let placeholder = match (place, kind) {
                    ("in", "free") => "{in}",
                    ("in", _) => "{in-held}",
                    (_, "free") => "{out}",
                    _ => "{out-held}",
                };
                names.push((placeholder, bot.id.to_string()));
            }
        }
        let unique = Uuid::new_v4();
        let operator = principals.add_operator(&format!("op {unique}"), Role::Admin).await;
        let (token, _) = principals.token(&format!("token {unique}"), Role::Admin, Scope::default(), None).await;
        names.push(("{operator}", operator.id.to_string()));
        names.push(("{token}", token.id.to_string()));
        names.push(("{unknown}", Uuid::new_v4().to_string()));
        names.push(("{new}", format!("new {unique}")));
        Self { rest: principals.serve(farm), names }
    }

    fn named(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    async fn status(&self, caller: &Caller, method: &str, path: &str, body: &Value) -> u16 {
        let mut request = Request::builder().method(method).uri(self.named(path));
        if let Some((name, value)) = &caller.header {
            request = request.header(name, value);
        }
        let body = match body {
            Value::Null => Body::empty(),
            body => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(self.named(&body.to_string()))
            }
        };
        let answer = self.rest.request(request.body(body).unwrap()).await;
        let status = answer.status.as_u16();
        if status >= 400 && method != "HEAD" && path.starts_with("/api") {
            answer.failure();
        }
        let asked = answer.header(header::WWW_AUTHENTICATE);
        assert_eq!(asked, (status == 401).then_some("Bearer"), "{method} {path} for {}", caller.what);
        status
    }
}

/// Method, path, body; and what a viewer, a tester, a confined tester and an admin are answered. Whoever is not let in
/// is answered 401.
type Row = (&'static str, &'static str, Value, [u16; 4]);

fn guarded() -> Vec<Row> {
    let new_user = |env: &str| json!({"login": "eve", "password": "x", "project_id": project(), "env": env});
    let wanted = |env: &str| json!({"users": [{"env": env}]});
    let mut table = vec![
        ("GET", "/users", Value::Null, [200, 200, 200, 200]),
        ("GET", "/users/", Value::Null, [200, 200, 200, 200]),
        ("GET", "/users?limit=1&env=prod", Value::Null, [200, 200, 200, 200]),
        ("GET", "/users?limit=0", Value::Null, [422, 422, 422, 422]),
        ("HEAD", "/users", Value::Null, [200, 200, 200, 200]),
        ("POST", "/users", new_user("stage"), [403, 403, 403, 201]),
        ("POST", "/users", json!({}), [403, 403, 403, 422]),
        ("POST", "/users/import", json!([new_user("prod")]), [403, 403, 403, 200]),
        ("GET", "/users/{in}", Value::Null, [200, 200, 200, 200]),
        ("GET", "/users/{out}", Value::Null, [200, 200, 404, 200]),
        ("GET", "/users/{unknown}", Value::Null, [404, 404, 404, 404]),
        ("GET", "/users/7", Value::Null, [400, 400, 400, 400]),
        ("PATCH", "/users/{in}", json!({"condition": "dirty"}), [403, 403, 403, 200]),
        ("PATCH", "/users/{out}", json!({"condition": "dirty"}), [403, 403, 403, 200]),
        ("DELETE", "/users/{in}", Value::Null, [403, 403, 403, 204]),
        ("DELETE", "/users/{in-held}", Value::Null, [403, 403, 403, 409]),
        ("GET", "/users/{in}/history", Value::Null, [200, 200, 200, 200]),
        ("GET", "/users/{out}/history", Value::Null, [200, 200, 404, 200]),
        ("POST", "/users/{in-held}/revoke", json!({"reason": "needed"}), [403, 403, 403, 200]),
        ("POST", "/users/{unknown}/revoke", json!({"reason": "needed"}), [403, 403, 403, 404]),
        ("GET", "/leases", Value::Null, [200, 200, 200, 200]),
        ("GET", "/leases?limit=1", Value::Null, [200, 200, 200, 200]),
        ("POST", "/leases", wanted("stage"), [403, 201, 201, 201]),
        ("POST", "/leases", wanted("prod"), [403, 201, 422, 201]),
        ("POST", "/leases", wanted("preprod"), [403, 422, 422, 422]),
        ("POST", "/leases", json!({"users": [{"id": "{out}"}]}), [403, 201, 422, 201]),
        ("POST", "/leases", json!({"users": [{"id": "{in-held}"}]}), [403, 409, 409, 409]),
        ("POST", "/leases", json!({"users": [{"id": "{out-held}"}]}), [403, 409, 422, 409]),
        ("GET", "/leases/{in-lease}", Value::Null, [403, 200, 200, 200]),
        ("GET", "/leases/{out-lease}", Value::Null, [403, 200, 404, 200]),
        ("GET", "/leases/{unknown}", Value::Null, [403, 404, 404, 404]),
        ("POST", "/leases/{in-lease}/renew", Value::Null, [403, 200, 200, 200]),
        ("POST", "/leases/{out-lease}/renew", json!({"ttl_seconds": 60}), [403, 200, 404, 200]),
        ("DELETE", "/leases/{in-lease}", Value::Null, [403, 204, 204, 204]),
        ("DELETE", "/leases/{out-lease}", Value::Null, [403, 204, 404, 204]),
        ("GET", "/runs/{unknown}", Value::Null, [200, 200, 200, 200]),
        ("POST", "/runs/{unknown}/end", json!({}), [403, 200, 200, 200]),
        ("GET", "/history", Value::Null, [200, 200, 200, 200]),
        ("GET", "/waiters", Value::Null, [200, 200, 200, 200]),
        ("GET", "/stats", Value::Null, [200, 200, 200, 200]),
        ("GET", "/audit", Value::Null, [403, 403, 403, 200]),
        ("GET", "/audit?limit=1&principal=ann", Value::Null, [403, 403, 403, 200]),
        ("GET", "/operators", Value::Null, [403, 403, 403, 200]),
        (
            "POST",
            "/operators",
            json!({"login": "{new}", "password": "made up as one goes", "role": "viewer"}),
            [403, 403, 403, 201],
        ),
        ("DELETE", "/operators/{operator}", Value::Null, [403, 403, 403, 204]),
        ("DELETE", "/operators/{unknown}", Value::Null, [403, 403, 403, 404]),
        ("PUT", "/operators/{operator}/password", json!({"password": "made up as one goes"}), [403, 403, 403, 204]),
        ("PUT", "/operators/{operator}/password", json!({"password": "x"}), [403, 403, 403, 422]),
        ("PUT", "/operators/{unknown}/password", json!({"password": "made up as one goes"}), [403, 403, 403, 404]),
        ("POST", "/operators/{operator}/sessions/end", Value::Null, [403, 403, 403, 204]),
        ("POST", "/operators/{unknown}/sessions/end", Value::Null, [403, 403, 403, 404]),
        ("GET", "/tokens", Value::Null, [403, 403, 403, 200]),
        ("POST", "/tokens", json!({"name": "{new}"}), [403, 403, 403, 201]),
        ("DELETE", "/tokens/{token}", Value::Null, [403, 403, 403, 204]),
        ("DELETE", "/tokens/{unknown}", Value::Null, [403, 403, 403, 404]),
    ];
    for path in ["/users/{}/acquire", "/users/{}/acquire_lock", "/users/{}/lock"] {
        for (bot, statuses) in [
            ("{in}", [403, 200, 200, 200]),
            ("{out}", [403, 200, 404, 200]),
            ("{in-held}", [403, 409, 409, 409]),
            ("{out-held}", [403, 409, 404, 409]),
            ("{unknown}", [403, 404, 404, 404]),
        ] {
            table.push(("POST", path.replace("{}", bot).leak(), Value::Null, statuses));
        }
    }
    for (method, path) in
        [("POST", "/users/{}/release"), ("POST", "/users/{}/release_lock"), ("DELETE", "/users/{}/lock")]
    {
        for (bot, statuses) in [
            ("{in}", [403, 200, 200, 200]),
            ("{out}", [403, 200, 404, 200]),
            ("{in-held}", [403, 403, 403, 200]),
            ("{out-held}", [403, 403, 404, 200]),
            ("{unknown}", [403, 404, 404, 404]),
        ] {
            table.push((method, path.replace("{}", bot).leak(), Value::Null, statuses));
        }
    }
    table
        .into_iter()
        .map(|(method, path, body, statuses)| (method, &*format!("/api/v1{path}").leak(), body, statuses))
        .collect()
}

#[tokio::test]
async fn every_route_answers_every_caller_with_its_exact_status() {
    let principals = Principals::new().await;
    let callers = callers(&principals).await;
    let mut wrong = Vec::new();
    for (method, path, body, [viewer, tester, confined, admin]) in guarded() {
        for caller in &callers {
            let expected = match caller.column {
                Column::Nobody => 401,
                Column::Viewer => viewer,
                Column::Tester => tester,
                Column::Confined => confined,
                Column::Admin => admin,
            };
            let status = Ground::new(&principals).await.status(caller, method, path, &body).await;
            if status != expected {
                wrong.push(format!("{method} {path} for {}: {status}, not {expected}", caller.what));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_is_open_answers_every_caller_alike() {
    let principals = Principals::new().await;
    let login = json!({"login": "ann", "password": PASSWORD});
    for caller in callers(&principals).await {
        let ground = Ground::new(&principals).await;
        for (method, path, body, expected) in [
            ("GET", "/health", &Value::Null, 200),
            ("GET", "/livez", &Value::Null, 200),
            ("GET", "/readyz", &Value::Null, 200),
            ("POST", "/api/v1/login", &login, 200),
            ("GET", "/api/v1/login", &Value::Null, 405),
            ("PUT", "/api/v1/users", &Value::Null, 405),
            ("GET", "/api/v1/nowhere", &Value::Null, 404),
            ("GET", "/", &Value::Null, 200),
        ] {
            assert_eq!(
                ground.status(&caller, method, path, body).await,
                expected,
                "{method} {path} for {}",
                caller.what
            );
        }
    }
}

#[tokio::test]
async fn a_login_is_ended_by_who_has_logged_in_and_by_no_token() {
    let principals = Principals::new().await;
    for caller in callers(&principals).await {
        let is_token = caller.header.as_ref().is_some_and(|(_, value)| value.contains(" bf_"));
        let expected = match caller.column {
            Column::Nobody => 401,
            _ if is_token => 403,
            _ => 204,
        };
        let ground = Ground::new(&principals).await;
        let status = ground.status(&caller, "POST", "/api/v1/logout", &Value::Null).await;
        // Cookie and header carry the same session: the second of them has been logged out by the first.
        let again = caller.what.ends_with("cookie") || caller.what.ends_with("lower case");
        assert_eq!(status, if again { 401 } else { expected }, "{}", caller.what);
        if status == 204 {
            assert_eq!(ground.status(&caller, "GET", "/api/v1/users", &Value::Null).await, 401, "{}", caller.what);
        }
    }
}

/// Made from the routes, so that a new one is among them: each says what the least role is that it is for.
#[tokio::test]
async fn a_route_refuses_every_caller_below_the_role_that_it_names() {
    let principals = Principals::new().await;
    let callers = callers(&principals).await;
    let (mut open, mut wrong) = (BTreeSet::new(), Vec::new());
    for (path, method, operation) in Document::get().await.routes() {
        let route = format!("{} {path}", method.to_ascii_uppercase());
        let Some(role) = operation.get("x-role") else {
            open.insert(route);
            continue;
        };
        let role: Role = role.as_str().unwrap().parse().unwrap();
        let path = path.replace("{id}", &Uuid::new_v4().to_string());
        for caller in &callers {
            let own = match caller.column {
                Column::Nobody => None,
                Column::Viewer => Some(Role::Viewer),
                Column::Tester | Column::Confined => Some(Role::Tester),
                Column::Admin => Some(Role::Admin),
            };
            // Whoever logs out is nobody for the routes that follow.
            let logs_out = ["/api/v1/logout", "/api/v1/operators/me/sessions/end"].contains(&path.as_str());
            if logs_out && own.is_some() {
                continue;
            }
            let ground = Ground::new(&principals).await;
            let status = ground.status(caller, &method.to_ascii_uppercase(), &path, &Value::Null).await;
            let is_right = match own {
                None => status == 401,
                Some(own) if own < role => status == 403,
                // A token that is confined may be refused what is about the whole farm.
                Some(_) => status != 401 && (status != 403 || caller.column == Column::Confined),
            };
            if !is_right {
                wrong.push(format!("{route}, for {role}: {status} for {}", caller.what));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let known = ["GET /health", "GET /livez", "GET /readyz", "POST /api/v1/login"];
    assert_eq!(open, known.map(str::to_owned).into(), "these alone are for everybody");
}

/// The document has every route: whatever it does not know is not there.
#[tokio::test]
async fn the_table_has_every_route() {
    let routes: BTreeSet<_> = Document::get()
        .await
        .routes()
        .filter_map(|(path, method, _)| {
            Some((method.to_ascii_uppercase(), path.strip_prefix("/api/v1")?.replace("{run}", "{id}")))
        })
        // What an operator does about its own login has tests of its own.
        .filter(|(_, path)| !["/login", "/logout"].contains(&path.as_str()) && !path.starts_with("/operators/me/"))
        .collect();
    let listed: BTreeSet<_> = guarded()
        .into_iter()
        .filter(|(_, path, ..)| path.starts_with("/api/v1"))
        .map(|(method, path, ..)| {
            let path = path.strip_prefix("/api/v1").unwrap().split('?').next().unwrap().trim_end_matches('/');
            let parts: Vec<_> = path.split('/').map(|part| if part.starts_with('{') { "{id}" } else { part }).collect();
            (method.to_owned(), parts.join("/"))
        })
        .collect();
    let missing: Vec<_> = routes.difference(&listed).collect();
    assert!(routes.len() > 15 && missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn without_authentication_all_is_open_and_there_is_nobody_to_look_after() {
    let rest = Rest::empty();
    let id = rest.farm.create(bot("ada")).await.unwrap().id;
    for (method, path, body, expected) in [
        (Method::POST, format!("/users/{id}/acquire"), json!({"holder": "somebody"}), (200, "")),
        (Method::POST, format!("/users/{id}/release"), Value::Null, (409, "busy")),
        (Method::POST, format!("/users/{id}/release"), json!({"force": true}), (200, "")),
        (Method::POST, "/login".to_owned(), json!({"login": "ann", "password": PASSWORD}), (404, "no-such-route")),
        (Method::POST, "/logout".to_owned(), Value::Null, (404, "no-such-route")),
        (Method::GET, "/operators".to_owned(), Value::Null, (404, "no-such-route")),
        (Method::POST, "/tokens".to_owned(), json!({"name": "ci"}), (404, "no-such-route")),
    ] {
        let answer = crate::principals::call(&rest, "what-is-none", method, &path, body).await;
        let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
        assert_eq!((answer.status.as_u16(), code.as_str()), expected, "{path}");
    }
}

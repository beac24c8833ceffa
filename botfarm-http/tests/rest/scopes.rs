//! What is whose: confined tokens, holders and owners.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use botfarm_core::{
    Bot, BotFarm, Env, LeaseRequest, NewBot, ProjectId, Selector,
    operators::{Role, Scope},
};
use botfarm_memory::MemoryFarm;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    principals::{Principals, call},
    service::{Answer, Rest, bot, project},
};

/// A farm of which a token may use some: `seen` is within its scope, `hidden` is in another project, `far` in another
/// env.
struct Ground {
    principals: Principals,
    rest: Rest,
    /// A tester's.
    tester: String,
    /// An admin's.
    admin: String,
    seen: Bot,
    hidden: Bot,
    far: Bot,
}

impl Ground {
    async fn new() -> Self {
        let principals = Principals::new().await;
        let farm = Arc::new(MemoryFarm::new());
        let seen = farm.create(bot("seen")).await.unwrap();
        let hidden = farm.create(NewBot { project: ProjectId::new(), ..bot("hidden") }).await.unwrap();
        let far = farm.create(NewBot { env: Env::PROD, ..bot("far") }).await.unwrap();
        let scope = Scope { project: Some(project()), env: Some(Env::STAGE) };
        let (_, tester) = principals.token("confined", Role::Tester, scope.clone(), None).await;
        let (_, admin) = principals.token("confined admin", Role::Admin, scope, None).await;
        Self { rest: principals.serve(farm), principals, tester, admin, seen, hidden, far }
    }

    async fn tester(&self, method: Method, path: &str, body: Value) -> Answer {
        call(&self.rest, &self.tester, method, path, body).await
    }

    async fn admin(&self, method: Method, path: &str, body: Value) -> Answer {
        call(&self.rest, &self.admin, method, path, body).await
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.tester(Method::GET, path, Value::Null).await;
        assert_eq!(answer.status, 200, "{path}");
        answer.json()
    }

    /// Somebody else's lease of these.
    async fn hold(&self, bots: &[&Bot]) -> botfarm_core::Lease {
        let selectors = bots.iter().map(|bot| Selector::bot(bot.id));
        self.rest.farm.acquire(LeaseRequest::many("somebody".parse().unwrap(), selectors)).await.unwrap()
    }
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn lists_and_counts_end_where_the_scope_does() {
    let ground = Ground::new().await;
    let seen = ground.seen.id.to_string();
    for query in ["", "?limit=10", "?env=stage", "?state=free", "?login=seen", &format!("?project_id={}", project())] {
        assert_eq!(ids(&ground.get(&format!("/users{query}")).await), [&seen], "{query}");
    }
    let hidden = format!("?project_id={}", ground.hidden.project);
    for query in ["?env=prod", "?env=preprod", "?login=hidden", "?login=far", &hidden, &format!("{hidden}&limit=1")] {
        assert_eq!(ground.get(&format!("/users{query}")).await, json!([]), "{query}");
    }
    let counts = ground.get("/stats").await;
    let pools = counts["pools"].as_array().unwrap();
    assert_eq!((pools.len(), &pools[0]["total"], &counts["waiting"]), (1, &json!(1), &json!(0)), "{counts}");
    for query in ["?env=prod&limit=0", "?env=prod&cursor=x", "?limit=0", "?cursor=x"] {
        let status = ground.tester(Method::GET, &format!("/users{query}"), Value::Null).await.status;
        assert_eq!(status, if query.contains("cursor") { 400 } else { 422 }, "{query}");
    }
}

#[tokio::test]
async fn leases_are_listed_with_the_users_in_scope_alone() {
    let ground = Ground::new().await;
    let mut others = Vec::new();
    for name in ["b", "c", "d"] {
        others.push(ground.rest.farm.create(bot(name)).await.unwrap());
    }
    ground.hold(&[&ground.hidden, &others[1]]).await;
    ground.hold(&[&ground.far]).await;
    ground.hold(&[&others[2]]).await;
    ground.hold(&[&others[0], &ground.seen]).await;
    let leases = ground.get("/leases").await;
    let users = |leases: &Value| -> Vec<Vec<String>> {
        let users = |lease: &Value| ids(&lease["users"]).into_iter().map(str::to_owned).collect();
        leases.as_array().unwrap().iter().map(users).collect()
    };
    let [b, c, d] = [&others[0], &others[1], &others[2]].map(|bot| bot.id.to_string());
    let expected = [vec![b, ground.seen.id.to_string()], vec![c], vec![d]];
    assert_eq!(users(&leases), expected);

    let (mut paged, mut path) = (Vec::new(), "/leases?limit=1".to_owned());
    loop {
        let answer = ground.tester(Method::GET, &path, Value::Null).await;
        paged.extend(users(&answer.json()));
        let Some(link) = answer.header(header::LINK) else { break };
        let next = link.strip_prefix("</api/v1").unwrap().split('>').next().unwrap();
        let cursor = next.split("cursor=").nth(1).unwrap().split('&').next().unwrap();
        let named = botfarm_core::Cursor::from_text(cursor).bot().unwrap();
        assert!(named != ground.hidden.id && named != ground.far.id, "a cursor names what is in scope");
        path = next.to_owned();
    }
    assert_eq!(paged, expected);
}

#[tokio::test]
async fn a_moved_account_shows_the_hand_outs_of_the_callers_own_project_alone() {
    let ground = Ground::new().await;
    let id = ground.seen.id;
    let move_to = async |project: ProjectId| {
        let changes = botfarm_core::BotChanges { project: Some(project), ..Default::default() };
        ground.rest.farm.update(id, changes).await.unwrap();
    };
    let hand_out = async |holder: &str| {
        let request = LeaseRequest::new(holder.parse().unwrap(), Selector::bot(id));
        let lease = ground.rest.farm.acquire(request).await.unwrap();
        ground.rest.farm.release(lease.id, botfarm_core::Ending::clean()).await.unwrap();
    };
    hand_out("ours 1").await;
    move_to(ProjectId::new()).await;
    for number in 0..150 {
        hand_out(&format!("theirs {number}")).await;
    }
    move_to(project()).await;
    hand_out("ours 2").await;
    hand_out("ours 3").await;

    let holders = |rows: &Value| -> Vec<String> {
        rows.as_array().unwrap().iter().map(|row| row["holder"].as_str().unwrap().to_owned()).collect()
    };
    let path = format!("/users/{id}/history");
    let ours = ["ours 3", "ours 2"];
    assert_eq!(holders(&ground.get(&path).await), ours, "a farm in memory tells the latest hundred");
    let all = ground.get(&format!("{path}?limit=1000")).await;
    assert_eq!(holders(&all), ours);
    let first = ground.tester(Method::GET, &format!("{path}?limit=1"), Value::Null).await;
    assert_eq!(holders(&first.json()), ["ours 3"]);
    let link = first.header(header::LINK).expect("there is more");
    let next = link.strip_prefix("</api/v1").unwrap().split('>').next().unwrap();
    let last = ground.tester(Method::GET, next, Value::Null).await;
    assert_eq!((holders(&last.json()), last.header(header::LINK)), (vec!["ours 2".to_owned()], None));
    let (_, everywhere) = ground.principals.token("everywhere", Role::Viewer, Scope::default(), None).await;
    let rows = call(&ground.rest, &everywhere, Method::GET, &path, Value::Null).await.json();
    assert_eq!(holders(&rows)[..3], ["ours 3", "ours 2", "theirs 149"], "who is not confined sees all of it");
}

#[tokio::test]
async fn the_history_tells_the_owner_beside_the_name_they_chose_and_admins_the_request() {
    let ground = Ground::new().await;
    let (token, secret) = ground.principals.token("nightly", Role::Tester, Scope::default(), None).await;
    let body = json!({"users": [{"id": ground.seen.id}], "holder": "ann"});
    let lease = call(&ground.rest, &secret, Method::POST, "/leases", body).await;
    let path = format!("/users/{}/history", ground.seen.id);
    let [ann, vic] = [ground.principals.log_in("ann").await, ground.principals.log_in("vic").await];
    let request = lease.header("x-request-id").unwrap();
    for (credential, request) in
        [(&ann, json!(request)), (&vic, Value::Null), (&secret, Value::Null), (&ground.admin, Value::Null)]
    {
        let rows = call(&ground.rest, credential, Method::GET, &path, Value::Null).await.json();
        let row = &rows[0];
        assert_eq!((&row["holder"], &row["owner"]), (&json!("ann"), &json!(format!("token {}", token.id))));
        assert_eq!(row["request_id"], request);
    }
}

#[tokio::test]
async fn what_is_out_of_scope_is_as_if_it_did_not_exist() {
    let ground = Ground::new().await;
    let held = ground.rest.farm.create(NewBot { env: Env::PROD, ..bot("held") }).await.unwrap();
    let lease = ground.hold(&[&held]).await.id.as_uuid();
    let nobody = Uuid::now_v7();
    let calls = |id: &str, lease: &str| {
        let user = format!("/users/{id}");
        vec![
            (Method::GET, user.clone(), Value::Null),
            (Method::GET, format!("{user}/history"), Value::Null),
            (Method::GET, format!("{user}/history?cursor=x"), Value::Null),
            (Method::PATCH, user.clone(), json!({"condition": "broken"})),
            (Method::PATCH, user.clone(), json!({"project_id": project()})),
            (Method::DELETE, user.clone(), Value::Null),
            (Method::POST, format!("{user}/acquire"), Value::Null),
            (Method::POST, format!("{user}/acquire"), json!({"wait_seconds": 60})),
            (Method::POST, format!("{user}/acquire"), json!({"ttl_seconds": 1})),
            (Method::POST, format!("{user}/release"), Value::Null),
            (Method::POST, format!("{user}/release"), json!({"lease_id": lease})),
            (Method::DELETE, format!("{user}/lock"), Value::Null),
            (Method::POST, format!("{user}/revoke"), json!({"reason": "mine"})),
            (Method::POST, "/leases".to_owned(), json!({"users": [{"id": id}]})),
            (Method::POST, "/leases".to_owned(), json!({"users": [{}, {"id": id}], "wait_seconds": 60})),
            (Method::POST, "/leases".to_owned(), json!({"users": [{"id": id}, {"as": "x"}, {"as": "x"}]})),
            (Method::GET, format!("/leases/{lease}"), Value::Null),
            (Method::POST, format!("/leases/{lease}/renew"), Value::Null),
            (Method::DELETE, format!("/leases/{lease}"), Value::Null),
        ]
    };
    let unknown_lease = Uuid::new_v4().to_string();
    let none = calls(&nobody.to_string(), &unknown_lease);
    for bot in [&ground.hidden, &ground.far, &held] {
        let out = calls(&bot.id.to_string(), &lease.to_string());
        for ((method, path, body), (_, other_path, other_body)) in out.into_iter().zip(none.clone()) {
            for credential in [&ground.tester, &ground.admin] {
                let answer = call(&ground.rest, credential, method.clone(), &path, body.clone()).await;
                let other = call(&ground.rest, credential, method.clone(), &other_path, other_body.clone()).await;
                assert!(answer.status.is_client_error(), "{method} {path}: {answer:?}");
                let (text, other_text) = (answer.json().to_string(), other.json().to_string());
                let text = text.replace(&bot.id.to_string(), &nobody.to_string());
                assert_eq!((answer.status, text), (other.status, other_text), "{method} {path} {body}");
            }
        }
        let kept = ground.rest.farm.get(bot.id).await.unwrap();
        assert_eq!((&kept.condition, &kept.project), (&bot.condition, &bot.project), "nothing was done");
    }
    ground.rest.farm.lookup(lease.into()).await.expect("it was not released");
}

#[tokio::test]
async fn selectors_find_nothing_out_of_scope() {
    let ground = Ground::new().await;
    let (hidden, nowhere) = (ground.hidden.project.clone(), ProjectId::new());
    for (users, at) in [
        (json!([{"login": "hidden"}]), 0),
        (json!([{"login": "far"}]), 0),
        (json!([{"env": "prod"}]), 0),
        (json!([{"project_id": hidden}]), 0),
        (json!([{"project_id": nowhere}]), 0),
        (json!([{}, {"env": "prod"}]), 1),
        (json!([{"env": "stage"}, {"project_id": hidden}]), 1),
        (json!([{"domain": "regular"}, {"project_id": hidden}]), 0),
        (json!([{}, {}]), 1),
    ] {
        let answer = ground.tester(Method::POST, "/leases", json!({"users": users, "wait_seconds": 60})).await;
        assert_eq!(answer.failure(), (422, "no-match".to_owned()), "{users}");
        let body = answer.json();
        assert_eq!(body["selector"], at, "{users}");
    }
    let told = async |project: ProjectId| {
        let body = json!({"users": [{"project_id": project}]});
        let told = ground.tester(Method::POST, "/leases", body).await.json().to_string();
        told.replace(&project.to_string(), "it")
    };
    assert_eq!(told(hidden).await, told(nowhere).await);

    let lease = ground.tester(Method::POST, "/leases", json!({"users": [{}]})).await;
    assert_eq!((lease.status.as_u16(), &lease.json()["users"][0]["login"]), (201, &json!("seen")));
    let short = ground.tester(Method::POST, "/leases", json!({"users": [{}]})).await;
    assert_eq!(
        (short.failure().1.as_str(), &short.json()["matching"]),
        ("exhausted", &json!(1)),
        "counts are of its own"
    );
}

#[tokio::test]
async fn nothing_is_made_out_of_scope_or_brought_in_from_there() {
    let ground = Ground::new().await;
    let new = |login: &str, project: ProjectId, env: Env| json!({"login": login, "password": "x", "project_id": project, "env": env});
    let other = ProjectId::new();
    for (project, env, expected) in [
        (project(), Env::STAGE, 201),
        (other.clone(), Env::STAGE, 403),
        (project(), Env::PROD, 403),
        (other.clone(), Env::PROD, 403),
    ] {
        let answer = ground.admin(Method::POST, "/users", new("new", project, env)).await;
        assert_eq!(answer.status, expected, "{answer:?}");
    }
    let moved = ground.admin(Method::PATCH, &format!("/users/{}", ground.seen.id), json!({"project_id": other})).await;
    assert_eq!(moved.failure(), (403, "forbidden".to_owned()));

    let rows = json!([
        new("fine", project(), Env::STAGE),
        new("far", project(), Env::PROD),
        new("else", other.clone(), Env::STAGE),
        new("HIDDEN", project(), Env::STAGE),
        new("both", other, Env::PROD),
    ]);
    for dry_run in ["", "?dry_run=true"] {
        let answer = ground.admin(Method::POST, &format!("/users/import{dry_run}"), rows.clone()).await;
        assert_eq!(answer.failure(), (422, "invalid".to_owned()));
        let errors = answer.json()["errors"].as_array().unwrap().clone();
        let pointers: Vec<_> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        assert_eq!(pointers, ["/1/env", "/2/project_id", "/3/login", "/4/project_id", "/4/env"]);
    }
    assert_eq!(ground.rest.farm.get(ground.hidden.id).await.unwrap(), ground.hidden, "it stays where it is");
    let rows = json!([new("fine", project(), Env::STAGE), new("seen", project(), Env::STAGE)]);
    let answer = ground.admin(Method::POST, "/users/import", rows).await;
    assert_eq!(answer.json(), json!({"created": 1, "updated": 1, "unchanged": 0}));
}

#[tokio::test]
async fn a_lease_out_of_scope_is_not_given_again_to_who_knows_its_id() {
    let ground = Ground::new().await;
    let lease = ground.hold(&[&ground.far]).await;
    let body = json!({"users": [{}], "id": lease.id});
    assert_eq!(ground.tester(Method::POST, "/leases", body).await.failure(), (422, "key-reused".to_owned()));
    ground.rest.farm.lookup(lease.id).await.expect("it is still in force");
    assert_eq!(ground.rest.farm.get(ground.seen.id).await.unwrap().holding, None);
}

#[tokio::test]
async fn a_confined_token_renews_and_releases_its_own_lease() {
    let ground = Ground::new().await;
    let lease = ground.tester(Method::POST, "/leases", json!({"users": [{}]})).await.json();
    let path = format!("/leases/{}", lease["id"].as_str().unwrap());
    let renewed = ground.tester(Method::POST, &format!("{path}/renew"), json!({"ttl_seconds": 60})).await;
    assert_eq!((renewed.status.as_u16(), &renewed.json()["ttl_seconds"]), (200, &json!(60)));
    for _ in ["the first time", "and again"] {
        assert_eq!(ground.tester(Method::DELETE, &path, Value::Null).await.status, 204);
    }
    let lost = ground.tester(Method::GET, &path, Value::Null).await;
    assert_eq!(lost.failure(), (410, "lease-lost".to_owned()));
}

#[tokio::test]
async fn the_holder_is_the_caller_unless_another_is_named() {
    let ground = Ground::new().await;
    let tom = ground.principals.log_in("tom").await;
    let path = format!("/users/{}", ground.seen.id);
    for (credential, body, expected) in [
        (&tom, json!({}), "tom"),
        (&ground.tester, json!({}), "confined"),
        (&tom, json!({"holder": "checkout test"}), "checkout test"),
    ] {
        let lock = call(&ground.rest, credential, Method::POST, &format!("{path}/acquire"), body.clone()).await;
        assert_eq!(lock.json()["holder"], expected);
        call(&ground.rest, credential, Method::POST, &format!("{path}/release"), body.clone()).await;
        let mut request = json!({"users": [{"id": ground.seen.id}]});
        request.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let lease = call(&ground.rest, credential, Method::POST, "/leases", request).await.json();
        assert_eq!(lease["holder"], expected);
        let released = call(&ground.rest, credential, Method::POST, &format!("{path}/release"), body).await;
        assert_eq!(released.status, 200, "its own lease, by the name that it was asked for under");
    }
}

#[tokio::test]
async fn a_lease_is_released_by_user_id_by_its_owner_or_an_admin_alone() {
    let ground = Ground::new().await;
    let [tom, vic, ann] = [
        ground.principals.log_in("tom").await,
        ground.principals.log_in("vic").await,
        ground.principals.log_in("ann").await,
    ];
    // Of the same name as the operator, but somebody else.
    let (_, other) = ground.principals.token("tom", Role::Tester, Scope::default(), None).await;
    let path = format!("/users/{}", ground.seen.id);
    for (who, expected) in [(&other, 403), (&ground.tester, 403), (&vic, 403), (&tom, 200)] {
        if expected == 403 {
            let lock = call(&ground.rest, &tom, Method::POST, &format!("{path}/acquire"), Value::Null).await;
            assert!(lock.status == 200 || lock.status == 409);
        }
        for (method, release) in [(Method::POST, "release"), (Method::POST, "release_lock"), (Method::DELETE, "lock")] {
            let answer = call(&ground.rest, who, method, &format!("{path}/{release}"), Value::Null).await;
            assert_eq!(answer.status, expected, "{release}");
        }
    }
    let not_holder = {
        call(&ground.rest, &tom, Method::POST, &format!("{path}/acquire"), json!({"holder": "Tom"})).await;
        call(&ground.rest, &other, Method::POST, &format!("{path}/release"), Value::Null).await
    };
    assert_eq!(not_holder.failure(), (403, "not-holder".to_owned()));
    assert_eq!(not_holder.json()["holder"], "Tom");
    // Another session of the same operator, which has to say that it means this lock.
    let again = ground.principals.log_in("tom").await;
    for body in [Value::Null, json!({"force": true}), json!({"holder": "Tom's other test"})] {
        let answer = call(&ground.rest, &again, Method::POST, &format!("{path}/release"), body).await;
        assert_eq!(answer.failure(), (409, "busy".to_owned()));
    }
    let answer = call(&ground.rest, &again, Method::POST, &format!("{path}/release"), json!({"holder": "Tom"})).await;
    assert_eq!(answer.status, 200);
    call(&ground.rest, &tom, Method::POST, &format!("{path}/acquire"), Value::Null).await;
    let answer = call(&ground.rest, &ann, Method::POST, &format!("{path}/release"), Value::Null).await;
    assert_eq!(answer.status, 200);
    assert_eq!(ground.rest.farm.get(ground.seen.id).await.unwrap().holding, None);
}

#[tokio::test]
async fn who_revokes_is_named_in_the_history_whatever_they_call_themselves() {
    let ground = Ground::new().await;
    ground.hold(&[&ground.seen]).await;
    let ann = ground.principals.log_in("ann").await;
    let path = format!("/users/{}", ground.seen.id);
    let body = json!({"reason": "needed", "by": "somebody else"});
    assert_eq!(call(&ground.rest, &ann, Method::POST, &format!("{path}/revoke"), body).await.status, 200);
    let history = ground.get(&format!("{path}/history")).await;
    let row = &history[0];
    assert_eq!((&row["reason"], &row["by"], &row["end_note"]), (&json!("revoked"), &json!("ann"), &json!("needed")));
}

#[tokio::test]
async fn idempotency_keys_are_each_callers_own() {
    let principals = Principals::new().await;
    let farm = Arc::new(MemoryFarm::with_bots([bot("ada"), bot("bob")]).unwrap());
    let rest = principals.serve(farm);
    let [tom, tom_again, ann] =
        [principals.log_in("tom").await, principals.log_in("tom").await, principals.log_in("ann").await];
    let mut leased = Vec::new();
    for credential in [tom, tom_again, ann] {
        let request = Request::post("/api/v1/leases")
            .header(header::AUTHORIZATION, format!("Bearer {credential}"))
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", "build 7");
        let body = Body::from(json!({"users": [{}], "holder": "build 7"}).to_string());
        let answer = rest.request(request.body(body).unwrap()).await;
        assert_eq!(answer.status, 201);
        leased.push(answer.json()["id"].clone());
    }
    assert_eq!(leased[0], leased[1]);
    assert_ne!(leased[0], leased[2]);
}

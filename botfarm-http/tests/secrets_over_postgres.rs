//! A service on a database, searched for every secret that a round of calls has used: its answers, all that its process
//! logs at the finest level, and the database's own log of all statements with their parameters.

mod searched;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{Method, Request, header},
};
use botfarm_core::{
    Keyring, MasterKey,
    operators::{NewToken, Operators as _, Role, Scope},
};
use botfarm_http::{
    Options,
    auth::{ApiToken, Auth, Required, SessionKey},
    router,
};
use botfarm_postgres::{PostgresFarm, PostgresOptions};
use http_body_util::BodyExt as _;
use postgres_lab::{Cluster, Database};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use self::searched::Search;

/// The status and the body of an answer.
async fn ask(router: &Router, token: &str, method: Method, path: &str, body: Value) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json");
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let response = router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn neither_the_service_nor_its_database_tells_a_secret() {
    let settings =
        [("log_statement", "all"), ("log_min_duration_statement", "0"), ("log_min_error_statement", "debug5")];
    let cluster = Cluster::start(&settings).await;
    let database = Database::on(cluster.server()).await;
    let key = MasterKey::generate();
    let key_text = key.expose_base64().to_string();
    let farm =
        PostgresFarm::connect(PostgresOptions::new(&database.url()).unwrap(), Keyring::new(key, [])).await.unwrap();
    let api_token = ApiToken::generate().unwrap();
    let (name, digest) = ("ci".parse().unwrap(), api_token.digest());
    let new = NewToken { name, role: Role::Admin, scope: Scope::default(), expires_at: None, digest };
    farm.add_token(new).await.unwrap();
    let auth = Auth::Required(Required::new(Arc::new(farm.clone()), SessionKey::random()));
    let (search, router) = Search::over(router(Arc::new(farm), Options { auth, ..Options::default() }));
    search.secret("master key", &key_text);
    let token = api_token.secret().expose();
    let call = async |method: Method, path: &str, body: Value| ask(&router, token, method, path, body).await;
    let (get, post, patch) = (Method::GET, Method::POST, Method::PATCH);

    let account = |login: &str, password: &str| {
        json!({
            "login": login, "password": password, "env": "stage",
            "project_id": "8f2b9f66-3d3e-4a57-9f37-0a2cf5a6d1c4",
        })
    };
    let (status, user) = call(post.clone(), "/api/v1/users", account("qa-1", "xyzzy-made-up-1")).await;
    assert_eq!(status, 201);
    let user = format!("/api/v1/users/{}", user["id"].as_str().unwrap());
    assert_eq!(call(post.clone(), "/api/v1/users", account("QA-1", "xyzzy-made-up-2")).await.0, 400);
    let rows = json!([account("qa-2", "xyzzy-made-up-3"), account("QA-2", "xyzzy-made-up-4")]);
    assert_eq!(call(post.clone(), "/api/v1/users/import", rows).await.0, 422);
    let rows = json!([account("qa-1", "xyzzy-made-up-5")]);
    assert_eq!(call(post.clone(), "/api/v1/users/import", rows).await.0, 200);

    let wanted = json!({"users": [{"env": "stage"}], "wait_seconds": 1});
    let (status, lease) = call(post.clone(), "/api/v1/leases", wanted.clone()).await;
    assert_eq!((status, &lease["users"][0]["password"]), (201, &json!("xyzzy-made-up-5")));
    assert_eq!(call(post.clone(), "/api/v1/leases", wanted.clone()).await.0, 409);
    assert_eq!(call(patch, &user, json!({"password": "xyzzy-made-up-6"})).await.0, 200);
    let lease = format!("/api/v1/leases/{}", lease["id"].as_str().unwrap());
    assert_eq!(call(post.clone(), &format!("{lease}/renew"), Value::Null).await.0, 200);
    assert_eq!(call(Method::DELETE, &lease, Value::Null).await.0, 204);
    assert_eq!(call(get.clone(), &lease, Value::Null).await.0, 410);

    let operator = json!({"login": "ann", "password": "xyzzy-made-up-7", "role": "admin"});
    assert_eq!(call(post.clone(), "/api/v1/operators", operator).await.0, 201);
    for (password, expected) in [("xyzzy-made-up-8", 401), ("xyzzy-made-up-7", 200)] {
        let login = json!({"login": "ann", "password": password});
        assert_eq!(call(post.clone(), "/api/v1/login", login).await.0, expected);
    }
    let (status, issued) = call(post.clone(), "/api/v1/tokens", json!({"name": "nightly"})).await;
    assert_eq!(status, 201);
    assert_eq!(call(get.clone(), "/metrics", Value::Null).await.0, 200);

    let log = cluster.log().await;
    assert!(log.contains("insert into bots") && log.contains("= 'qa-1'"), "the database logs all that it is told");
    for secret in ["xyzzy-made-up-", &key_text, token, issued["token"].as_str().unwrap()] {
        assert!(!log.contains(secret), "the database was told a secret in clear");
    }
    // And what is said and logged of a database that has gone.
    cluster.kill().await;
    assert_eq!(call(get, "/health", Value::Null).await.0, 503);
    assert_eq!(call(post, "/api/v1/leases", wanted).await.0, 503);
}

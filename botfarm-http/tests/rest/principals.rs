//! Operators and tokens to test with.

use std::sync::{Arc, LazyLock};

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use botfarm_core::{
    BotFarm, Timestamp,
    operators::{NewToken, Operator, Operators, PasswordHash, Role, Scope, Token},
};
use botfarm_http::{
    Options,
    auth::{ApiToken, Auth, Required, SessionKey, hash_password},
};
use botfarm_memory::MemoryFarm;
use serde_json::{Value, json};

use crate::service::{Answer, Rest};

/// The password of all operators.
pub(crate) const PASSWORD: &str = "correct zebra battery staple";

static HASH: LazyLock<PasswordHash> =
    LazyLock::new(|| hash_password(&"anybody".parse().unwrap(), &PASSWORD.try_into().unwrap()).unwrap());

/// Those who may use a service, kept apart from its bots.
#[derive(Debug, Clone)]
pub(crate) struct Principals {
    pub(crate) store: Arc<dyn Operators>,
    pub(crate) required: Required,
}

impl Principals {
    /// An admin ann, a tester tom and a viewer vic.
    pub(crate) async fn new() -> Self {
        let store = crate::store::operators();
        let required = Required::new(store.clone(), SessionKey::random());
        let principals = Self { store, required };
        for (login, role) in [("ann", Role::Admin), ("tom", Role::Tester), ("vic", Role::Viewer)] {
            principals.add_operator(login, role).await;
        }
        principals
    }

    pub(crate) async fn add_operator(&self, login: &str, role: Role) -> Operator {
        self.store.add_operator(login.parse().unwrap(), HASH.clone(), role).await.unwrap()
    }

    /// A token, and its secret.
    pub(crate) async fn token(
        &self,
        name: &str,
        role: Role,
        scope: Scope,
        expires_at: Option<Timestamp>,
    ) -> (Token, String) {
        let secret = ApiToken::generate().unwrap();
        let token = NewToken { name: name.parse().unwrap(), role, scope, expires_at, digest: secret.digest() };
        (self.store.add_token(token).await.unwrap(), secret.secret().expose().to_owned())
    }

    /// A service of `farm` for these principals.
    pub(crate) fn serve(&self, farm: Arc<dyn BotFarm>) -> Rest {
        Rest::with(farm, Options { auth: Auth::Required(self.required.clone()), ..Options::default() })
    }

    /// Over an empty farm in memory.
    pub(crate) fn empty(&self) -> Rest {
        self.serve(Arc::new(MemoryFarm::new()))
    }

    /// Logs in; gives the access token.
    pub(crate) async fn log_in(&self, login: &str) -> String {
        let answer = log_in(&self.empty(), login, PASSWORD).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }
}

pub(crate) async fn log_in(rest: &Rest, login: &str, password: &str) -> Answer {
    rest.post("/api/v1/login", json!({"login": login, "password": password})).await
}

/// A request with the header `Authorization: Bearer …`; without a body when that is null.
pub(crate) async fn call(rest: &Rest, credential: &str, method: Method, path: &str, body: Value) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(format!("/api/v1{path}"))
        .header(header::AUTHORIZATION, format!("Bearer {credential}"));
    let request = if body.is_null() {
        request.body(Body::empty())
    } else {
        request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string()))
    };
    rest.request(request.unwrap()).await
}

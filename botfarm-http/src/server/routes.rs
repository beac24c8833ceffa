//! Every route, with what handles it and what describes it.

use axum::{
    Router,
    handler::Handler,
    http::Method,
    middleware::from_fn_with_state,
    routing::{MethodFilter, MethodRouter, on},
};
use botfarm_core::operators::Role;

use crate::server::{
    App, BASE, audit, auth, health,
    idempotency::once::{Once, once},
    layers::compression,
    metrics::counters,
    openapi as docs,
    openapi::Description,
    resources::{leases, locks, runs, seen, users},
};

/// The routes so far, and what describes them: the one cannot be without the other.
struct Routes {
    once: Once,
    router: Router<App>,
    described: Vec<(Method, String, Description)>,
}

impl Routes {
    fn add(mut self, method: Method, path: String, handler: MethodRouter<App>, operation: Description) -> Self {
        self.router = self.router.route(&path, handler);
        self.described.push((method, path, operation));
        self
    }

    /// Reads. What is read may be long.
    fn get<H: Handler<T, App>, T: 'static>(self, path: &str, handler: H, operation: Description) -> Self {
        let handler = compression::of_route(on(MethodFilter::GET, handler));
        self.add(Method::GET, at(path), handler, operation)
    }

    /// Outside the API's base path.
    fn outside<H: Handler<T, App>, T: 'static>(self, path: &str, handler: H, operation: Description) -> Self {
        let handler = compression::of_route(on(MethodFilter::GET, handler));
        self.add(Method::GET, path.to_owned(), handler, operation)
    }

    fn post<H: Handler<T, App>, T: 'static>(self, path: &str, handler: H, operation: Description) -> Self {
        self.add(Method::POST, at(path), on(MethodFilter::POST, handler), operation)
    }

    fn put<H: Handler<T, App>, T: 'static>(self, path: &str, handler: H, operation: Description) -> Self {
        self.add(Method::PUT, at(path), on(MethodFilter::PUT, handler), operation)
    }

    fn delete<H: Handler<T, App>, T: 'static>(self, path: &str, handler: H, operation: Description) -> Self {
        self.add(Method::DELETE, at(path), on(MethodFilter::DELETE, handler), operation)
    }

    /// Changes users, and does so once however often it is asked for under one `Idempotency-Key`. None of the answers,
    /// which are kept, has a secret in it. To lock a user is to lease it, which is not among them: leases have ids.
    fn change<H, T>(self, role: Role, method: Method, path: &str, handler: H, operation: Description) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).expect("is a method of HTTP");
        let handler = on(filter, handler).layer(from_fn_with_state(self.once.of(role), once));
        self.add(method, at(path), handler, operation)
    }
}

/// Not nested: a nested router rewrites the URL of each request.
fn at(path: &str) -> String {
    format!("{BASE}{path}")
}

/// Every route, with its description.
pub(super) fn routes(app: &App) -> (Router<App>, Vec<(Method, String, Description)>) {
    let start = Routes { once: Once::new(app.clone()), router: Router::new(), described: Vec::new() };
    let Routes { router, described, .. } = start
        .get("/users", users::list, docs::users::list)
        .change(Role::Admin, Method::POST, "/users", users::create, docs::users::create)
        .change(Role::Admin, Method::POST, "/users/import", users::import, docs::users::import)
        .get("/users/{id}", users::get, docs::users::get)
        .change(Role::Admin, Method::PATCH, "/users/{id}", users::update, docs::users::update)
        .change(Role::Admin, Method::DELETE, "/users/{id}", users::delete, docs::users::delete)
        .get("/users/{id}/history", users::history, docs::users::history)
        .change(Role::Admin, Method::POST, "/users/{id}/revoke", locks::revoke, docs::users::revoke)
        .post("/users/{id}/acquire", locks::acquire, docs::locks::acquire)
        .post("/users/{id}/acquire_lock", locks::acquire, docs::locks::acquire_lock)
        .post("/users/{id}/lock", locks::acquire, docs::locks::lock)
        .change(Role::Tester, Method::POST, "/users/{id}/release", locks::release, docs::locks::release)
        .change(Role::Tester, Method::POST, "/users/{id}/release_lock", locks::release, docs::locks::release_lock)
        .change(Role::Tester, Method::DELETE, "/users/{id}/lock", locks::release, docs::locks::unlock)
        .get("/leases", leases::list, docs::leases::list)
        .post("/leases", leases::acquire, docs::leases::acquire)
        .get("/leases/{id}", leases::lookup, docs::leases::lookup)
        .delete("/leases/{id}", leases::release, docs::leases::release)
        .post("/leases/{id}/renew", leases::renew, docs::leases::renew)
        .get("/waiters", seen::waiters, docs::seen::waiters)
        .get("/history", seen::history, docs::seen::history)
        .get("/runs/{run}", runs::list, docs::runs::list)
        .change(Role::Tester, Method::POST, "/runs/{run}/end", runs::end, docs::runs::end)
        .post("/login", auth::login, docs::operators::login)
        .post("/logout", auth::logout, docs::operators::logout)
        .get("/operators", auth::list_operators, docs::operators::list_operators)
        .post("/operators", auth::add_operator, docs::operators::add_operator)
        .delete("/operators/{id}", auth::remove_operator, docs::operators::remove_operator)
        .put("/operators/{id}/password", auth::reset_password, docs::operators::reset_password)
        .post("/operators/{id}/sessions/end", auth::end_sessions, docs::operators::end_sessions)
        .post("/operators/me/password", auth::change_password, docs::operators::change_password)
        .post("/operators/me/sessions/end", auth::end_own_sessions, docs::operators::end_own_sessions)
        .get("/tokens", auth::list_tokens, docs::operators::list_tokens)
        .post("/tokens", auth::add_token, docs::operators::add_token)
        .delete("/tokens/{id}", auth::remove_token, docs::operators::remove_token)
        .get("/audit", audit::list, docs::operators::audit)
        .get("/stats", health::stats, docs::service::stats)
        .outside("/health", health::health, docs::service::health)
        .outside("/livez", health::livez, docs::service::livez)
        .outside("/readyz", health::readyz, docs::service::readyz)
        .outside("/metrics", counters::metrics, docs::service::metrics);
    (router, described)
}

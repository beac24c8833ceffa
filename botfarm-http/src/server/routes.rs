//! Every route, with what handles it and what describes it.

use axum::{
    Router,
    handler::Handler,
    http::Method,
    routing::{MethodFilter, MethodRouter, on},
};

use super::{
    App, BASE, auth, health, leases, locks, metrics,
    openapi::{self as docs, Description},
    users,
};

/// The routes so far, and what describes them: the one cannot be without the other.
#[derive(Default)]
struct Routes {
    router: Router<App>,
    described: Vec<(Method, String, Description)>,
}

impl Routes {
    fn add<H, T>(mut self, method: Method, path: &str, handler: H, operation: Description) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.described.push((method.clone(), path.to_owned(), operation));
        let filter = MethodFilter::try_from(method).expect("is a method of HTTP");
        let handler: MethodRouter<App> = on(filter, handler);
        self.router = self.router.route(path, handler);
        self
    }

    fn get<H: Handler<T, App>, T: 'static>(self, path: &str, handler: H, operation: Description) -> Self {
        self.add(Method::GET, &at(path), handler, operation)
    }

    fn post<H: Handler<T, App>, T: 'static>(self, path: &str, handler: H, operation: Description) -> Self {
        self.add(Method::POST, &at(path), handler, operation)
    }

    fn patch<H: Handler<T, App>, T: 'static>(self, path: &str, handler: H, operation: Description) -> Self {
        self.add(Method::PATCH, &at(path), handler, operation)
    }

    fn delete<H: Handler<T, App>, T: 'static>(self, path: &str, handler: H, operation: Description) -> Self {
        self.add(Method::DELETE, &at(path), handler, operation)
    }

    /// Outside the API's base path.
    fn outside<H: Handler<T, App>, T: 'static>(self, path: &str, handler: H, operation: Description) -> Self {
        self.add(Method::GET, path, handler, operation)
    }
}

/// Not nested: a nested router rewrites the URL of each request.
fn at(path: &str) -> String {
    format!("{BASE}{path}")
}

/// Every route, with its description.
pub(super) fn routes() -> (Router<App>, Vec<(Method, String, Description)>) {
    let Routes { router, described } = Routes::default()
        .get("/users", users::list, docs::users::list)
        .post("/users", users::create, docs::users::create)
        .post("/users/import", users::import, docs::users::import)
        .get("/users/{id}", users::get, docs::users::get)
        .patch("/users/{id}", users::update, docs::users::update)
        .delete("/users/{id}", users::delete, docs::users::delete)
        .get("/users/{id}/history", users::history, docs::users::history)
        .post("/users/{id}/revoke", locks::revoke, docs::users::revoke)
        .post("/users/{id}/acquire", locks::acquire, docs::locks::acquire)
        .post("/users/{id}/acquire_lock", locks::acquire, docs::locks::acquire_lock)
        .post("/users/{id}/lock", locks::acquire, docs::locks::lock)
        .post("/users/{id}/release", locks::release, docs::locks::release)
        .post("/users/{id}/release_lock", locks::release, docs::locks::release_lock)
        .delete("/users/{id}/lock", locks::release, docs::locks::unlock)
        .get("/leases", leases::list, docs::leases::list)
        .post("/leases", leases::acquire, docs::leases::acquire)
        .get("/leases/{id}", leases::lookup, docs::leases::lookup)
        .delete("/leases/{id}", leases::release, docs::leases::release)
        .post("/leases/{id}/renew", leases::renew, docs::leases::renew)
        .post("/login", auth::login, docs::staff::login)
        .post("/logout", auth::logout, docs::staff::logout)
        .get("/operators", auth::list_operators, docs::staff::list_operators)
        .post("/operators", auth::add_operator, docs::staff::add_operator)
        .delete("/operators/{id}", auth::remove_operator, docs::staff::remove_operator)
        .get("/tokens", auth::list_tokens, docs::staff::list_tokens)
        .post("/tokens", auth::add_token, docs::staff::add_token)
        .delete("/tokens/{id}", auth::remove_token, docs::staff::remove_token)
        .get("/stats", health::stats, docs::service::stats)
        .outside("/health", health::health, docs::service::health)
        .outside("/livez", health::livez, docs::service::livez)
        .outside("/readyz", health::readyz, docs::service::readyz)
        .outside("/metrics", metrics::metrics, docs::service::metrics);
    (router, described)
}

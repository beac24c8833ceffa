//! The OpenAPI document: what every route takes and gives.
//!
//! Schemas are derived from the structs of [`wire`](crate::wire). Each route of [`routes`](super::routes) stands beside
//! its description, so that none goes without. `operation` has the words that descriptions are made of, `failures` the
//! problems, and the other files the descriptions.

pub(super) mod leases;
pub(super) mod locks;
pub(super) mod operators;
pub(super) mod runs;
pub(super) mod seen;
pub(super) mod service;
pub(super) mod users;

mod examples;
mod failures;
mod operation;
mod parts;

use axum::http::Method;
use serde_json::{Value, json};
use utoipa::openapi::{
    ComponentsBuilder, HeaderBuilder, InfoBuilder, License, ObjectBuilder, OpenApiBuilder, OpenApiVersion, Paths,
    RefOr,
    path::{HttpMethod, Parameter, ParameterBuilder, ParameterIn},
    schema::Type,
    security::{ApiKey, ApiKeyValue, Flow, HttpAuthScheme, HttpBuilder, OAuth2, Password, Scopes, SecurityScheme},
    server::Server,
    tag::TagBuilder,
};

pub(super) use self::operation::Operation;
use self::{operation::text, parts::Schemas};
use super::BASE;

const ABOUT: &str = "Leases real test accounts to parallel end-to-end tests: one test, one account, given back even \
                     when CI dies.\n\n\
                     - An account is a *user*. A *lease* is the exclusive, timed right to use one or more of them, and \
                     has their passwords.\n\
                     - Fields and parameters that are not known are refused (422), and so is what is not as described \
                     here, with every fault in `errors`.\n\
                     - Failures are `application/problem+json` (RFC 9457); `code` is stable. Besides what is listed \
                     with each call: 404 `no-such-route`, and 405 `method-not-allowed` with `Allow`.\n\
                     - A slash at the end of a path is accepted.\n\
                     - With authentication off, no credential is needed.";

/// Tags, in the order in which they are shown.
const TAGS: [(&str, &str); 8] = [
    ("leases", "Leasing, renewing, giving back"),
    ("locks", "Leasing one user by its id"),
    ("users", "The accounts"),
    ("login", "Logging in and out"),
    ("operators", "Who logs in"),
    ("tokens", "The credentials of programs"),
    ("audit", "Who did what"),
    ("service", "How the service is doing"),
];

/// Headers of answers.
const HEADERS: [(&str, &str); 9] = [
    ("X-Request-Id", "The id of this request in the service's log: the caller's own, if it sent a sane one."),
    ("Botfarm-Version", "The version of the service."),
    ("Location", "The path of what was made."),
    ("Link", "The next page, as `<…>; rel=\"next\"`. Not there on the last page."),
    ("Preference-Applied", "`wait=N`, when `Prefer` was heeded."),
    ("Retry-After", "When to try again, in seconds."),
    ("Cache-Control", "`no-store`: there is a secret in the answer."),
    ("Set-Cookie", "The session, for browsers."),
    ("WWW-Authenticate", "`Bearer`."),
];

/// Describes a route.
pub(super) type Description = fn() -> Operation;

/// The document as it grows, route by route.
#[derive(Default)]
pub(super) struct Document {
    paths: Paths,
    schemas: Schemas,
}

impl Document {
    /// Adds a route.
    pub(super) fn add(&mut self, method: &Method, path: &str, operation: Operation) {
        let (operation, schemas) = operation.build();
        let method = match *method {
            Method::POST => HttpMethod::Post,
            Method::PUT => HttpMethod::Put,
            Method::PATCH => HttpMethod::Patch,
            Method::DELETE => HttpMethod::Delete,
            _ => HttpMethod::Get,
        };
        self.paths.add_path_operation(path, vec![method], operation);
        self.schemas.extend(schemas);
    }

    /// All of it, as JSON.
    pub(super) fn finish(self) -> Value {
        let mut components = ComponentsBuilder::new()
            .schemas_from_iter(self.schemas.into_iter().chain(failures::parts()))
            .security_scheme("bearer", bearer())
            .security_scheme("login", login())
            .security_scheme("cookie", cookie())
            .parameter("X-Request-Id", RefOr::T(request_id()));
        for (name, about) in HEADERS {
            let kind = if name == "Retry-After" { Type::Integer } else { Type::String };
            let schema = ObjectBuilder::new().schema_type(kind);
            let header = HeaderBuilder::new().schema(Some(schema)).description(Some(about));
            components = components.header(name, header.build());
        }
        let info = InfoBuilder::new()
            .title("Botfarm")
            .version(env!("CARGO_PKG_VERSION"))
            .description(Some(ABOUT))
            .license(Some(License::builder().name("MIT").identifier(Some("MIT")).build()));
        let tags = TAGS.map(|(name, about)| TagBuilder::new().name(name).description(Some(about)).build());
        let document = OpenApiBuilder::new()
            .openapi(OpenApiVersion::Version31)
            .info(info)
            .servers(Some([Server::new("/")]))
            .paths(self.paths)
            .components(Some(components.build()))
            .tags(Some(tags))
            .build();
        let mut document = json!(document);
        if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
            schemas.extend(failures::schemas());
            schemas.values_mut().for_each(require_all_fields);
        }
        document
    }
}

/// Answers have all their fields, null ones too; requests, which are closed, have those that they need.
fn require_all_fields(schema: &mut Value) {
    let Some(schema) =
        schema.as_object_mut().filter(|schema| schema.get("additionalProperties") != Some(&json!(false)))
    else {
        return;
    };
    if let Some(parts) = schema.get_mut("allOf").and_then(Value::as_array_mut) {
        parts.iter_mut().for_each(require_all_fields);
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let required = properties.keys().cloned().collect();
        schema.insert("required".to_owned(), required);
    }
}

fn bearer() -> SecurityScheme {
    let about = "An API token (`bf_…`), or the access token of a login.";
    SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(about)).build())
}

fn login() -> SecurityScheme {
    let password = Flow::Password(Password::new(format!("{BASE}/login"), Scopes::new()));
    SecurityScheme::OAuth2(OAuth2::with_description([password], "The login and password of an operator."))
}

fn cookie() -> SecurityScheme {
    let about = "The cookie of a login, for browsers. Its name is `botfarm` where it may go over plain HTTP.";
    SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description("__Host-botfarm", about)))
}

fn request_id() -> Parameter {
    ParameterBuilder::new()
        .name("X-Request-Id")
        .parameter_in(ParameterIn::Header)
        .description(Some(
            "An id to find the request by in the service's log: 1 to 128 of `A-Z a-z 0-9 . _ -`. The service makes one \
             in place of any other.",
        ))
        .schema(Some(text()))
        .build()
}

//! The answer to a request that failed: one type for all of them.

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use botfarm_core::{BoxError, Error, Faults, nearest};

use super::BASE;
use crate::wire::{Code, Problem};

/// The answer to a request that failed. What caused it is logged, and never sent.
#[derive(Debug)]
pub(crate) struct Refusal {
    problem: Box<Problem>,
    cause: Option<BoxError>,
}

impl Refusal {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { problem: Box::new(Problem::new(code, detail)), cause: None }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Code::Malformed, detail)
    }

    /// Somebody asks for more than they may have at once.
    pub(crate) fn too_many(after: Duration, what: impl fmt::Display) -> Self {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        let code = Code::TooManyRequests { retry_after_seconds: Duration::from_secs(seconds).into() };
        Self::new(code, format!("{what}; try again in {seconds} s"))
    }

    /// A handler panicked. The panic itself has been reported where it happened.
    pub(crate) fn panicked() -> Self {
        Self::new(Code::Internal, "the service failed unexpectedly; its log has the details")
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let problem = Box::new(Problem::from(&error));
        let cause = match error {
            Error::Backend { source } => Some(source),
            Error::Unavailable { source, .. } => source,
            _ => None,
        };
        Self { problem, cause }
    }
}

impl From<Faults> for Refusal {
    fn from(faults: Faults) -> Self {
        Error::from(faults).into()
    }
}

/// The code of the refusal that an answer is, for whoever it passes on its way.
#[derive(Debug, Clone)]
pub(crate) struct Refused(pub(super) Arc<str>);

impl Refused {
    fn of(code: &Code) -> Option<Self> {
        Some(Self(serde_json::to_value(code).ok()?.get("code")?.as_str()?.into()))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { problem, cause } = self;
        let status = problem.code.status();
        if let Some(cause) = cause {
            tracing::error!(status = status.as_u16(), cause = explained(&*cause), "the farm failed");
        }
        let retry_after = problem.code.retry_after();
        let unauthenticated = matches!(problem.code, Code::Unauthenticated);
        // A problem is of plain fields and string keys: it has no way not to serialise.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        // Of the others, nobody asks.
        let is_told = status.is_server_error()
            || matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS);
        if let Some(refused) = Refused::of(&problem.code).filter(|_| is_told) {
            response.extensions_mut().insert(refused);
        }
        if let Some(after) = retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if unauthenticated {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// An error with its causes, one after another.
pub(crate) fn explained(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What paths begin with that there are, after the base of the API.
const PATHS: [&str; 11] =
    ["users", "leases", "runs", "waiters", "history", "login", "logout", "operators", "tokens", "audit", "stats"];

/// Nothing is at the path of the request. Where another was meant, perhaps, that is said.
pub(crate) async fn no_such_route(uri: Uri) -> Refusal {
    let path = uri.path();
    let within = ["/api/v1/", "/api/", "/v1/", "/"].iter().find_map(|base| path.strip_prefix(base)).unwrap_or(path);
    let meant = nearest(within.split('/').next().unwrap_or_default(), PATHS);
    let detail = match meant {
        Some(meant) => {
            format!("there is nothing at this path; did you mean {BASE}/{meant}? /docs has all that there are")
        }
        None => format!("there is nothing at this path; the API begins at {BASE}, and /docs describes it"),
    };
    Refusal::new(Code::NoSuchRoute, detail)
}

/// `Allow` is added by the router, which knows.
pub(crate) async fn method_not_allowed() -> Refusal {
    Refusal::new(Code::MethodNotAllowed, "this path does not take this method; the header Allow names those it takes")
}

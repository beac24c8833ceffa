//! Answers that hold a secret.

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use botfarm_core::Error;
use serde::Serialize;

use super::refusal::Refusal;

/// In bytes: more than a lease of one user takes. What is too small is copied each time it grows.
const BODY: usize = 1 << 10;

/// So many headers an answer may have at the end.
const HEADERS: usize = 12;

/// JSON that holds a password, a token or the id of a lease: nobody on the way is to keep it.
pub(super) struct Private<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Private<T> {
    fn into_response(self) -> Response {
        let mut body = Vec::with_capacity(BODY);
        if let Err(error) = serde_json::to_writer(&mut body, &self.0) {
            return Refusal::from(Error::Backend { source: error.into() }).into_response();
        }
        let mut response = Response::new(Body::from(body));
        let headers = response.headers_mut();
        headers.reserve(HEADERS);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

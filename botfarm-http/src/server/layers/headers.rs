//! Headers that keep browsers from doing with an answer what it is not for.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// An answer of this API is data: nothing in it is to be run, shown in a frame, or taken for something else. A page
/// that is to be shown brings a `Content-Security-Policy` of its own.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
];

/// Adds those that are not there yet. What is `of_the_api` is of the moment and of the caller, and kept nowhere.
pub(crate) fn harden(headers: &mut HeaderMap, of_the_api: bool) {
    if of_the_api {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(value);
    }
}

//! Which answers are compressed.

use axum::http::{Extensions, HeaderMap, StatusCode, Version, header};
use tower_http::{
    CompressionLevel,
    compression::{
        CompressionLayer, Predicate,
        predicate::{NotForContentType, SizeAbove},
    },
};

/// What fits into one packet gains nothing.
const WORTH_IT: u16 = 1_024;

/// Compresses large answers for callers that take gzip, but none that holds a secret: how well a secret compresses
/// next to what an attacker had written beside it tells what it is (BREACH).
pub(super) fn layer() -> CompressionLayer<impl Predicate> {
    let worth_it = SizeAbove::new(WORTH_IT).and(NotForContentType::IMAGES).and(NotForContentType::SSE);
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(worth_it.and(holds_no_secret))
}

fn holds_no_secret(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let no_store = headers.get_all(header::CACHE_CONTROL).iter().any(|value| value == "no-store");
    !no_store && !headers.contains_key(header::SET_COOKIE)
}

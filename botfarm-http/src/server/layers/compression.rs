//! Which answers are compressed.

use axum::{
    Router,
    extract::Request,
    http::{Extensions, HeaderMap, StatusCode, Version, header},
    middleware::{Next, from_fn},
    response::Response,
    routing::MethodRouter,
};
use tokio::sync::Semaphore;
use tower_http::{
    CompressionLevel,
    compression::{
        CompressionLayer, Predicate,
        predicate::{NotForContentType, SizeAbove},
    },
};

use crate::server::extract::held::held;

/// What fits into one packet gains nothing.
const WORTH_IT: u16 = 1_024;

/// How many answers are compressed at once: each takes some 300 KB until it has been read. Further ones go as they are.
const AT_ONCE: usize = 32;

/// Compresses the large answers of a route.
pub(crate) fn of_route<S: Clone + Send + Sync + 'static>(route: MethodRouter<S>) -> MethodRouter<S> {
    route.layer(layer()).layer(from_fn(in_turn))
}

/// Compresses the large answers of all routes so far.
pub(crate) fn of_routes<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    routes.layer(layer()).layer(from_fn(in_turn))
}

async fn in_turn(mut request: Request, next: Next) -> Response {
    static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);
    if !request.headers().contains_key(header::ACCEPT_ENCODING) {
        return next.run(request).await;
    }
    // Taken before there is an answer, since the handler may have it done by then.
    let Ok(turn) = TURNS.try_acquire() else {
        request.headers_mut().remove(header::ACCEPT_ENCODING);
        return next.run(request).await;
    };
    held(next.run(request).await, turn)
}

/// Compresses large answers for callers that take gzip, but none that holds a secret: how well a secret compresses
/// next to what an attacker had written beside it tells what it is (BREACH).
fn layer() -> CompressionLayer<impl Predicate> {
    let worth_it = SizeAbove::new(WORTH_IT).and(NotForContentType::IMAGES).and(NotForContentType::SSE);
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(worth_it.and(holds_no_secret))
}

fn holds_no_secret(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let no_store = headers.get_all(header::CACHE_CONTROL).iter().any(|value| value == "no-store");
    !no_store && !headers.contains_key(header::SET_COOKIE)
}

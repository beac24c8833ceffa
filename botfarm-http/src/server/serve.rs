//! Runs the router on a listener, until it is told to stop.

use std::{io, net::IpAddr, pin::pin, time::Duration};

use axum::{Router, http::Request};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time,
};
use tower::ServiceExt as _;

use super::{auth::Peer, drain::Drain};

/// How long requests in flight may take after the shutdown. CI systems and Kubernetes kill after 10 to 30 s.
const GRACE: Duration = Duration::from_secs(8);

/// How long a client may take to send the head of a request. Also ends connections that idle.
const HEAD: Duration = Duration::from_secs(90);

/// How often an HTTP/2 peer is asked whether it is still there, so that a waiter who has vanished leaves the queue.
const PING: Duration = Duration::from_secs(20);

/// How long to rest when the system has no connection left to give.
const EXHAUSTED: Duration = Duration::from_millis(200);

/// Serves `router` on `listener` until `shutdown` resolves. Then it stops accepting; waits in the queue end at once
/// with 503 `unavailable`, `/readyz` answers 503, and other requests in flight get 8 s to finish. Leases stay: they
/// are the farm's.
///
/// Cancel safety: when the future is dropped, all its connections are cut at once.
///
/// # Errors
/// None at present: what is wrong with one connection ends that connection alone.
pub async fn serve<S>(listener: TcpListener, router: Router, shutdown: S) -> io::Result<()>
where
    S: Future<Output = ()> + Send + 'static,
{
    let (start, drain) = Drain::channel();
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(converse(stream, peer.ip(), router.clone(), drain.clone()));
                }
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "no connection can be accepted");
                    time::sleep(EXHAUSTED).await;
                }
            },
            // Reaps those that have ended.
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    start.send_replace(true);
    let finished = async { while connections.join_next().await.is_some() {} };
    if time::timeout(GRACE, finished).await.is_err() {
        tracing::warn!(cut = connections.len(), "some requests took too long to finish, and are cut");
        connections.shutdown().await;
    }
    Ok(())
}

/// Answers the requests of one connection.
async fn converse(stream: TcpStream, peer: IpAddr, router: Router, drain: Drain) {
    // Answers are small, and somebody waits for each.
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(PING);
    let told = drain.clone();
    let router = router.map_request(move |mut request: Request<_>| {
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(told.clone());
        request
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = drain.started() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // The peer went away, or does not speak HTTP.
        tracing::debug!(error, "a connection ended early");
    }
}

/// Whether an accept failed for the peer's fault, so that the next may succeed.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

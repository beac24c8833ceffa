//! Runs the router on a listener, until it is told to stop.

use std::{
    convert::Infallible,
    io,
    net::IpAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, Response, header},
    response::IntoResponse as _,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{self, MissedTickBehavior},
};
use tower::{ServiceExt as _, service_fn};

use crate::{
    server::{
        auth::Peer,
        connections::{Connections, Place},
        drain::{Drain, Stage},
        layers::watched::Watched,
        reception::{Arrival, Reception},
        refusal::Refusal,
    },
    wire::Code,
};

/// How long requests in flight may take after the shutdown. CI systems and Kubernetes kill after 10 to 30 s.
const GRACE: Duration = Duration::from_secs(8);

/// How long a client may take to send the head of a request. Also ends connections that idle.
const HEAD: Duration = Duration::from_secs(90);

/// The longest head of a request, in bytes; the longest that this API has use for is some 8 KiB. Over HTTP/1, hyper
/// takes at most 100 headers, too.
const HEAD_LIMIT: u16 = 32 << 10;

/// How long a connection may be silent before the system asks the peer whether it is still there, how long it gives
/// it for an answer, and how often it asks: after a minute, a waiter who has vanished leaves the queue.
const SILENCE: Duration = Duration::from_secs(30);
const PROBE: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

/// How long the system keeps what a peer does not take.
#[cfg(target_os = "linux")]
const UNTAKEN: Duration = Duration::from_secs(30);

/// How many requests an HTTP/2 peer may have under way on one connection.
const STREAMS: u32 = 100;

/// How much of requests an HTTP/2 peer may send before it is read, in bytes.
const WINDOW: u32 = 64 << 10;

/// How often to look for connections that have been open for too long.
const SWEEP: Duration = Duration::from_secs(5);

/// How often an HTTP/2 peer is asked whether it is still there, so that a waiter who has vanished leaves the queue.
const PING: Duration = Duration::from_secs(20);

/// Serves `router` on `listener` until `shutdown` resolves. Then it stops accepting; waits in the queue end at once
/// with 503 `unavailable`, `/readyz` answers 503, and other requests in flight get 8 s to finish. Leases stay: they
/// are the farm's.
///
/// There are 4,096 connections at most, or what the process may open. When there are more, the one that has done nothing
/// for longest is closed; when all are at work, who connects is told whether the service is alive, and nothing else.
/// Who does not read an answer for 30 s loses the connection.
///
/// Connections are taken in by a thread of their own, which also answers `/livez` where that is what a connection begins
/// with: so the answer does not wait for all else that the service is busy with.
///
/// Cancel safety: when the future is dropped, all its connections are cut at once.
///
/// # Errors
/// When that thread cannot be started, or ends. What is wrong with one connection ends that connection alone.
pub async fn serve<S>(listener: TcpListener, router: Router, shutdown: S) -> io::Result<()>
where
    S: Future<Output = ()> + Send + 'static,
{
    serve_with_notice(listener, router, async {
        shutdown.await;
        Duration::ZERO
    })
    .await
}

/// The same as [`serve`], but that it goes on accepting for as long as `shutdown` says when it resolves. Meanwhile
/// `/readyz` answers 503, so that whatever sends requests here finds another replica, and nobody waits in the queue:
/// those who do are sent away at once, and those who come and want to wait get what is free or are sent away.
///
/// # Errors
/// As with [`serve`].
pub async fn serve_with_notice<S>(listener: TcpListener, router: Router, shutdown: S) -> io::Result<()>
where
    S: Future<Output = Duration> + Send + 'static,
{
    let (reach, drain) = Drain::channel();
    let mut connections = JoinSet::new();
    let places = Connections::new();
    let mut sweep = time::interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shutdown = pin!(async {
        let notice = shutdown.await;
        reach.send_replace(Stage::Draining);
        time::sleep(notice).await;
    });
    let desk = Desk::new(router, drain);
    let mut reception = Reception::open(listener, places.clone(), desk.clone())?;
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            arrival = reception.next() => {
                let arrival = arrival.ok_or_else(|| io::Error::other("connections are no longer taken in"))?;
                connections.spawn(desk.clone().converse_with(arrival));
            }
            // Reaps those that have ended.
            Some(_) = connections.join_next() => {}
            _ = sweep.tick() => places.sweep(),
        }
    }
    reception.close();
    while let Some(arrival) = reception.next().await {
        connections.spawn(desk.clone().converse_with(arrival));
    }
    reach.send_replace(Stage::Stopping);
    let finished = async { while connections.join_next().await.is_some() {} };
    if time::timeout(GRACE, finished).await.is_err() {
        tracing::warn!(cut = connections.len(), "some requests took too long to finish, and are cut");
        connections.shutdown().await;
    }
    Ok(())
}

/// What answers requests.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    router: Router,
    drain: Drain,
}

impl Desk {
    pub(super) fn new(router: Router, drain: Drain) -> Self {
        Self { router, drain }
    }

    async fn converse_with(self, Arrival { stream, peer, place }: Arrival) {
        // Without a runtime to take it, the connection is closed.
        if let Ok(stream) = TcpStream::from_std(stream) {
            self.converse(stream, peer, place, true).await;
        }
    }

    /// Answers the requests of one connection, or the first alone.
    pub(super) async fn converse(self, stream: TcpStream, peer: IpAddr, place: Place, keep_alive: bool) {
        let Self { router, drain } = self;
        let connection = place.0.clone();
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(HEAD_LIMIT.into())
            .keep_alive(keep_alive);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .max_header_list_size(HEAD_LIMIT.into())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_send_buf_size(WINDOW as usize);
        let told = drain.clone();
        let asked = Arc::new(AtomicBool::new(false));
        let speaks = asked.clone();
        let watched = connection.clone();
        let service = service_fn(move |mut request: Request<_>| {
            speaks.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(Peer(peer));
            request.extensions_mut().insert(told.clone());
            let (under_way, router) = (watched.request(), router.clone());
            let turned_away = watched.spare && !is_probe(request.uri().path());
            async move {
                let answer = if turned_away { one_too_many() } else { router.oneshot(request).await? };
                Ok::<_, Infallible>(answer.map(|body| Watched::new(body, under_way)))
            }
        });
        let mut conversation = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)));
        // Before it is known which HTTP the peer speaks, and in HTTP/2 before the first request, hyper has no limit.
        let mute = async {
            time::sleep(HEAD).await;
            if asked.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        let ended = tokio::select! {
            ended = &mut conversation => ended,
            () = mute => return,
            () = connection.is_closed() => return,
            () = drain.reaches(Stage::Stopping) => {
                conversation.as_mut().graceful_shutdown();
                conversation.await
            }
        };
        if let Err(error) = ended {
            // The peer went away, or does not speak HTTP.
            tracing::debug!(error, "a connection ended early");
        }
    }
}

/// Whether this asks how the service is.
pub(super) fn is_probe(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/health")
}

fn one_too_many() -> Response<Body> {
    let code = Code::Unavailable { retry_after_seconds: Duration::from_secs(1).into() };
    let refusal = Refusal::new(code, "the service has as many connections as it takes");
    let mut answer = refusal.into_response();
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Makes the system send answers at once, since they are small and somebody waits for each, and notice peers that have
/// vanished or take nothing. Without that, the connection works all the same.
pub(super) fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(PROBE).with_retries(PROBES);
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(UNTAKEN));
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// How long a connection is looked at that has sent `beginning` and nothing more, in seconds.
    async fn patience(beginning: &[u8]) -> u64 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, address) = listener.accept().await.unwrap();
        peer.write_all(beginning).await.unwrap();
        let (_reach, drain) = Drain::channel();
        let desk = Desk::new(Router::new(), drain);
        let begun = time::Instant::now();
        tokio::spawn(desk.converse(stream, address.ip(), Connections::new().enter(), true));
        time::timeout(Duration::from_mins(10), peer.read_to_end(&mut Vec::new())).await.expect("it hangs up").unwrap();
        begun.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_finish_a_head_is_hung_up_on() {
        for beginning in [
            &b""[..],
            b"P",
            b"PRI * HTTP/2.0\r\n\r\nSM",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET /livez HTTP/1.1\r\nhost: localhost\r\n",
        ] {
            let patience = patience(beginning).await;
            assert!((20..=91).contains(&patience), "{patience} s for {beginning:?}");
        }
    }

    #[tokio::test]
    async fn peers_that_have_vanished_are_noticed() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        prepare(&stream);
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), SILENCE);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), PROBE);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), PROBES);
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNTAKEN));
    }
}

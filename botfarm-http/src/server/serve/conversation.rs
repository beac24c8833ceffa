//! The conversation on a connection: requests, and their answers.

use std::{
    convert::Infallible,
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
use tokio::{net::TcpStream, time};
use tower::{ServiceExt as _, service_fn};

use super::connections::Place;
use crate::{
    server::{
        auth::Peer,
        drain::{Drain, Stage},
        layers::watched::Watched,
        refusal::Refusal,
    },
    wire::Code,
};
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

/// How often an HTTP/2 peer is asked whether it is still there, so that a waiter who has vanished leaves the queue.
const PING: Duration = Duration::from_secs(20);

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
pub(in crate::server) fn is_probe(path: &str) -> bool {
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
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::{super::connections::Connections, *};

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

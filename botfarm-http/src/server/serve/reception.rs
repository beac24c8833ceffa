//! Takes connections in on a thread of its own, and answers there who only asks whether the process is alive.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, TcpStream as StdTcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::{mpsc, oneshot},
    task::JoinSet,
    time,
};

use super::{
    connections::{Connections, Place},
    conversation::{Desk, prepare},
};

/// What a connection begins with on which somebody asks whether the process is alive.
const LIVEZ: &[u8] = b"GET /livez ";

/// How many connections the system may have made that are yet to be taken in. When there are more, a client that connects
/// hears nothing, and tries again after a second.
const BACKLOG: i32 = 4_096;

/// How long to rest when the system has no connection left to give.
const EXHAUSTED: Duration = Duration::from_millis(200);

/// How many connections may wait for the service to notice them; those behind wait at the reception.
const WAITING: usize = 128;

/// How long connections are still heard that were taken in before the end.
const LAST_WORD: Duration = Duration::from_millis(100);

/// A connection that has been taken in, and on which something was said.
#[derive(Debug)]
pub(super) struct Arrival {
    /// It blocks nobody who reads from it.
    stream: StdTcpStream,
    peer: IpAddr,
    place: Place,
}

/// Where connections are taken in. Closed when it is dropped.
#[derive(Debug)]
pub(super) struct Reception {
    arrivals: mpsc::Receiver<Arrival>,
    open: Option<oneshot::Sender<()>>,
}

impl Arrival {
    /// Answers its requests.
    pub(super) async fn converse(self, desk: Desk) {
        // Without a runtime to take it, the connection is closed.
        if let Ok(stream) = TcpStream::from_std(self.stream) {
            desk.converse(stream, self.peer, self.place, true).await;
        }
    }
}

impl Reception {
    /// Takes connections in from now on.
    ///
    /// # Errors
    /// When the thread cannot be started, or the listener cannot be moved there.
    pub(super) fn open(listener: TcpListener, places: Arc<Connections>, desk: Desk) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let listener = listener.into_std()?;
        // Of a socket that listens, this changes that number alone. Without it, the number is that of whoever made it.
        let _ = SockRef::from(&listener).listen(BACKLOG);
        let (sender, arrivals) = mpsc::channel(WAITING);
        let (open, closed) = oneshot::channel();
        let listener = {
            let _there = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let work = async move {
            let mut callers = JoinSet::new();
            tokio::select! {
                _ = closed => {}
                never = take_in(listener, &places, &desk, &sender, &mut callers) => match never {},
            }
            let heard = async { while callers.join_next().await.is_some() {} };
            tokio::select! {
                () = heard => {}
                () = time::sleep(LAST_WORD) => {}
                () = sender.closed() => {}
            }
        };
        thread::Builder::new().name("botfarm-reception".to_owned()).spawn(move || runtime.block_on(work))?;
        Ok(Self { arrivals, open: Some(open) })
    }

    /// The next connection; `None` when it is closed, and all that came before were given.
    pub(super) async fn next(&mut self) -> Option<Arrival> {
        self.arrivals.recv().await
    }

    /// Takes no more connections in. Those on which nothing is said in the next tenth of a second are cut.
    pub(super) fn close(&mut self) {
        self.open = None;
    }
}

async fn take_in(
    listener: TcpListener,
    places: &Arc<Connections>,
    desk: &Desk,
    arrivals: &mpsc::Sender<Arrival>,
    callers: &mut JoinSet<()>,
) -> Infallible {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    callers.spawn(greet(stream, peer.ip(), places.enter(), desk.clone(), arrivals.clone()));
                }
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "no connection can be accepted");
                    time::sleep(EXHAUSTED).await;
                }
            },
            // Reaps those that have ended.
            Some(_) = callers.join_next() => {}
        }
    }
}

/// Hears what a caller begins with, answers if it is easily done, and sends all others on.
async fn greet(stream: TcpStream, peer: IpAddr, place: Place, desk: Desk, arrivals: mpsc::Sender<Arrival>) {
    prepare(&stream);
    let mut start = [0; LIVEZ.len()];
    let heard = tokio::select! {
        heard = stream.peek(&mut start) => heard,
        () = place.0.is_closed() => return,
    };
    if heard.is_ok_and(|length| start[..length] == *LIVEZ) {
        // What else it may ask for on the same connection is for others.
        return desk.converse(stream, peer, place, false).await;
    }
    if let Ok(stream) = stream.into_std() {
        // When nobody is there any more, the connection is closed.
        let _ = arrivals.send(Arrival { stream, peer, place }).await;
    }
}

/// Whether an accept failed for the peer's fault, so that the next may succeed.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::server::drain::Drain;

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_hung_up_on() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, address) = listener.accept().await.unwrap();
        let (places, (_reach, drain), (arrivals, _given)) = (Connections::new(), Drain::channel(), mpsc::channel(1));
        let desk = Desk::new(axum::Router::new(), drain);
        let greeting = tokio::spawn(greet(stream, address.ip(), places.enter(), desk, arrivals));
        time::advance(Duration::from_secs(80)).await;
        places.sweep();
        tokio::task::yield_now().await;
        assert!(!greeting.is_finished());
        time::advance(Duration::from_secs(11)).await;
        places.sweep();
        greeting.await.unwrap();
        assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
    }
}

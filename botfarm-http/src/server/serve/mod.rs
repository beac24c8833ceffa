//! Runs the router on a listener, until it is told to stop.

pub(super) mod connections;
mod conversation;
mod reception;

use std::{io, pin::pin, time::Duration};

use axum::Router;
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{self, MissedTickBehavior},
};

#[cfg(test)]
pub(super) use self::connections::Connections;
#[cfg(not(test))]
use self::connections::Connections;
pub(super) use self::conversation::is_probe;
use self::{conversation::Desk, reception::Reception};
use crate::server::drain::{Drain, Stage};

/// How long requests in flight may take after the shutdown. CI systems and Kubernetes kill after 10 to 30 s.
const GRACE: Duration = Duration::from_secs(8);

/// How often to look for connections that have been open for too long.
const SWEEP: Duration = Duration::from_secs(5);

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
                connections.spawn(arrival.converse(desk.clone()));
            }
            // Reaps those that have ended.
            Some(_) = connections.join_next() => {}
            _ = sweep.tick() => places.sweep(),
        }
    }
    reception.close();
    while let Some(arrival) = reception.next().await {
        connections.spawn(arrival.converse(desk.clone()));
    }
    reach.send_replace(Stage::Stopping);
    let finished = async { while connections.join_next().await.is_some() {} };
    if time::timeout(GRACE, finished).await.is_err() {
        tracing::warn!(cut = connections.len(), "some requests took too long to finish, and are cut");
        connections.shutdown().await;
    }
    Ok(())
}

//! What hears of grants that other processes made.

use std::{
    sync::{Weak, atomic::Ordering},
    time::Duration,
};

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    calls::IN_USE,
    connection::writable,
    error::{Error, Result},
    farm::Farm,
    options::ListenFrom,
    queue::channel,
};

/// An idle listener calls itself at this interval, and is rebuilt when it does not hear itself.
const ECHO: Duration = Duration::from_secs(5);

/// Listens for as long as the farm is in use.
pub(crate) async fn run(weak: Weak<Farm>, from: ListenFrom) {
    while let Some(farm) = weak.upgrade() {
        let hosts = match &from {
            ListenFrom::Nowhere => return,
            ListenFrom::Direct(hosts) => hosts.clone(),
            ListenFrom::Same => farm.database.hosts().to_vec(),
        };
        let channel = channel(farm.process);
        drop(farm);
        if let Err(error) = listen(&weak, &hosts, &channel).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "the listener is being rebuilt");
        }
        let Some(farm) = weak.upgrade() else { return };
        farm.calls.listening.store(false, Ordering::Relaxed);
        drop(farm);
        sleep(Duration::from_millis(300)).await;
    }
}

async fn listen(weak: &Weak<Farm>, hosts: &[PgConnectOptions], channel: &str) -> Result<()> {
    let host = writable(hosts, Duration::from_secs(3)).await?;
    // A pool of its own: a listener keeps its connection.
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(3)).connect_lazy_with(host);
    let subscribed = async {
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(channel).await?;
        Ok::<_, sqlx::Error>(listener)
    };
    let Ok(listener) = timeout(Duration::from_secs(5), subscribed).await else {
        return Err(lost("the listener cannot subscribe"));
    };
    let mut listener = listener?;
    let mut heard = true;
    loop {
        {
            let Some(farm) = weak.upgrade() else { return Ok(()) };
            farm.calls.listening.store(true, Ordering::Relaxed);
            // What was sent before is not told again.
            farm.look().await?;
        }
        let quiet_since = Instant::now();
        loop {
            match timeout(IN_USE, listener.try_recv()).await {
                Ok(Ok(Some(_))) => {
                    heard = true;
                    break;
                }
                Ok(Ok(None)) => return Err(lost("the listener lost its connection")),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {
                    let Some(farm) = weak.upgrade() else { return Ok(()) };
                    if quiet_since.elapsed() < ECHO {
                        continue;
                    }
                    if !heard {
                        // Half-open: what is sent does not come.
                        return Err(lost("the listener does not hear itself"));
                    }
                    heard = false;
                    farm.notify(&[farm.process]).await?;
                    break;
                }
            }
        }
    }
}

fn lost(detail: &str) -> Error {
    Error::Unreachable { detail: detail.to_owned(), source: None }
}

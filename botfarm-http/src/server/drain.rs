//! Tells the handlers that the service is about to stop.

use std::convert::Infallible;

use axum::{extract::FromRequestParts, http::request::Parts};
use tokio::sync::watch;

/// How far the service has come on its way to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// It is not about to stop.
    Serving,
    /// It answers whoever comes, but says that it is not ready, so that they are sent elsewhere; nobody waits.
    Draining,
    /// Nobody comes any more.
    Stopping,
}

/// Whether the service is about to stop. `serve` puts it into every request; without `serve`, it never is.
#[derive(Debug, Clone)]
pub(super) struct Drain(Option<watch::Receiver<Stage>>);

impl Drain {
    /// One that follows what is sent.
    pub(super) fn channel() -> (watch::Sender<Stage>, Self) {
        let (sender, receiver) = watch::channel(Stage::Serving);
        (sender, Self(Some(receiver)))
    }

    pub(super) fn has_started(&self) -> bool {
        self.0.as_ref().is_some_and(|receiver| *receiver.borrow() >= Stage::Draining)
    }

    /// Resolves when the service has come this far.
    pub(super) async fn reaches(&self, stage: Stage) {
        let Some(mut receiver) = self.0.clone() else { return std::future::pending().await };
        // The sender is gone when the service is.
        let _ = receiver.wait_for(|reached| *reached >= stage).await;
    }
}

impl<S: Sync> FromRequestParts<S> for Drain {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or(Self(None)))
    }
}

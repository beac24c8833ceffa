//! Tells the handlers that the service is about to stop.

use std::convert::Infallible;

use axum::{extract::FromRequestParts, http::request::Parts};
use tokio::sync::watch;

/// Whether the service is about to stop. `serve` puts it into every request; without `serve`, it never is.
#[derive(Debug, Clone)]
pub(super) struct Drain(Option<watch::Receiver<bool>>);

impl Drain {
    /// One that starts when `true` is sent.
    pub(super) fn channel() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(Some(receiver)))
    }

    pub(super) fn has_started(&self) -> bool {
        self.0.as_ref().is_some_and(|receiver| *receiver.borrow())
    }

    /// Resolves when the service is about to stop.
    pub(super) async fn started(&self) {
        let Some(mut receiver) = self.0.clone() else { return std::future::pending().await };
        // The sender is gone when the service is.
        let _ = receiver.wait_for(|started| *started).await;
    }
}

impl<S: Sync> FromRequestParts<S> for Drain {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or(Self(None)))
    }
}

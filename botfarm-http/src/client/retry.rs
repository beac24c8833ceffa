//! When a request is sent again, and when no more.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use botfarm_core::{Error, Result};
use chrono::{DateTime, Utc};
use http::{HeaderMap, header};

/// How long to go on asking how things are just now.
const MOMENT: Duration = Duration::from_secs(2);

/// Whether a request may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Done twice, it is as if done once: it looks, or names a lease, or carries an idempotency key.
    Freely,
    /// Only when the service has certainly not seen it.
    Unseen,
    /// For a moment: what is asked is how things are just now.
    Briefly,
}

/// A try that failed.
#[derive(Debug)]
pub(super) struct FailedTry {
    pub(super) error: Error,
    /// Whether another try may fare better.
    pub(super) passing: bool,
    /// Whether the service may have done what was asked for.
    pub(super) seen: bool,
    /// How long the service wants to be left alone.
    pub(super) after: Option<Duration>,
    /// How long the try took, beyond what it was meant to wait.
    pub(super) took: Duration,
    pub(super) repeat: Repeat,
}

impl FailedTry {
    /// One that no other try could mend.
    pub(super) fn lasting(error: Error) -> Self {
        Self { error, passing: false, seen: true, after: None, took: Duration::ZERO, repeat: Repeat::Freely }
    }

    fn is_worth_another_try(&self) -> bool {
        self.passing
            && match self.repeat {
                Repeat::Freely | Repeat::Briefly => true,
                Repeat::Unseen => !self.seen,
            }
    }
}

/// How patiently requests are sent again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// The first pause. Each pause is twice the one before, and up to twice as long again by chance, lest all who were
    /// cut off together come back together.
    pub(super) first_pause: Duration,
    pub(super) longest_pause: Duration,
    /// How long to go on after the first failure. What a request waits in the queue does not count.
    pub(super) total: Duration,
}

impl Patience {
    /// Tries again and again, until there is an answer, no hope, or no time left. A longer `Retry-After` is honoured;
    /// one that goes beyond the time left ends it at once.
    pub(super) async fn persist<T, F>(self, attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T, FailedTry>>,
    {
        let pauses = ExponentialBuilder::new()
            .with_min_delay(self.first_pause)
            .with_max_delay(self.longest_pause)
            .with_jitter()
            .without_max_times();
        let mut spent: Option<Duration> = None;
        let attempts = attempt.retry(pauses).when(FailedTry::is_worth_another_try).adjust(|failure, pause| {
            let pause = pause?.max(failure.after.unwrap_or_default());
            let so_far = spent.map_or(Duration::ZERO, |spent| spent.saturating_add(failure.took));
            let then = so_far.saturating_add(pause);
            spent = Some(then);
            let total = if failure.repeat == Repeat::Briefly { self.total.min(MOMENT) } else { self.total };
            (then <= total).then_some(pause)
        });
        let attempts = attempts.notify(|failure, pause| {
            tracing::debug!(error = %failure.error, ?pause, "a request failed; it is sent again");
        });
        attempts.await.map_err(|failure| failure.error)
    }
}

/// The header `Retry-After`: seconds, or a date.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let after = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = after.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(after).ok()?;
    Some((at.to_utc() - Utc::now()).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_may_be_a_number_or_a_date() {
        let read = |text: &str| {
            let value = HeaderValue::from_str(text).unwrap();
            retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, value)]))
        };
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        let soon = (Utc::now() + Duration::from_mins(2)).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        assert!(read(&soon).is_some_and(|after| after > Duration::from_secs(100)), "{soon}");
        assert_eq!(read("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}

//! The one place where requests leave and answers arrive.

use std::{sync::Arc, time::Duration};

use botfarm_core::{BoxError, Cursor, Error, Page, Result, background};
use http::{HeaderMap, Method, StatusCode, header};
use reqwest::Client;
use serde::{Serialize, de::DeserializeOwned};
use tokio::task::JoinHandle;

use crate::wire::Problem;

/// When to try again what could not be sent.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A service, and how to reach it.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) http: Client,
    /// Its URL, without what the API adds to it and without a slash at its end.
    pub(super) root: String,
    /// How long an answer may take.
    pub(super) timeout: Duration,
}

/// One request. It may be sent again.
#[derive(Clone)]
pub(super) struct Call {
    method: Method,
    path: String,
    body: Option<Vec<u8>>,
    patience: Duration,
}

impl Call {
    /// A request for this path, which begins behind the service's URL.
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), body: None, patience: Duration::ZERO }
    }

    /// The same, with a JSON body.
    pub(super) fn json(self, body: &impl Serialize) -> Result<Self> {
        Ok(Self { body: Some(serde_json::to_vec(body).map_err(Error::backend)?), ..self })
    }

    /// The same, with this much more time for the answer.
    pub(super) fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// How much is sent, in bytes.
    pub(super) fn len(&self) -> usize {
        self.body.as_ref().map_or(0, Vec::len)
    }
}

/// What a service said to a request that it fulfilled.
#[derive(Debug)]
pub(super) struct Answer {
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    /// The JSON of the answer.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            // Not the error itself: it repeats what it found, which may be a password.
            let (line, column) = (error.line(), error.column());
            Error::backend(format!("the service's answer is not as expected, from line {line} column {column}"))
        })
    }

    /// The items of the answer, as a page.
    pub(super) fn page<W: DeserializeOwned, T: From<W>>(&self) -> Result<Page<T>> {
        let items = self.json::<Vec<W>>()?.into_iter().map(T::from).collect();
        Ok(Page { items, next: self.next() })
    }

    /// The cursor of the next page, out of the header `Link`.
    fn next(&self) -> Option<Cursor> {
        let links = self.headers.get_all(header::LINK).iter().filter_map(|link| link.to_str().ok());
        let next = links.flat_map(|links| links.split(',')).find(|link| link.contains("rel=\"next\""))?;
        let (_, target) = next.split_once('<')?;
        let (target, _) = target.split_once('>')?;
        let (_, query) = target.split_once('?')?;
        let mut parameters = form_urlencoded::parse(query.as_bytes());
        parameters.find(|(name, _)| name == "cursor").map(|(_, cursor)| Cursor::from_text(cursor))
    }
}

impl Service {
    /// Sends a request, from botfarm's own runtime.
    ///
    /// Cancel safety: when the future is dropped, the connection is closed, so that the service notices.
    ///
    /// # Errors
    /// The error that the service tells of; `Unavailable` when it cannot be reached.
    pub(super) async fn send(self: &Arc<Self>, call: Call) -> Result<Answer> {
        let service = self.clone();
        let attempt = background::handle().spawn(async move { service.attempt(call).await });
        match (&mut AbortOnDrop(attempt).0).await {
            Ok(answer) => answer,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(ended) => Err(self.unavailable(ended)),
            },
        }
    }

    async fn attempt(&self, call: Call) -> Result<Answer> {
        let Call { method, path, body, patience } = call;
        let mut request =
            self.http.request(method, format!("{}{path}", self.root)).timeout(self.timeout.saturating_add(patience));
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        }
        // The URL may hold a lease id.
        let lost = |error: reqwest::Error| self.unavailable(error.without_url());
        let response = request.send().await.map_err(lost)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(lost)?;
        if status.is_success() {
            return Ok(Answer { headers, body: body.into() });
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(problem.into()),
            Err(_) => Err(self.unexplained(status, &headers)),
        }
    }

    fn unavailable(&self, cause: impl Into<BoxError>) -> Error {
        Error::Unavailable {
            detail: format!("the service at {} cannot be reached", self.root),
            retry_after: RETRY_AFTER,
            source: Some(cause.into()),
        }
    }

    /// What to make of a failure that has no code: of a proxy on the way, or of something else at this URL.
    fn unexplained(&self, status: StatusCode, headers: &HeaderMap) -> Error {
        let detail = format!("the service at {} answered {status}", self.root);
        match status {
            StatusCode::UNAUTHORIZED => Error::Unauthenticated { detail },
            StatusCode::FORBIDDEN => Error::Forbidden { detail },
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                let after = headers.get(header::RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
                let retry_after = after.map_or(RETRY_AFTER, Duration::from_secs);
                Error::Unavailable { detail, retry_after, source: None }
            }
            _ => Error::backend(format!("{detail}; is this the URL of a botfarm service?")),
        }
    }
}

/// Ends its task when it is dropped.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

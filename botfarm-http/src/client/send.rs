//! The one place where requests leave and answers arrive.

use std::{
    error::Error as StdError,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use botfarm_core::{BoxError, Cursor, Error, Page, Result, background};
use http::{HeaderMap, Method, StatusCode, header};
use reqwest::Client;
use serde::{Serialize, de::DeserializeOwned};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::retry::{FailedTry, Patience, Repeat, retry_after};
use crate::{
    version::NOTICE,
    wire::{Code, Problem},
};

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
    /// The longest that one request waits in the queue.
    pub(super) longest_turn: Duration,
    pub(super) patience: Patience,
    /// Whether what the service had to say about versions has been logged.
    pub(super) noticed: AtomicBool,
}

/// One request. It may be sent again, unless it says otherwise.
#[derive(Clone)]
pub(super) struct Call {
    method: Method,
    path: String,
    body: Option<Vec<u8>>,
    patience: Duration,
    key: Option<Uuid>,
    repeat: Repeat,
}

impl Call {
    /// A request for this path, which begins behind the service's URL.
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), body: None, patience: Duration::ZERO, key: None, repeat: Repeat::Freely }
    }

    /// The same, with a JSON body.
    pub(super) fn json(self, body: &impl Serialize) -> Result<Self> {
        Ok(Self { body: Some(serde_json::to_vec(body).map_err(Error::backend)?), ..self })
    }

    /// The same, with this much more time for the answer.
    pub(super) fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The same, with a key by which the service knows it again, and does it once however often it comes.
    pub(super) fn once(self) -> Self {
        Self { key: Some(Uuid::new_v4()), ..self }
    }

    /// The same, to be sent again only so far as this says.
    pub(super) fn repeat(self, repeat: Repeat) -> Self {
        Self { repeat, ..self }
    }

    /// How much is sent, in bytes.
    pub(super) fn len(&self) -> usize {
        self.body.as_ref().map_or(0, Vec::len)
    }
}

/// What a service said to a request that it fulfilled.
#[derive(Debug)]
pub(super) struct Fulfilled {
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Fulfilled {
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
    /// Sends a request, again if need be.
    ///
    /// Cancel safety: see [`run`](Self::run).
    ///
    /// # Errors
    /// The error that the service tells of; `Unavailable` when it cannot be reached.
    pub(super) async fn send(self: &Arc<Self>, call: Call) -> Result<Fulfilled> {
        let service = self.clone();
        self.run(async move { service.persist(|| Ok(call.clone())).await }).await
    }

    /// Runs what sends requests on botfarm's own runtime: the caller's may have no clock, or one that is paused.
    ///
    /// Cancel safety: when the future is dropped, the connection is closed, so that the service notices, and nothing
    /// is sent again.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        match (&mut AbortOnDrop(background::handle().spawn(work)).0).await {
            Ok(answer) => answer,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(ended) => Err(self.unavailable(ended)),
            },
        }
    }

    /// Sends a request, and makes and sends another as long as that may help.
    pub(super) async fn persist(&self, call: impl Fn() -> Result<Call>) -> Result<Fulfilled> {
        let attempt = || async { self.attempt(call().map_err(FailedTry::lasting)?).await };
        self.patience.persist(attempt).await
    }

    async fn attempt(&self, call: Call) -> Result<Fulfilled, FailedTry> {
        let (started, patience, repeat) = (Instant::now(), call.patience, call.repeat);
        self.exchange(call).await.map_err(|failure| FailedTry {
            took: started.elapsed().saturating_sub(patience),
            repeat,
            ..failure
        })
    }

    async fn exchange(&self, call: Call) -> Result<Fulfilled, FailedTry> {
        let Call { method, path, body, patience, key, repeat: _ } = call;
        let mut request =
            self.http.request(method, format!("{}{path}", self.root)).timeout(self.timeout.saturating_add(patience));
        if let Some(key) = key {
            request = request.header("idempotency-key", key.to_string());
        }
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        }
        let response = request.send().await.map_err(|error| self.lost(error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        self.notice(&headers);
        let body = response.bytes().await.map_err(|error| self.lost(error))?;
        if status.is_success() {
            return Ok(Fulfilled { headers, body: body.into() });
        }
        let (error, refused) = match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => {
                let refused = matches!(problem.code, Code::TooManyRequests { .. });
                (Error::from(problem), refused)
            }
            Err(_) => (self.unexplained(status, &headers), status == StatusCode::TOO_MANY_REQUESTS),
        };
        let passing = matches!(error, Error::Unavailable { .. });
        Err(FailedTry { passing, seen: !refused, after: retry_after(&headers), ..FailedTry::lasting(error) })
    }

    /// Logs, once, what the service has to say about versions.
    fn notice(&self, headers: &HeaderMap) {
        let Some(notice) = headers.get(NOTICE).and_then(|notice| notice.to_str().ok()) else { return };
        if !self.noticed.swap(true, Ordering::Relaxed) {
            tracing::warn!("{notice}");
        }
    }

    /// What to make of a request that has got no answer, or half of one.
    fn lost(&self, error: reqwest::Error) -> FailedTry {
        let seen = !error.is_connect();
        // The URL may hold a lease id.
        let error = error.without_url();
        let root = &self.root;
        let lasting = match Hitch::of(&error) {
            None => return FailedTry { passing: true, seen, ..FailedTry::lasting(self.unavailable(error)) },
            Some(Hitch::NobodyListens) => {
                let detail = format!("the service at {root} cannot be reached: nobody listens there; is it running?");
                let error = Error::Unavailable { detail, retry_after: RETRY_AFTER, source: Some(error.into()) };
                return FailedTry { passing: true, seen, ..FailedTry::lasting(error) };
            }
            Some(Hitch::Mistrust(why)) => format!(
                "the service at {root} proves itself by a certificate that is not trusted here ({why}); if it is the \
                 right service, name a file with its authority in BOTFARM_CA_FILE"
            ),
            Some(Hitch::PlainHttp) => format!(
                "what listens at {root} speaks no TLS: botfarm itself speaks plain HTTP, so its URL begins with http:// \
                 unless something in front of it speaks HTTPS"
            ),
            Some(Hitch::NoHttp) => {
                format!("what listens at {root} speaks no plain HTTP; if it speaks HTTPS, its URL begins with https://")
            }
        };
        FailedTry::lasting(Error::Unavailable { detail: lasting, retry_after: RETRY_AFTER, source: Some(error.into()) })
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
                Error::Unavailable { detail, retry_after: retry_after(headers).unwrap_or(RETRY_AFTER), source: None }
            }
            _ => Error::backend(format!("{detail}; is this the URL of a botfarm service?")),
        }
    }
}

/// What stands between a client and a service, so far as there is something to be done about it.
enum Hitch {
    NobodyListens,
    /// The certificate is not trusted, for this reason.
    Mistrust(String),
    /// HTTPS was asked of what speaks plain HTTP.
    PlainHttp,
    /// Plain HTTP was asked of what speaks something else.
    NoHttp,
}

impl Hitch {
    fn of(error: &reqwest::Error) -> Option<Self> {
        let mut cause = error.source();
        while let Some(error) = cause {
            match error.downcast_ref() {
                Some(rustls::Error::InvalidCertificate(why)) => return Some(Self::Mistrust(why.to_string())),
                Some(rustls::Error::InvalidMessage(_)) => return Some(Self::PlainHttp),
                _ => {}
            }
            let io = error.downcast_ref::<io::Error>();
            if io.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
                return Some(Self::NobodyListens);
            }
            // The HTTP library has no other name for it.
            if error.to_string().starts_with("invalid HTTP version") {
                return Some(Self::NoHttp);
            }
            // What is wrapped in an I/O error is not its source.
            cause = io.and_then(io::Error::get_ref).map(|error| error as _).or_else(|| error.source());
        }
        None
    }
}

/// Ends its task when it is dropped.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use http::HeaderValue;

    use super::*;
    use crate::HttpFarm;

    static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

    struct Log;

    impl io::Write for Log {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            LOG.lock().unwrap().write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_service_says_of_versions_is_logged_once() {
        let lines = tracing_subscriber::fmt().with_writer(|| Log).with_ansi(false).finish();
        tracing::subscriber::with_default(lines, || {
            for farm in [HttpFarm::new("http://[::1]:1").unwrap(), HttpFarm::new("http://[::1]:2").unwrap()] {
                farm.service.notice(&HeaderMap::new());
                for notice in ["update the service", "update botfarm"] {
                    let notice = HeaderValue::from_static(notice);
                    farm.service.notice(&HeaderMap::from_iter([(NOTICE, notice)]));
                }
            }
        });
        let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
        assert_eq!(log.matches("update the service").count(), 2, "{log}");
        assert!(log.lines().all(|line| line.contains(" WARN ")) && !log.contains("update botfarm"), "{log}");
    }
}

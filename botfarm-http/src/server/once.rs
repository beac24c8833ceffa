//! A change that is sent twice is done once.
//!
//! A caller that has got no answer cannot know whether its request arrived. Leases have ids for that; what changes
//! users may come with the header `Idempotency-Key`.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    extract::{FromRequestParts as _, Request, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use botfarm_core::{Error, Fault};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use tracing::Instrument as _;

use super::{App, auth::Viewer, input, refusal::Refusal};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How long an answer is kept: far longer than anybody goes on asking.
const KEPT: Duration = Duration::from_mins(10);

/// How many answers are kept at most: some megabytes.
const LIMIT: usize = 10_000;

/// The answers that callers may ask for again.
#[derive(Debug, Clone)]
pub(super) struct Once {
    app: App,
    answers: Arc<Mutex<Answers>>,
}

#[derive(Debug, Default)]
struct Answers {
    by_key: HashMap<Hash, Arc<Entry>>,
    /// Oldest first.
    order: VecDeque<(Instant, Hash)>,
}

type Hash = [u8; 32];

/// One request, however often it comes. Who comes second waits for the first.
#[derive(Debug)]
struct Entry {
    request: Hash,
    answer: OnceCell<Answer>,
}

/// An answer to a request that was fulfilled. One that was refused has changed nothing, and may as well be tried again.
#[derive(Debug, Clone)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Once {
    pub(super) fn new(app: App) -> Self {
        Self { app, answers: Arc::default() }
    }

    fn entry(&self, key: Hash, request: Hash) -> Arc<Entry> {
        let (now, mut answers) = (Instant::now(), self.answers.lock());
        if let Some(entry) = answers.by_key.get(&key) {
            return entry.clone();
        }
        while let Some((since, oldest)) = answers.order.front().copied() {
            if answers.order.len() < LIMIT && now - since < KEPT {
                break;
            }
            answers.order.pop_front();
            answers.by_key.remove(&oldest);
        }
        let entry = Arc::new(Entry { request, answer: OnceCell::new() });
        answers.by_key.insert(key, entry.clone());
        answers.order.push_back((now, key));
        entry
    }
}

/// Gives the answer again that the same caller has got, or is getting, under the same key.
pub(super) async fn once(State(once): State<Once>, request: Request, next: Next) -> Result<Response, Refusal> {
    if !request.headers().contains_key(KEY) {
        return Ok(next.run(request).await);
    }
    let (mut parts, body) = request.into_parts();
    // What role it takes, the handler knows.
    let Viewer(app, caller) = Viewer::from_request_parts(&mut parts, &once.app).await?;
    let key = key(&parts.headers)?;
    let options = &app.shared.options;
    let limit = if parts.uri.path().contains("/import") { options.import_limit } else { options.body_limit };
    let body = input::read(body, limit).await?;
    let key = hash(&[caller.key_space().as_bytes(), key]);
    let request = fingerprint(&parts.method, &parts.uri, &parts.headers, &body);
    let entry = once.entry(key, request);
    if entry.request != request {
        return Err(Error::KeyReused.into());
    }
    let request = Request::from_parts(parts, Body::from(body));
    // In a task of its own: when the caller hangs up half-way, whoever asks again needs to know what became of it.
    let work = async move { entry.answer.get_or_try_init(|| run(request, next)).await.cloned() };
    match tokio::spawn(work.in_current_span()).await {
        Ok(Ok(Answer { status, headers, body })) => Ok((status, headers, body).into_response()),
        Ok(Err(refused)) => Ok(refused),
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(ended) => Err(Error::backend(ended).into()),
        },
    }
}

fn key(headers: &HeaderMap) -> Result<&[u8], Refusal> {
    let mut keys = headers.get_all(KEY).iter();
    match (keys.next(), keys.next()) {
        (Some(key), None) if (1..=255).contains(&key.len()) => Ok(key.as_bytes()),
        _ => Err(vec![Fault::new("/Idempotency-Key", "must be sent once, with 1 to 255 characters")].into()),
    }
}

async fn run(request: Request, next: Next) -> Result<Answer, Response> {
    let response = next.run(request).await;
    if !response.status().is_success() {
        return Err(response);
    }
    let (parts, body) = response.into_parts();
    match body.collect().await {
        Ok(body) => Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes() }),
        Err(error) => Err(Refusal::from(Error::backend(error)).into_response()),
    }
}

fn fingerprint(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Hash {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&[][..], |kind| kind.as_bytes());
    let query = uri.query().unwrap_or_default().as_bytes();
    hash(&[method.as_str().as_bytes(), uri.path().trim_end_matches('/').as_bytes(), query, kind, body])
}

/// A digest of texts that differs when one of them does.
fn hash(texts: &[&[u8]]) -> Hash {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

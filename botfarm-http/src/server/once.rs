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
    extract::{Request, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use botfarm_core::{Error, Fault, Faults, operators::Role};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use tracing::Instrument as _;

use super::{App, auth::admitted, input, refusal::Refusal};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How long an answer is kept: far longer than anybody goes on asking.
const KEPT: Duration = Duration::from_mins(10);

/// How often to throw away those that are older.
const SWEEP: Duration = Duration::from_mins(1);

/// How many answers are kept of one caller, and of all together. An answer has some 500 bytes, and 25 KiB at most.
const OWN: usize = 500;
const ALL: usize = 4_000;

/// The answers that callers may ask for again.
#[derive(Debug, Clone)]
pub(super) struct Once {
    app: App,
    /// The least role that the route is for.
    role: Role,
    answers: Arc<Mutex<Answers>>,
}

#[derive(Debug, Default)]
struct Answers {
    by_key: HashMap<Hash, Arc<Entry>>,
    /// Of each caller, oldest first: nobody pushes out another's while they have more of their own.
    callers: HashMap<Box<str>, VecDeque<(Instant, Hash)>>,
    swept: Option<Instant>,
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
        Self { app, role: Role::Admin, answers: Arc::default() }
    }

    /// The same store, for a route of this role.
    pub(super) fn of(&self, role: Role) -> Self {
        Self { role, ..self.clone() }
    }
}

impl Answers {
    fn entry(&mut self, caller: &str, key: Hash, request: Hash, now: Instant) -> Arc<Entry> {
        if let Some(entry) = self.by_key.get(&key) {
            return entry.clone();
        }
        if self.swept.is_none_or(|swept| now - swept > SWEEP) {
            self.sweep(now);
        }
        if self.callers.get(caller).is_some_and(|own| own.len() >= OWN) {
            self.forget_oldest_of(caller);
        } else if self.by_key.len() >= ALL
            && let Some(most) = self.callers.iter().max_by_key(|(_, own)| own.len())
        {
            let most = most.0.clone();
            self.forget_oldest_of(&most);
        }
        let entry = Arc::new(Entry { request, answer: OnceCell::new() });
        self.by_key.insert(key, entry.clone());
        self.callers.entry(caller.into()).or_default().push_back((now, key));
        entry
    }

    fn forget_oldest_of(&mut self, caller: &str) {
        if let Some((_, oldest)) = self.callers.get_mut(caller).and_then(VecDeque::pop_front) {
            self.by_key.remove(&oldest);
        }
    }

    fn sweep(&mut self, now: Instant) {
        self.swept = Some(now);
        let Self { by_key, callers, .. } = self;
        callers.retain(|_, own| {
            while let Some((_, oldest)) = own.pop_front_if(|(since, _)| now - *since >= KEPT) {
                by_key.remove(&oldest);
            }
            !own.is_empty()
        });
    }
}

/// Gives the answer again that the same caller has got, or is getting, under the same key.
pub(super) async fn once(State(once): State<Once>, request: Request, next: Next) -> Result<Response, Refusal> {
    if !request.headers().contains_key(KEY) {
        return Ok(next.run(request).await);
    }
    let (mut parts, body) = request.into_parts();
    // The body is read for those alone who may do this.
    let (app, caller) = admitted(&mut parts, &once.app, once.role).await?;
    let key = key(&parts.headers)?;
    let options = &app.shared.options;
    let limit = if parts.uri.path().contains("/import") {
        parts.extensions.insert(app.shared.shares.import().await?);
        options.import_limit
    } else {
        options.body_limit
    };
    let body = input::read(body, limit, input::share(&parts)).await?;
    let key = hash(&[caller.key_space().as_bytes(), key]);
    let request = fingerprint(&parts.method, &parts.uri, &parts.headers, &body);
    let entry = once.answers.lock().entry(caller.key_space(), key, request, Instant::now());
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
        _ => {
            let fault = Fault::new("/Idempotency-Key", "must be sent once, with 1 to 255 characters");
            Err(Faults::from_iter([fault]).into())
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_caller_pushes_out_the_answers_of_another() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        let key = |caller: usize, number: usize| hash(&[&caller.to_le_bytes(), &number.to_le_bytes()]);
        let first = answers.entry("ada", key(0, 0), [0; 32], now);
        for caller in 1..=20 {
            for number in 0..2 * OWN {
                answers.entry(&caller.to_string(), key(caller, number), [0; 32], now);
                assert!(answers.by_key.len() <= ALL);
            }
        }
        assert!(Arc::ptr_eq(&answers.entry("ada", key(0, 0), [0; 32], now), &first));
    }

    #[test]
    fn answers_are_forgotten_when_their_time_is_over() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        answers.entry("ada", [1; 32], [0; 32], now);
        answers.entry("bob", [2; 32], [0; 32], now + KEPT);
        assert_eq!(answers.by_key.keys().collect::<Vec<_>>(), [&[2; 32]]);
        assert_eq!(answers.callers.len(), 1);
    }
}

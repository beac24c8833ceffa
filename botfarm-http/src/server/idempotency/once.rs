//! A change that is sent twice is done once.
//!
//! A caller that has got no answer cannot know whether its request arrived. Leases have ids for that; what changes
//! users may come with the header `Idempotency-Key`. What became of a change is kept beside the bots, so that every replica
//! knows: see [`botfarm_core::idempotency`].

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use botfarm_core::{
    Error, Fault, Faults, Field, Result,
    idempotency::{ChangeEnd, Digest, Idempotency, KeyedChange, Known},
    operators::Role,
};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tracing::Instrument as _;

use crate::server::{App, audit::Witness, auth::admitted, extract::input, refusal::Refusal};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// For how long to look whether another attempt has ended that is at it, and the shortest and longest pause between looks.
const PATIENCE: Duration = Duration::from_secs(30);
const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(1);

/// What makes a route do a change once.
#[derive(Debug, Clone)]
pub(crate) struct Once {
    app: App,
    /// The least role that the route is for.
    role: Role,
}

/// An answer as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct KeptAnswer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Once {
    pub(crate) fn new(app: App) -> Self {
        Self { app, role: Role::Admin }
    }

    /// The same, for a route of this role.
    pub(crate) fn of(&self, role: Role) -> Self {
        Self { role, ..self.clone() }
    }
}

/// Gives the answer again that the same caller has got, or is getting, under the same key.
pub(crate) async fn once(State(once): State<Once>, request: Request, next: Next) -> Result<Response, Refusal> {
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
    let witness = caller.witness().clone();
    let caller = hash(&[caller.key_space().as_bytes()]);
    let request = fingerprint(&parts.method, &parts.uri, &parts.headers, &body);
    let change = KeyedChange::new(caller, hash(&[key]), request);
    let kept = options.idempotency.clone();
    let request = Request::from_parts(parts, Body::from(body));
    // In a task of its own: when the caller hangs up half-way, whoever asks again needs to know what became of it.
    let work = async move { run(&*kept, &change, &witness, request, next).await };
    match tokio::spawn(work.in_current_span()).await {
        Ok(done) => done,
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
            let fault = Fault::new(Field::other("Idempotency-Key"), "must be sent once, with 1 to 255 characters");
            Err(Faults::from_iter([fault]).into())
        }
    }
}

async fn run(
    kept: &dyn Idempotency,
    change: &KeyedChange,
    witness: &Witness,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    match known(kept, change).await? {
        Known::New => {}
        Known::Answered(answer) => {
            witness.changes_nothing();
            return KeptAnswer::read(&answer).map_err(Refusal::from);
        }
        Known::Reused => return Err(Error::KeyReused.into()),
        Known::Unknown => return Err(Error::OutcomeUnknown.into()),
        Known::UnderWay => {
            let detail = "this change is still being made for an earlier request".to_owned();
            return Err(Error::Unavailable { detail, retry_after: Duration::from_secs(1), source: None }.into());
        }
    }
    let response = next.run(request).await;
    let status = response.status();
    if status.is_success() {
        let (answer, response) = KeptAnswer::of(response).await?;
        note(kept, change, ChangeEnd::Answered(answer)).await;
        return Ok(response);
    }
    note(kept, change, if status.is_server_error() { ChangeEnd::Unknown } else { ChangeEnd::Refused }).await;
    Ok(response)
}

/// What is known of a change, once nobody else is at it.
async fn known(kept: &dyn Idempotency, change: &KeyedChange) -> Result<Known> {
    let until = tokio::time::Instant::now() + PATIENCE;
    let mut pause = SHORTEST;
    loop {
        let known = kept.begin(change).await?;
        if known != Known::UnderWay || tokio::time::Instant::now() >= until {
            return Ok(known);
        }
        // Many who repeat themselves shall not keep the store busy.
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(LONGEST);
    }
}

/// The change itself is done, and its caller gets the answer. Should this fail, whoever asks again is told that nobody knows.
async fn note(kept: &dyn Idempotency, change: &KeyedChange, how: ChangeEnd) {
    if let Err(error) = kept.end(change, how).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "could not keep what became of a change");
    }
}

impl KeptAnswer {
    /// The answer as it is kept, and as it is sent.
    async fn of(response: Response) -> Result<(Vec<u8>, Response)> {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(Error::backend)?.to_bytes();
        let text = |value: &HeaderValue| value.to_str().map(str::to_owned).map_err(Error::backend);
        let headers = parts.headers.iter().map(|(name, value)| Ok((name.as_str().to_owned(), text(value)?)));
        let answer = Self {
            status: parts.status.as_u16(),
            headers: headers.collect::<Result<_>>()?,
            body: String::from_utf8(body.to_vec()).map_err(Error::backend)?,
        };
        Ok((serde_json::to_vec(&answer).map_err(Error::backend)?, Response::from_parts(parts, Body::from(body))))
    }

    fn read(kept: &[u8]) -> Result<Response> {
        let Self { status, headers, body } = serde_json::from_slice(kept).map_err(Error::backend)?;
        let mut response = Body::from(body).into_response();
        *response.status_mut() = StatusCode::from_u16(status).map_err(Error::backend)?;
        for (name, value) in headers {
            let name = HeaderName::try_from(name).map_err(Error::backend)?;
            response.headers_mut().append(name, HeaderValue::try_from(value).map_err(Error::backend)?);
        }
        Ok(response)
    }
}

fn fingerprint(method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Digest {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&[][..], |kind| kind.as_bytes());
    let query = uri.query().unwrap_or_default().as_bytes();
    hash(&[method.as_str().as_bytes(), uri.path().trim_end_matches('/').as_bytes(), query, kind, body])
}

/// A digest of texts that differs when one of them does.
fn hash(texts: &[&[u8]]) -> Digest {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

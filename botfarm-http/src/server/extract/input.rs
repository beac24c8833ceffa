//! Reads requests, and says of each what is wrong with it.

use std::{str::FromStr, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes, HttpBody as _},
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{HeaderMap, Uri, header, request::Parts},
};
use botfarm_core::{Fault, Faults, Location};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value};

use crate::{
    fields::Fields,
    json::Unique,
    server::{App, layers::shares::Share, refusal::Refusal},
    wire::{Code, field},
};

/// The id in the path.
pub(crate) struct Id<T>(pub(crate) T);

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for Id<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let id = path.ok().and_then(|Path(text)| text.parse().ok());
        id.map(Self).ok_or_else(|| Refusal::malformed("the id in the path must be a UUID"))
    }
}

/// The name in the path.
pub(crate) struct Named<T>(pub(crate) T);

impl<S: Send + Sync, T: FromStr<Err: std::fmt::Display>> FromRequestParts<S> for Named<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Ok(Path(text)) = Path::<String>::from_request_parts(parts, state).await else {
            return Err(Refusal::malformed("the name in the path must be UTF-8, percent-encoded"));
        };
        let name = text.parse().map_err(|why| Refusal::malformed(format!("the name in the path {why}")))?;
        Ok(Self(name))
    }
}

/// The parameters of the query: strings, but for `label`, which may be repeated and is a list.
pub(crate) struct Query(pub(crate) Fields);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let (parameters, faults) = parameters(&parts.uri);
        let mut fields = Fields::of(Value::Object(parameters), Location::whole());
        fields.faults(faults);
        Ok(Self(fields))
    }
}

/// A JSON body that must be there. The query must be empty: what is meant for the body is not looked for there.
pub(crate) struct Json(pub(crate) Value);

impl FromRequest<App> for Json {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        refuse_query(&parts.uri)?;
        let body = read(body, app.shared.options.body_limit, share(&parts)).await?;
        let value = json(&parts.headers, &body)?;
        value.map(Self).ok_or_else(|| Refusal::malformed("the body is empty; send a JSON object"))
    }
}

/// A JSON body that may be missing: then it is an empty object. The query must be empty, as with [`Json`].
pub(crate) struct OptionalJson(pub(crate) Value);

impl FromRequest<App> for OptionalJson {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        refuse_query(&parts.uri)?;
        let body = read(body, app.shared.options.body_limit, share(&parts)).await?;
        Ok(Self(json(&parts.headers, &body)?.unwrap_or_else(|| Value::Object(Map::new()))))
    }
}

/// Fields from the query, from a JSON body, or from both. A blank body is none: programs send one with what is in the query.
pub(crate) struct QueryOrJson(pub(crate) Fields);

impl FromRequest<App> for QueryOrJson {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        let (parameters, mut faults) = parameters(&parts.uri);
        let body = read(body, app.shared.options.body_limit, share(&parts)).await?;
        let value = json(&parts.headers, body.trim_ascii())?;
        let mut value = value.unwrap_or_else(|| Value::Object(Map::new()));
        if let Value::Object(fields) = &mut value {
            for (name, text) in parameters {
                if fields.contains_key(&name) {
                    faults.push(Fault::new(field(&name), "must not be both in the query and in the body"));
                } else {
                    fields.insert(name, text);
                }
            }
        }
        let mut fields = Fields::of(value, Location::whole());
        fields.faults(faults);
        Ok(Self(fields))
    }
}

/// The media type of the body, without its parameters, in lower case.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    text.split(';').next().map(|kind| kind.trim().to_ascii_lowercase())
}

/// The share of the caller, once it is known who that is.
pub(crate) fn share(parts: &Parts) -> Option<&Share> {
    parts.extensions.get::<Arc<Share>>().map(|share| &**share)
}

/// Refuses a body that says beforehand that it is too large, so that it need not be sent.
pub(crate) fn refuse_large(body: &Body, limit: usize) -> Result<(), Refusal> {
    if body.size_hint().lower() > limit as u64 { Err(too_large(limit)) } else { Ok(()) }
}

pub(crate) fn too_large(limit: usize) -> Refusal {
    Refusal::new(Code::TooLarge, format!("the body must have at most {limit} bytes"))
}

/// How long a body of `limit` bytes may take: at least a quarter of a megabyte is to arrive in a second.
pub(crate) fn patience(limit: usize) -> Duration {
    Duration::from_secs(30 + (limit as u64 >> 18))
}

/// The whole body, if it is no larger than `limit` and arrives in time. It is read when it is the caller's turn, who may
/// have many bodies on their way.
pub(crate) async fn read(body: Body, limit: usize, share: Option<&Share>) -> Result<Bytes, Refusal> {
    refuse_large(&body, limit)?;
    let _turn = match share {
        Some(share) if !body.is_end_stream() => Some(share.body().await?),
        _ => None,
    };
    let patience = patience(limit);
    match tokio::time::timeout(patience, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Ok(Err(_)) => Err(Refusal::malformed("the body is cut short")),
        Err(_) => Err(Refusal::malformed("the body did not arrive in time")),
    }
}

/// The JSON in the body; `None` when it is empty.
fn json(headers: &HeaderMap, body: &[u8]) -> Result<Option<Value>, Refusal> {
    if body.is_empty() {
        return Ok(None);
    }
    if !media_type(headers).is_some_and(|kind| kind == "application/json" || kind.ends_with("+json")) {
        let detail = "the body must be JSON; send the header Content-Type: application/json";
        return Err(Refusal::new(Code::UnsupportedMediaType, detail));
    }
    // What serde says of text that is no JSON has nothing of the text in it.
    let value = serde_json::from_slice(body).map(|Unique(value)| Some(value));
    value.map_err(|error| Refusal::malformed(format!("the body is not JSON: {error}")))
}

/// The parameters of the query, and what is wrong with them.
fn parameters(uri: &Uri) -> (Map<String, Value>, Faults) {
    let (mut parameters, mut labels, mut faults) = (Map::new(), Vec::new(), Faults::default());
    for (name, text) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        let text = Value::String(text.into_owned());
        if name == "label" {
            labels.push(text);
        } else if parameters.contains_key(&*name) {
            faults.push(Fault::new(field(&name), "must be given once"));
        } else {
            parameters.insert(name.into_owned(), text);
        }
    }
    if !labels.is_empty() {
        parameters.insert("label".to_owned(), Value::Array(labels));
    }
    (parameters, faults)
}

/// A query where there should be none may be a field that went to the wrong place.
pub(crate) fn refuse_query(uri: &Uri) -> Result<(), Refusal> {
    let (parameters, _) = parameters(uri);
    if parameters.is_empty() {
        return Ok(());
    }
    let faults = parameters.keys().map(|name| Fault::new(field(name), "must be in the body, not in the query"));
    Err(faults.collect::<Faults>().into())
}

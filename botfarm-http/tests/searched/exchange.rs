//! One request and its answer, as they go by.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{Method, header, request, response},
    response::Response,
};
use botfarm_http::import::{Format, Rows};
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use serde_json::Value;

use super::{Heard, SHORTEST};

/// One request and its answer. What is in them is known when both have been read, or given up.
#[derive(Debug)]
pub(super) struct Exchange {
    heard: Arc<Mutex<Heard>>,
    request: request::Parts,
    asked: Mutex<Vec<u8>>,
    response: Mutex<Option<response::Parts>>,
    answered: Mutex<Vec<u8>>,
}

impl Exchange {
    /// The same request, listened to.
    pub(super) fn begin(heard: Arc<Mutex<Heard>>, request: Request) -> (Arc<Self>, Request) {
        let (parts, body) = request.into_parts();
        let exchange = Arc::new(Self {
            heard,
            request: parts.clone(),
            asked: Mutex::default(),
            response: Mutex::default(),
            answered: Mutex::default(),
        });
        let body = Tee { body, exchange: exchange.clone(), copy: |exchange| &exchange.asked };
        (exchange, Request::from_parts(parts, Body::new(body)))
    }

    /// The same answer, listened to.
    pub(super) fn answered(self: Arc<Self>, response: Response) -> Response {
        let (parts, body) = response.into_parts();
        *self.response.lock() = Some(parts.clone());
        Response::from_parts(parts, Body::new(Tee { body, exchange: self, copy: |exchange| &exchange.answered }))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut heard = self.heard.lock();
        let long_enough = |(_, secret): &(&str, String)| secret.chars().count() >= SHORTEST;
        for (what, secret) in secrets_asked(&self.request, self.asked.get_mut()).into_iter().filter(long_enough) {
            heard.secret(what, secret);
        }
        let Some(response) = self.response.get_mut() else { return };
        let credential = self.request.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if let Some(credential) = credential.filter(|_| response.status.is_success()) {
            heard.credential = Some(credential.to_owned());
        }
        let (secrets, said) = secrets_answered(&self.request, response, self.answered.get_mut());
        for (what, secret) in secrets.into_iter().filter(long_enough) {
            heard.secret(what, secret);
        }
        // What holds the id of a lease, or a session, where it belongs.
        let may_hold = is_lease(&self.request) || begins_a_session(self.request.uri.path());
        let own = |name: &header::HeaderName| may_hold && (name == header::LOCATION || name == header::SET_COOKIE);
        let headers = response.headers.iter().filter(|(name, _)| !own(name));
        let values: Vec<u8> = headers.flat_map(|(_, value)| [value.as_bytes(), b"\n"].concat()).collect();
        // The route alone: the path may hold the id of a lease.
        let route = self.request.uri.path().split('/').filter(|part| part.len() < 36).collect::<Vec<_>>().join("/");
        let place = format!("the answer to {} {route}: {}", self.request.method, response.status);
        heard.said.push((place, [values, said].concat()));
    }
}

type Secrets = Vec<(&'static str, String)>;

fn secrets_asked(request: &request::Parts, body: &[u8]) -> Secrets {
    let mut secrets = Vec::new();
    let value = |name| request.headers.get(name).and_then(|value| value.to_str().ok());
    if let Some((_, credential)) = value(header::AUTHORIZATION).and_then(|value| value.split_once(' ')) {
        secrets.push(("credential", credential.to_owned()));
    }
    let cookies = value(header::COOKIE).into_iter().flat_map(|value| value.split(';'));
    for (name, cookie) in cookies.filter_map(|pair| pair.split_once('=')) {
        if name.ends_with("botfarm") {
            secrets.push(("cookie", cookie.to_owned()));
        }
    }
    match value(header::CONTENT_TYPE).unwrap_or_default().split(';').next().unwrap_or_default() {
        "text/csv" => {
            let rows = Rows::read(Format::Csv, body, usize::MAX).map(|mut rows| rows.take()).unwrap_or_default();
            secrets.extend(rows.iter().map(|bot| ("password", bot.password.expose().to_owned())));
        }
        "application/x-www-form-urlencoded" => {
            let fields = form_urlencoded::parse(body).filter(|(name, _)| name == "password");
            secrets.extend(fields.map(|(_, password)| ("password", password.into_owned())));
        }
        _ => {
            for value in serde_json::Deserializer::from_slice(body).into_iter::<Value>().map_while(Result::ok) {
                for name in ["password", "old", "new"] {
                    take(name, &mut value.clone(), &mut secrets);
                }
            }
        }
    }
    secrets
}

/// The secrets that an answer rightly holds, and what else it says.
fn secrets_answered(request: &request::Parts, response: &response::Parts, body: &[u8]) -> (Secrets, Vec<u8>) {
    let mut secrets = Vec::new();
    let path = request.uri.path().trim_end_matches('/');
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else { return (secrets, body.to_vec()) };
    if !response.status.is_success() {
        return (secrets, body.to_vec());
    }
    if is_lease(request) {
        // At the top of a lock, the id is the user's.
        let name = if value.get("lease_id").is_some() { "lease_id" } else { "id" };
        if let Some(Value::String(id)) = value.get_mut(name).map(Value::take) {
            secrets.push(("lease's id", id));
        }
        take("password", &mut value, &mut secrets);
    } else if begins_a_session(path) {
        take("access_token", &mut value, &mut secrets);
    } else if path == "/api/v1/tokens" && request.method == Method::POST {
        take("token", &mut value, &mut secrets);
    } else {
        return (secrets, body.to_vec());
    }
    let no_store = response.headers.get(header::CACHE_CONTROL).is_some_and(|value| value == "no-store");
    if !no_store {
        // To be found.
        return (secrets, body.to_vec());
    }
    (secrets, value.to_string().into_bytes())
}

/// Whether the answer to what is asked for there is a session to go on with.
fn begins_a_session(path: &str) -> bool {
    matches!(path, "/api/v1/login" | "/api/v1/operators/me/password")
}

/// Whether what is asked for is a lease, with its passwords.
fn is_lease(request: &request::Parts) -> bool {
    let path = request.uri.path().trim_end_matches('/');
    match request.method {
        Method::POST => {
            path == "/api/v1/leases"
                || ["/renew", "/acquire", "/acquire_lock", "/lock"].iter().any(|end| path.ends_with(end))
        }
        Method::GET => path.starts_with("/api/v1/leases/"),
        _ => false,
    }
}

/// Takes the strings of this name out of a value.
fn take(name: &'static str, value: &mut Value, secrets: &mut Secrets) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(_) if key == name => {
                        if let Value::String(text) = value.take() {
                            secrets.push((if name == "password" { name } else { "token" }, text));
                        }
                    }
                    value => take(name, value, secrets),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| take(name, value, secrets)),
        _ => {}
    }
}

/// A body that is copied as it is read.
struct Tee {
    body: Body,
    exchange: Arc<Exchange>,
    copy: fn(&Exchange) -> &Mutex<Vec<u8>>,
}

impl HttpBody for Tee {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            (self.copy)(&self.exchange).lock().extend_from_slice(data);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

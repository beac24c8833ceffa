//! The gate: finds out who is calling.

use axum::http::{header, request::Parts};
use botfarm_core::Timestamp;
use chrono::Utc;

use crate::{
    server::{
        auth::{
            Auth, Required,
            caller::Caller,
            login::{address::Client, cookie, password::Hasher, throttle::Throttle},
            operators::api_token,
            standing::Standings,
        },
        refusal::Refusal,
    },
    wire::Code,
};

/// Finds out who is calling.
#[derive(Debug)]
pub(crate) struct Gate(Option<Guard>);

/// What a service has that asks callers who they are.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) required: Required,
    pub(super) hasher: Hasher,
    pub(super) throttle: Throttle,
    pub(super) standings: Standings,
}

impl Gate {
    pub(crate) fn new(auth: &Auth) -> Self {
        Self(match auth {
            Auth::Off => None,
            Auth::Required(required) => Some(Guard {
                required: required.clone(),
                hasher: Hasher::new(),
                throttle: Throttle::default(),
                standings: Standings::new(),
            }),
        })
    }

    /// Whether nobody is asked who they are.
    pub(crate) fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// Who is calling, by the header `Authorization`, else by the cookie.
    pub(super) async fn caller(&self, parts: &Parts) -> Result<Caller, Refusal> {
        let Some(guard) = &self.0 else {
            let Client(address) = parts.extensions.get().copied().unwrap_or_default();
            return Ok(Caller::anybody(address));
        };
        if parts.headers.contains_key(header::AUTHORIZATION) {
            let credential = bearer(parts).ok_or_else(|| {
                refused("the header Authorization must be Bearer and an API token, or the access token of a login")
            })?;
            return guard.identify(credential).await;
        }
        let Some(token) = cookie::get(&guard.required, &parts.headers) else {
            return Err(refused(
                "say who you are: log in, or send an API token in the header Authorization: Bearer bf_…",
            ));
        };
        if cookie::is_forged(parts) {
            let detail = "the page of another site has sent this; its cookie is not taken for your wish";
            return Err(Refusal::new(Code::Forbidden, detail));
        }
        guard.identify_session(token).await
    }

    /// Resolves when the caller's token, or operator or login, has been revoked.
    pub(crate) async fn revoked(&self, caller: &Caller) -> Refusal {
        match (&self.0, caller.credential()) {
            (Some(guard), Some(credential)) => {
                guard.standings.gone(credential, &*guard.required.operators).await;
                revoked()
            }
            _ => std::future::pending().await,
        }
    }

    /// Asks the farm whether the caller may still have what it has waited for.
    pub(crate) async fn still(&self, caller: &Caller) -> Result<(), Refusal> {
        let (Some(guard), Some(credential)) = (&self.0, caller.credential()) else { return Ok(()) };
        match credential.stands(&*guard.required.operators).await {
            Ok(false) => Err(revoked()),
            // When the farm cannot be asked, it is taken for what it was a few seconds ago.
            Ok(true) | Err(_) => Ok(()),
        }
    }

    /// For calls that are about logging in.
    pub(super) fn guard(&self) -> Result<&Guard, Refusal> {
        self.0.as_ref().ok_or_else(|| {
            Refusal::new(Code::NoSuchRoute, "this service asks nobody who they are; start it with authentication on")
        })
    }

    /// For calls that are about operators and tokens: what a confined caller made could reach further than itself.
    pub(super) fn unconfined(&self, caller: &Caller) -> Result<&Guard, Refusal> {
        if !caller.scope().is_everything() {
            let detail = "a token that is confined to a project or an env does not look after operators and tokens";
            return Err(Refusal::new(Code::Forbidden, detail));
        }
        self.guard()
    }
}

impl Guard {
    async fn identify(&self, credential: &str) -> Result<Caller, Refusal> {
        let Some(digest) = api_token::digest_of(credential) else { return self.identify_session(credential).await };
        match self.required.operators.token(digest).await? {
            Some(token) => Ok(Caller::token(token, digest)),
            None => Err(refused("there is no such API token: it is wrong, has expired, or was revoked")),
        }
    }

    async fn identify_session(&self, token: &str) -> Result<Caller, Refusal> {
        let over = || refused("the login is over, or was none: log in again");
        let session = self.required.key.verify(token, now()).ok_or_else(over)?;
        match session.stands(&*self.required.operators).await? {
            Some(operator) => Ok(Caller::operator(&operator, session)),
            None => Err(over()),
        }
    }
}

/// The service's own time: by it sessions begin and end.
pub(super) fn now() -> Timestamp {
    Utc::now()
}

fn revoked() -> Refusal {
    refused("what this request waited with, an API token or a login, was revoked meanwhile")
}

pub(super) fn refused(detail: &str) -> Refusal {
    Refusal::new(Code::Unauthenticated, detail)
}

/// What follows `Bearer`, if the header is there once, and is of that kind.
fn bearer(parts: &Parts) -> Option<&str> {
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, credential) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credential.trim())
}

//! `/login` and `/logout`.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    http::{StatusCode, header, request::Parts},
    response::{AppendHeaders, IntoResponse},
};
use botfarm_core::{
    Location, Login, Secret,
    operators::{Operator, PasswordHash, SessionId},
};
use chrono::SubsecRound as _;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    fields::Fields,
    json::Unique,
    server::{
        App,
        audit::Witness,
        auth::{
            caller::{Caller, Viewer},
            gate::{Guard, now, refused},
            login::{address::Client, cookie, device::DeviceId, password::Verdict, session::Session},
        },
        extract::input,
        layers::shares::Key,
        private::Private,
        refusal::Refusal,
    },
    wire::{AccessToken, Code, Password},
};

/// More than any login and password.
const LIMIT: usize = 16 << 10;

pub(crate) async fn login(State(app): State<App>, request: Request) -> Result<impl IntoResponse, Refusal> {
    let guard = app.shared.gate.guard()?;
    let (parts, body) = request.into_parts();
    input::refuse_query(&parts.uri)?;
    let client = parts.extensions.get().copied().unwrap_or_default();
    let share = app.shared.shares.of(Key::Address(Client::network(client)), "this address");
    let body = input::read(body, LIMIT, Some(&share)).await?;
    let (login, password) = credentials(&parts, &body)?;
    let device = DeviceId::of(&guard.required, &parts.headers, &login, now());
    let witness = Witness::of(&parts.extensions);
    let operator = guard.log_in(client, device, &login, password, &witness).await?;
    let (principal, name) = Caller::names(&operator);
    witness.is(principal, name);
    tracing::info!(operator = %operator.id, "logged in");
    begun(guard, &operator, device)
}

/// What a session is begun with.
pub(crate) fn begun(
    guard: &Guard,
    operator: &Operator,
    device: Option<DeviceId>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    let (begun, ttl) = (now().trunc_subsecs(0), guard.required.session_ttl);
    let Operator { id, login, generation, .. } = operator;
    let session =
        Session { id: SessionId(Uuid::new_v4()), operator: *id, generation: *generation, ends_at: begun + ttl };
    let token = guard.required.key.sign(session, begun);
    let device = match device {
        Some(device) => device,
        None => DeviceId::random()?,
    };
    let device = (header::SET_COOKIE, device.set(&guard.required, login, begun));
    let cookie = (header::SET_COOKIE, cookie::set(&guard.required, token.expose()));
    let answer =
        AccessToken { access_token: Password(token), token_type: "bearer".to_owned(), expires_in: ttl.as_secs() };
    Ok((AppendHeaders([cookie, device]), Private(answer)))
}

/// Login and password, from a form as OAuth 2 has it (RFC 6749, 4.3.2) or from JSON.
fn credentials(parts: &Parts, body: &[u8]) -> Result<(Login, Secret), Refusal> {
    let (value, name, is_form) = match input::media_type(&parts.headers).as_deref() {
        Some("application/x-www-form-urlencoded") => (form(body)?, "username", true),
        Some("application/json") => {
            let Unique(value) = serde_json::from_slice(body).map_err(|_| Refusal::malformed("the body is not JSON"))?;
            (value, "login", false)
        }
        _ => {
            let detail = "send a form (Content-Type: application/x-www-form-urlencoded) with username and password, or \
                          JSON (Content-Type: application/json) with login and password";
            return Err(Refusal::new(Code::UnsupportedMediaType, detail));
        }
    };
    // A page of another site can send a form without asking, and so log its visitor in as somebody else.
    if is_form && cookie::is_forged(parts) {
        return Err(Refusal::new(Code::Forbidden, "the page of another site has sent this form"));
    }
    let mut fields = Fields::of(value, Location::whole());
    let (login, password) = (fields.required(name), fields.required("password"));
    if is_form {
        if fields.optional::<String>("grant_type").is_some_and(|kind| kind != "password") {
            fields.fault("grant_type", "must be password");
        }
        // What OAuth 2 clients send along, and nobody here looks at.
        for ignored in ["scope", "client_id", "client_secret"] {
            fields.take(ignored);
        }
    }
    Ok(fields.finish_all(login.zip(password))?)
}

fn form(body: &[u8]) -> Result<Value, Refusal> {
    let mut fields = Map::new();
    for (name, text) in form_urlencoded::parse(body) {
        if fields.insert(name.into_owned(), Value::String(text.into_owned())).is_some() {
            return Err(Refusal::malformed("a field of the form is given twice"));
        }
    }
    Ok(Value::Object(fields))
}

impl Guard {
    /// The operator of this login, if that is its password. As long in coming whether there is such an operator or not.
    async fn log_in(
        &self,
        client: Client,
        device: Option<DeviceId>,
        login: &Login,
        password: Secret,
        witness: &Witness,
    ) -> Result<Operator, Refusal> {
        let proved = self.prove(client, device, login, password, witness).await?;
        proved.map(|(operator, _)| operator).ok_or_else(|| refused("the login or the password is wrong"))
    }

    /// The operator of this login, and what is kept of its password, if that is it.
    ///
    /// # Errors
    /// When there were too many wrong ones, or too many are being looked at.
    pub(crate) async fn prove(
        &self,
        client: Client,
        device: Option<DeviceId>,
        login: &Login,
        password: Secret,
        witness: &Witness,
    ) -> Result<Option<(Operator, PasswordHash)>, Refusal> {
        let attempt = self.throttle.attempt(login, client.network(), device).await.map_err(|after| {
            witness.has_guessed();
            Refusal::too_many(after, "there were too many failed logins for this login or from this address")
        })?;
        let (operator, kept) = self.required.operators.operator(login).await?.unzip();
        if let Some(operator) = &operator {
            witness.about("operator", operator.id);
        }
        let Some(verdict) = self.hasher.verify(password, kept.clone(), attempt.is_known).await else {
            attempt.forgive();
            return Err(busy());
        };
        let (operator, mut kept, verdict) = match (operator, kept, verdict?) {
            (Some(operator), Some(kept), verdict @ (Verdict::Right | Verdict::RightButOld(_))) => {
                (operator, kept, verdict)
            }
            (operator, ..) => {
                let operator = operator.map(|operator| tracing::field::display(operator.id));
                tracing::warn!(operator, address = client.0.map(tracing::field::display), "a login failed");
                witness.has_guessed();
                return Ok(None);
            }
        };
        attempt.succeed();
        if let Verdict::RightButOld(hash) = verdict {
            match self.required.operators.refresh_password(operator.id, kept.clone(), hash.clone()).await {
                Ok(true) => kept = hash,
                // Somebody else was quicker, or has changed the password.
                Ok(false) => {}
                // The old one still does.
                Err(error) => {
                    tracing::warn!(operator = %operator.id, %error, "a password hash could not be brought up to date");
                }
            }
        }
        Ok(Some((operator, kept)))
    }

    /// Hashes a new password for the operator of this login.
    ///
    /// # Errors
    /// When it is none to have.
    pub(crate) async fn hash(&self, login: &Login, password: Secret) -> Result<PasswordHash, Refusal> {
        PasswordHash::check(login, &password)?;
        Ok(self.hasher.hash(password).await.ok_or_else(busy)??)
    }
}

fn busy() -> Refusal {
    Refusal::too_many(Duration::from_secs(1), "too many log in at this moment")
}

pub(crate) async fn logout(Viewer(app, caller): Viewer) -> Result<impl IntoResponse, Refusal> {
    let guard = app.shared.gate.guard()?;
    let (session, _) =
        caller.session("an API token does not log in or out; an admin revokes it with DELETE /tokens/{id}")?;
    guard.required.operators.end_session(session.id, session.ends_at).await?;
    guard.standings.revoked();
    tracing::info!(operator = %session.operator, "logged out");
    Ok(over(guard))
}

/// What says that the session which the request came with is over.
pub(crate) fn over(guard: &Guard) -> impl IntoResponse + use<> {
    (StatusCode::NO_CONTENT, AppendHeaders([(header::SET_COOKIE, cookie::clear(&guard.required))]))
}

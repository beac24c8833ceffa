//! Who is calling.

use std::{net::IpAddr, sync::Arc};

use axum::{extract::FromRequestParts, http::request::Parts};
use botfarm_core::{
    BotFarm, Holder, Login, Origin, Owner,
    operators::{Operator, Role, Scope, Token, TokenDigest},
};

use crate::{
    server::{
        App,
        audit::Witness,
        auth::{
            confined::Confined,
            login::{address::Client, session::Session},
            standing::Credential,
        },
        layers::shares::{Key, RequestTurn},
        refusal::Refusal,
    },
    wire::Code,
};

/// The name of whoever calls a service that asks nobody for theirs.
const ANYBODY: &str = "anonymous";

/// Who is calling.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    name: Holder,
    role: Role,
    scope: Scope,
    /// What stays the same when a name changes hands; `None` when nobody is asked.
    principal: Option<Owner>,
    session: Option<(Session, Login)>,
    credential: Option<Credential>,
    origin: Origin,
    witness: Witness,
}

impl Caller {
    /// Whoever calls a service that asks nobody, told from others by the address, if it is known.
    pub(super) fn anybody(address: Option<IpAddr>) -> Self {
        let name = address.map_or_else(|| ANYBODY.to_owned(), |address| format!("{ANYBODY} at {address}"));
        let name = Holder::try_from(name).expect("a word and an address are a name");
        Self::known(name, Role::Admin, Scope::default(), None, None)
    }

    /// An operator who has logged in.
    pub(super) fn operator(operator: &Operator, session: Session) -> Self {
        let (principal, name) = Self::names(operator);
        let credential = Some(Credential::Session(session));
        let known = Self::known(name, operator.role, Scope::default(), principal, credential);
        Self { session: Some((session, operator.login.clone())), ..known }
    }

    /// What an operator is known by, and what it is called.
    pub(super) fn names(operator: &Operator) -> (Option<Owner>, Holder) {
        (Some(operator.id.owner()), named(&operator.login))
    }

    /// A program with an API token.
    pub(super) fn token(token: Token, digest: TokenDigest) -> Self {
        let principal = Some(token.id.owner());
        let credential = Some(Credential::Token(digest));
        Self::known(token.name, token.role, token.scope, principal, credential)
    }

    fn known(name: Holder, role: Role, scope: Scope, principal: Option<Owner>, credential: Option<Credential>) -> Self {
        Self {
            name,
            role,
            scope,
            principal,
            session: None,
            credential,
            origin: Origin::default(),
            witness: Witness::default(),
        }
    }

    /// The same caller, by this request.
    fn by(self, parts: &Parts) -> Self {
        let Client(address) = parts.extensions.get().copied().unwrap_or_default();
        let witness = Witness::of(&parts.extensions);
        witness.is(self.principal.clone(), self.name.clone());
        Self { origin: Origin { address, request: parts.extensions.get().cloned() }, witness, ..self }
    }

    /// Where its request comes from.
    pub(crate) fn origin(&self) -> Origin {
        self.origin.clone()
    }

    /// Whoever writes the audit trail is told of the request.
    pub(crate) fn witness(&self) -> &Witness {
        &self.witness
    }

    /// Whether it may know where others' requests come from.
    pub(crate) fn is_auditor(&self) -> bool {
        self.role == Role::Admin && !self.is_confined()
    }

    /// The name that leases are held by, and revoked by, unless another is given.
    pub(crate) fn name(&self) -> Holder {
        self.name.clone()
    }

    /// Whether the service knows who it is.
    pub(crate) fn is_known(&self) -> bool {
        self.principal.is_some()
    }

    /// The owner of the leases that it acquires.
    pub(crate) fn owner(&self) -> Option<Owner> {
        self.principal.clone()
    }

    /// Whether it is known to be an admin.
    pub(crate) fn is_admin(&self) -> bool {
        self.is_known() && self.role == Role::Admin
    }

    /// Whose leases it may release by the id of a bot; `None`: anybody's.
    pub(crate) fn releases(&self) -> Option<Owner> {
        if self.role == Role::Admin { None } else { self.owner() }
    }

    /// Idempotency keys are the caller's own.
    pub(crate) fn key_space(&self) -> &str {
        self.principal.as_deref().unwrap_or(ANYBODY)
    }

    /// Whose share of the service it uses.
    pub(crate) fn share(&self) -> Key {
        Key::Principal(self.principal.as_deref().map(Arc::from))
    }

    /// The farm as this caller may see it.
    pub(crate) fn view(&self, farm: &Arc<dyn BotFarm>) -> Arc<dyn BotFarm> {
        if self.scope.is_everything() {
            farm.clone()
        } else {
            Arc::new(Confined::new(farm.clone(), self.scope.clone()))
        }
    }

    /// Whether there is a part of the farm that it does not see.
    pub(crate) fn is_confined(&self) -> bool {
        !self.scope.is_everything()
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The session of an operator who has logged in, and the login.
    ///
    /// # Errors
    /// When it is a program with an API token, which the detail tells what to do.
    pub(super) fn session(&self, detail: &str) -> Result<(Session, &Login), Refusal> {
        let session = self.session.as_ref().map(|(session, login)| (*session, login));
        session.ok_or_else(|| Refusal::new(Code::Forbidden, detail))
    }

    /// What it has proved who it is with.
    pub(crate) fn credential(&self) -> Option<Credential> {
        self.credential
    }

    fn at_least(self, role: Role) -> Result<Self, Refusal> {
        if self.role >= role {
            return Ok(self);
        }
        let detail = format!("this needs the role {role}; yours is {}", self.role);
        Err(Refusal::new(Code::Forbidden, detail))
    }
}

/// A login may be longer than a name.
fn named(login: &str) -> Holder {
    let name: String = login.chars().take(200).collect();
    // 200 blanks and a letter are a login, too.
    Holder::try_from(name).unwrap_or_else(|_| Holder::try_from("operator").expect("is a name"))
}

/// Whoever calls, if they have this role, and the service as they may see it.
pub(crate) async fn admitted(parts: &mut Parts, app: &App, role: Role) -> Result<(App, Caller), Refusal> {
    let caller = app.shared.gate.caller(parts).await?.by(parts).at_least(role)?;
    let turn = parts.extensions.get::<Option<RequestTurn>>().cloned().flatten();
    let app = app.seen_by(&caller, turn)?;
    // For whoever reads the body, and whoever asks the same again.
    parts.extensions.insert(app.share.clone());
    parts.extensions.insert(app.turn.clone());
    Ok((app, caller))
}

/// An extractor for calls that need a role.
macro_rules! at_least {
    ($(#[$meta:meta])* $role:ident) => {
        $(#[$meta])*
        pub(crate) struct $role(pub(crate) App, pub(crate) Caller);

        impl FromRequestParts<App> for $role {
            type Rejection = Refusal;

            async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
                let (app, caller) = admitted(parts, app, Role::$role).await?;
                Ok(Self(app, caller))
            }
        }
    };
}

at_least! {
    /// Whoever may read, and the service as they may see it.
    Viewer
}

at_least! {
    /// Whoever may lease, and the service as they may see it.
    Tester
}

at_least! {
    /// Whoever may do everything, and the service as they may see it.
    Admin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_login_makes_a_name() {
        assert_eq!(named("ada").as_str(), "ada");
        assert_eq!(named(&"é".repeat(320)).as_str(), "é".repeat(200));
        assert_eq!(named(&format!("{}x", " ".repeat(200))).as_str(), "operator");
    }
}

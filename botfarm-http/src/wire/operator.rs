//! Who may call, and how they prove it.

use botfarm_core::{
    Env, Holder, Login, ProjectId, Timestamp,
    operators::{self, OperatorId, Role, Scope, TokenId},
};
use chrono::Days;
use serde::{Deserialize, Serialize};

use super::{
    macros::request,
    value::{Expiry, Password, Time},
};

request! {
    /// How to log in: the body of `POST /login`, as JSON.
    pub struct Credentials {
        /// The operator's login.
        login: Login = required,
        /// Its password.
        password: Password = required,
    }
}

/// What a login gives: to be sent as `Authorization: Bearer …`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct AccessToken {
    /// The token itself.
    #[cfg_attr(feature = "server", schema(value_type = String, format = Password))]
    pub access_token: Password,
    /// `bearer`.
    #[cfg_attr(feature = "server", schema(pattern = "^bearer$", example = "bearer"))]
    pub token_type: String,
    /// How long it is taken, in seconds.
    pub expires_in: u64,
}

/// Somebody who logs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Operator {
    /// Its id.
    pub id: OperatorId,
    /// The name it logs in with; unique, case aside.
    pub login: Login,
    /// What it may do.
    pub role: Role,
    /// Since when it is one.
    pub created_at: Time,
}

impl From<operators::Operator> for Operator {
    fn from(operator: operators::Operator) -> Self {
        let operators::Operator { id, login, role, created_at, generation: _ } = operator;
        Self { id, login, role, created_at: Time(created_at) }
    }
}

request! {
    /// An operator to be: the body of `POST /operators`.
    pub struct NewOperator {
        /// The name it logs in with.
        login: Login = required,
        /// The password it logs in with.
        #[cfg_attr(
            feature = "server",
            schema(value_type = String, format = Password, min_length = 12, max_length = 1_024, pattern = r"^[^\u0000]*$")
        )]
        password: Password = required,
        /// What it may do.
        role: Role = required,
    }
}

request! {
    /// Another password for an operator: the body of `PUT /operators/{id}/password`.
    pub struct NewPassword {
        /// The password it logs in with from now on.
        #[cfg_attr(
            feature = "server",
            schema(value_type = String, format = Password, min_length = 12, max_length = 1_024, pattern = r"^[^\u0000]*$")
        )]
        password: Password = required,
    }
}

request! {
    /// Another password for oneself: the body of `POST /operators/me/password`.
    pub struct PasswordChange {
        /// The password so far.
        #[cfg_attr(feature = "server", schema(value_type = String, format = Password))]
        old: Password = required,
        /// The password from now on.
        #[cfg_attr(
            feature = "server",
            schema(value_type = String, format = Password, min_length = 12, max_length = 1_024, pattern = r"^[^\u0000]*$")
        )]
        new: Password = required,
    }
}

/// The credential of a program, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Token {
    /// Its id. Not a secret.
    pub id: TokenId,
    /// What it is for.
    pub name: Holder,
    /// What it may do.
    pub role: Role,
    /// The project that it is confined to, if it is.
    pub project_id: Option<ProjectId>,
    /// The env that it is confined to, if it is.
    pub env: Option<Env>,
    /// Since when it is one.
    pub created_at: Time,
    /// From when on it is refused; null: never.
    pub expires_at: Option<Time>,
    /// When it was last used, to within a minute.
    pub last_used_at: Option<Time>,
}

impl From<operators::Token> for Token {
    fn from(token: operators::Token) -> Self {
        let operators::Token { id, name, role, scope, created_at, expires_at, last_used_at } = token;
        let Scope { project, env } = scope;
        Self {
            id,
            name,
            role,
            project_id: project,
            env,
            created_at: Time(created_at),
            expires_at: expires_at.map(Time),
            last_used_at: last_used_at.map(Time),
        }
    }
}

request! {
    /// A token to be: the body of `POST /tokens`.
    pub struct NewToken {
        /// What it is for; unique. Leases that it acquires are held by this name unless another is given.
        name: Holder = required,
        /// What it may do. `tester` unless given.
        #[cfg_attr(feature = "server", schema(value_type = Option<Role>))]
        role: Role = or(Role::Tester),
        /// Confines it to a project.
        #[serde(skip_serializing_if = "Option::is_none")]
        project_id: Option<ProjectId> = optional,
        /// Confines it to an env.
        #[serde(skip_serializing_if = "Option::is_none")]
        env: Option<Env> = optional,
        /// From when on it is refused: a time, or `never`. After 90 days unless given.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
        expires_at: Option<Expiry> = optional,
    }
}

impl NewToken {
    /// For how many days a token is taken that says nothing of it.
    pub const DAYS: u32 = 90;

    /// From when on a token made at `now` is refused that says this of it.
    #[must_use]
    pub fn end(expires_at: Option<Expiry>, now: Timestamp) -> Option<Timestamp> {
        expires_at.map_or_else(|| now.checked_add_days(Days::new(Self::DAYS.into())), Option::from)
    }
}

/// A new token, with its secret, which is shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct IssuedToken {
    /// The token.
    #[serde(flatten)]
    pub token: Token,
    /// Its secret: `bf_…`.
    #[serde(rename = "token")]
    #[cfg_attr(feature = "server", schema(value_type = String, format = Password))]
    pub secret: Password,
}

/// What became of the leases of a token that was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct EndedLeases {
    /// How many of them were in force, and are no more.
    pub ended: u64,
}

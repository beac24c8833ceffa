//! Who may use a service: people, and the tokens of programs. Those who embed a farm never meet them.

mod password;

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::password::PASSWORD_LENGTH;
use crate::{
    bot::Bot,
    error::Result,
    name::{Env, ProjectId},
    text::{Holder, Login, Owner},
    time::Timestamp,
    words::word_enum,
};

word_enum! {
    /// What somebody may do. Each role may do what those before it may.
    Role {
        /// Reads.
        Viewer = "viewer",
        /// Also leases.
        Tester = "tester",
        /// Also writes bots, revokes leases, and looks after operators and tokens.
        Admin = "admin",
    }
}

macro_rules! id {
    ($(#[$meta:meta])* $name:ident, $word:literal) => {
        id! { $(#[$meta])* $name }

        impl $name {
            /// The owner of the leases that it acquires: what stays the same when a name changes hands.
            ///
            /// # Panics
            /// Never: a word and a UUID are short, and without control characters.
            #[must_use]
            pub fn owner(self) -> Owner {
                Owner::try_from(format!("{} {self}", $word)).expect("a word and a UUID are an owner")
            }
        }
    };
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

id! {
    /// Which operator.
    OperatorId, "operator"
}

id! {
    /// Which API token. Not a secret.
    TokenId, "token"
}

id! {
    /// Which login of an operator: the `jti` of a session's token.
    SessionId
}

/// What is kept of an operator's password: a hash in the PHC string format. Redacted in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// A hash that was made by the one who checks it.
    #[must_use]
    pub fn from_phc(phc: impl Into<String>) -> Self {
        Self(phc.into())
    }

    /// The PHC string.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(***)")
    }
}

/// What is kept of an API token: the SHA-256 of its secret, which has entropy enough of its own. Redacted in `Debug`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest(pub [u8; 32]);

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(***)")
    }
}

/// Somebody who logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Its id, made by the farm.
    pub id: OperatorId,
    /// The name it logs in with; unique, case aside.
    pub login: Login,
    /// What it may do.
    pub role: Role,
    /// Since when it is one.
    pub created_at: Timestamp,
    /// How often all of its sessions have been ended: a session that began in an earlier generation is over.
    pub generation: i64,
}

/// To what a token is confined: what is given must match. It neither sees nor leases anything else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Only this project.
    pub project: Option<ProjectId>,
    /// Only this env.
    pub env: Option<Env>,
}

impl Scope {
    /// Whether nothing is out of it.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether `bot` is within it.
    #[must_use]
    pub fn contains(&self, bot: &Bot) -> bool {
        self.covers(&bot.project, &bot.env)
    }

    /// Whether the bots of this project and env are within it.
    #[must_use]
    pub fn covers(&self, project: &ProjectId, env: &Env) -> bool {
        self.project.as_ref().is_none_or(|only| only == project) && self.env.as_ref().is_none_or(|only| only == env)
    }
}

/// The credential of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its id, made by the farm.
    pub id: TokenId,
    /// What it is for, for people to read; unique among the tokens.
    pub name: Holder,
    /// What it may do.
    pub role: Role,
    /// To what it is confined.
    pub scope: Scope,
    /// Since when it is one.
    pub created_at: Timestamp,
    /// From when on it is refused; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to within a minute.
    pub last_used_at: Option<Timestamp>,
}

/// A token to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// What it is for.
    pub name: Holder,
    /// What it may do.
    pub role: Role,
    /// To what it is confined.
    pub scope: Scope,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
    /// What is kept of its secret.
    pub digest: TokenDigest,
}

/// Keeps operators, tokens and ended sessions, in the same place as the bots: every replica of a service sees the same.
///
/// It stores what it is given. Passwords are hashed, and sessions signed, by whoever serves.
///
/// # Errors
/// Every method may give `Unavailable` and `Backend`, beside those that it names.
#[async_trait]
pub trait Operators: fmt::Debug + Send + Sync + 'static {
    /// Keeps a new operator.
    ///
    /// # Errors
    /// `Invalid` at `/login` when there is one of this login, case aside.
    async fn add_operator(&self, login: Login, password: PasswordHash, role: Role) -> Result<Operator>;

    /// All operators, by login.
    async fn operators(&self) -> Result<Vec<Operator>>;

    /// The operator of this login, case aside, with what is kept of its password.
    async fn operator(&self, login: &Login) -> Result<Option<(Operator, PasswordHash)>>;

    /// Gives an operator another password, and ends all of its sessions. With `from`, only if that is what is kept; to say
    /// the same again succeeds. `None` when there is no such operator, or another hash is kept.
    async fn set_password(
        &self,
        id: OperatorId,
        from: Option<PasswordHash>,
        to: PasswordHash,
    ) -> Result<Option<Operator>>;

    /// Replaces the hash of a password by another of the same password; its sessions go on. False when there is no such
    /// operator, or another hash is kept by now.
    async fn refresh_password(&self, id: OperatorId, from: PasswordHash, to: PasswordHash) -> Result<bool>;

    /// Ends all sessions of an operator, on every replica, by counting its generation up; `None` when there is no such
    /// operator.
    async fn end_sessions(&self, id: OperatorId) -> Result<Option<Operator>>;

    /// Forgets an operator, and so ends its sessions; false when there is none.
    ///
    /// # Errors
    /// `Forbidden` for the last admin: nobody could add another.
    async fn remove_operator(&self, id: OperatorId) -> Result<bool>;

    /// Keeps a new token.
    ///
    /// # Errors
    /// `Invalid` at `/name` when there is one of this name.
    async fn add_token(&self, token: NewToken) -> Result<Token>;

    /// All tokens, by name; also those that have expired.
    async fn tokens(&self) -> Result<Vec<Token>>;

    /// The token with this digest, unless it has expired by the farm's clock. Takes note of its use.
    async fn token(&self, digest: TokenDigest) -> Result<Option<Token>>;

    /// Forgets a token; false when there is none.
    async fn remove_token(&self, id: TokenId) -> Result<bool>;

    /// The operator of a session, unless the session was ended or the operator removed. Whoever has signed the session
    /// compares its generation with the operator's.
    async fn session(&self, session: SessionId, operator: OperatorId) -> Result<Option<Operator>>;

    /// Ends a session on every replica. It may be forgotten after `until`, when the session would have ended by itself.
    async fn end_session(&self, session: SessionId, until: Timestamp) -> Result<()>;
}

//! Who is calling, and what they may do.
//!
//! A handler names the least role that it is for by the extractor it takes: `Viewer`, `Tester` or `Admin`. Each
//! gives the caller, and the service as the caller may see it, whose farm ends where the caller's scope does.

mod caller;
mod confined;
mod gate;
mod login;
mod operators;
mod standing;

use std::{sync::Arc, time::Duration};

use botfarm_core::operators::Operators;

pub(super) use self::{
    caller::{Admin, Caller, Tester, Viewer, admitted},
    gate::Gate,
    login::{
        address::{Client, Peer, Proxies},
        cookie::is_forged,
        handlers::{login, logout},
    },
    operators::{
        add as add_operator, end_sessions, list as list_operators,
        me::{change_password, end_sessions as end_own_sessions},
        remove as remove_operator, reset_password,
        tokens::{add as add_token, list as list_tokens, remove as remove_token},
    },
};
pub use self::{
    login::{
        address::{NoProxy, Proxy},
        password::{hash_password, is_password},
        session::SessionKey,
    },
    operators::api_token::ApiToken,
};

/// Who may call a service.
#[derive(Debug, Clone, Default)]
pub enum Auth {
    /// Everybody who reaches it: all calls are open, and anybody may release anything with `force`. For a loopback address.
    #[default]
    Off,
    /// The operators and tokens that the farm keeps.
    Required(Required),
}

/// How callers prove who they are.
#[derive(Debug, Clone)]
pub struct Required {
    /// Keeps operators, tokens and ended sessions: the farm that is served, as a rule.
    pub operators: Arc<dyn Operators>,
    /// Signs sessions. Replicas share it.
    pub key: SessionKey,
    /// How long a login lasts. 8 h: a working day.
    pub session_ttl: Duration,
    /// Whether cookies may go over plain HTTP. False: a cookie is then `Secure`, which browsers send over HTTPS, and to
    /// this machine, alone.
    pub plain_http: bool,
}

impl Required {
    /// Callers are known to `operators`; their sessions are signed with `key`.
    #[must_use]
    pub fn new(operators: Arc<dyn Operators>, key: SessionKey) -> Self {
        Self { operators, key, session_ttl: Duration::from_hours(8), plain_http: false }
    }
}

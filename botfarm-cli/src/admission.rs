//! Who a service lets in: decided, and made sure of, before it starts.

use std::{net::SocketAddr, sync::Arc};

use botfarm::Store;
use botfarm_http::{
    Hosts,
    auth::{Required, SessionKey},
};
use tracing::{info, warn};

use crate::{
    config::Auth,
    failure::Failure,
    first_admin::{self, LOGIN},
};

/// Where a service listens.
#[derive(Debug)]
pub(crate) struct Address {
    /// As it was given.
    pub(crate) text: String,
    pub(crate) resolved: Vec<SocketAddr>,
}

impl Address {
    /// Whether only this very machine reaches it.
    pub(crate) fn is_loopback(&self) -> bool {
        self.resolved.iter().all(|address| address.ip().to_canonical().is_loopback())
    }
}

/// Whether callers are asked who they are. The farm gives working passwords to whoever calls: nobody is to offer that
/// to a network by accident.
///
/// # Errors
/// When others reach the address, and nobody has said what is to hold for them.
pub(crate) fn is_required(address: &Address, auth: Option<Auth>) -> Result<bool, Failure> {
    let listen = &address.text;
    match auth {
        Some(Auth::Required) => return Ok(true),
        Some(Auth::None) if !address.is_loopback() => {
            warn!("{listen} is open: whoever reaches it gets the passwords of the bots");
        }
        None if !address.is_loopback() => {
            return Err(Failure::usage(format!(
                "{listen} can be reached from other machines, and whoever reaches it would get the passwords of the \
                 bots; say --auth required, or listen on 127.0.0.1, or say --auth none if the network keeps everybody \
                 else out"
            )));
        }
        _ => {}
    }
    if std::env::var_os(LOGIN).is_some_and(|value| !value.is_empty()) {
        warn!("{LOGIN} is of no use: callers are not asked who they are; --auth required does that");
    }
    Ok(false)
}

/// The names that a service answers to which asks nobody who they are; says who could call.
pub(crate) fn hosts(address: &Address, allowed: &[String]) -> Hosts {
    let hosts = allowed.iter().fold(Hosts::default(), |hosts, name| hosts.name(name));
    if address.is_loopback() {
        info!(
            "nobody is asked who they are: every program on this machine may lease, and so gets passwords; pages of \
             other sites and what comes through a proxy are refused"
        );
        return hosts;
    }
    // The name that it listens by is one that it is called by.
    let name = address.text.rsplit_once(':').map_or("", |(name, _)| name);
    hosts.name(name).any_address()
}

/// What a service needs that asks callers who they are.
///
/// # Errors
/// When the farm keeps no operators; when there are none, and none can be made.
pub(crate) async fn required(store: &Store) -> Result<Required, Failure> {
    let Some(operators) = &store.operators else {
        return Err(Failure::usage(
            "--auth required needs a store that keeps operators: sqlite:PATH, postgres://… or memory:",
        ));
    };
    first_admin::ensure(&**operators, store.file.as_deref()).await?;
    // Without keys there is one process, and sessions end with it.
    let key =
        store.keyring.as_ref().map_or_else(SessionKey::random, |keyring| SessionKey::from(*keyring.derive("sessions")));
    Ok(Required::new(Arc::clone(operators), key))
}

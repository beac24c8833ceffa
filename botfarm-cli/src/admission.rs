//! Who a service lets in: decided, and made sure of, before it starts.

use std::{net::SocketAddr, sync::Arc};

use botfarm::operators::Operators;
use botfarm_core::{Error, Login, Secret, operators::Role};
use botfarm_http::{
    Hosts,
    auth::{Required, SessionKey, hash_password, is_password},
};
use clap::ValueEnum;
use serde::Deserialize;
use tracing::{info, warn};

use crate::{failure::Failure, store::Store};

const LOGIN: &str = "BOTFARM_ADMIN_LOGIN";
const PASSWORD: &str = "BOTFARM_ADMIN_PASSWORD";

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Auth {
    /// Everybody who can reach the address
    None,
    /// Operators who log in, and programs with an API token
    Required,
}

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
/// When the farm keeps no operators; when there are none, and others reach the address.
pub(crate) async fn required(address: &Address, store: &Store) -> Result<Required, Failure> {
    let Some(operators) = &store.operators else {
        return Err(Failure::usage(
            "--auth required needs a store that keeps operators: sqlite:PATH, postgres://… or memory:",
        ));
    };
    first_admin(&**operators).await?;
    if operators.operators().await?.is_empty() {
        let hint = format!(
            "there is no operator, so nobody could log in; set {LOGIN} and {PASSWORD} (or {PASSWORD}_FILE), or, on a \
             database, run `botfarm operator add LOGIN --role admin`"
        );
        if !address.is_loopback() {
            return Err(Failure::usage(hint));
        }
        warn!("{hint}");
    }
    // Without keys there is one process, and sessions end with it.
    let key =
        store.keyring.as_ref().map_or_else(SessionKey::random, |keyring| SessionKey::from(*keyring.derive("sessions")));
    Ok(Required::new(Arc::clone(operators), key))
}

/// Adds the admin that the environment names, to a farm that has no admin yet. One that has may have changed the
/// password since, or have removed that admin for good.
async fn first_admin(operators: &dyn Operators) -> Result<(), Failure> {
    let (login, password) = match (botfarm::env_or_file(LOGIN)?, botfarm::env_or_file(PASSWORD)?) {
        (None, None) => return Ok(()),
        (Some(login), Some(password)) => (login, password),
        _ => return Err(Failure::usage(format!("{LOGIN} and {PASSWORD} (or {PASSWORD}_FILE) belong together"))),
    };
    let login = Login::try_from(login).map_err(|error| Failure::usage(format!("{LOGIN} {error}")))?;
    let password = Secret::try_from(password).map_err(|error| Failure::usage(format!("{PASSWORD} {error}")))?;
    if operators.operators().await?.iter().any(|operator| operator.role == Role::Admin) {
        return tell_of_another_password(operators, &login, password).await;
    }
    let hash = hash_password(&login, &password).map_err(|error| Failure::usage(format!("{PASSWORD}: {error}")))?;
    match operators.add_operator(login.clone(), hash, Role::Admin).await {
        Ok(_) => info!("added the first admin, {login}"),
        // A replica that starts at the same time was first.
        Err(Error::Invalid { .. })
            if operators.operator(&login).await?.is_some_and(|(found, _)| found.role == Role::Admin) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Whoever changes the variable means to change the password, which it does not.
async fn tell_of_another_password(operators: &dyn Operators, login: &Login, password: Secret) -> Result<(), Failure> {
    let Some((_, kept)) = operators.operator(login).await? else {
        warn!("{LOGIN} names {login}, who is no operator: it makes the first admin alone, and there is one");
        return Ok(());
    };
    if !is_password(&password, &kept)? {
        warn!(
            "{PASSWORD} is not the password of {login}: it makes the first admin alone, and changes nobody's password"
        );
    }
    Ok(())
}

//! Whom a service answers that asks nobody who they are: programs of this machine, and no page that a browser shows.

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, header, request::Parts, uri::Authority},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use crate::{
    server::{App, auth::is_forged, refusal::Refusal, serve::is_probe},
    wire::Code,
};

/// The names that a service answers to which asks nobody who they are. By default those that mean this machine itself:
/// `localhost`, what ends with `.localhost`, and loopback addresses.
///
/// The page of another site can have a browser call a service by that site's own name, whose address its owner chooses
/// (DNS rebinding): a name that is not among these is a stranger's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    names: Vec<String>,
    addresses: bool,
}

impl Hosts {
    /// Also to this name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.names.push(name.trim_end_matches('.').to_ascii_lowercase());
        self
    }

    /// Also when called by any address: what listens for other machines has some.
    #[must_use]
    pub fn any_address(self) -> Self {
        Self { addresses: true, ..self }
    }

    fn has(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return self.addresses || address.to_canonical().is_loopback();
        }
        host == "localhost" || host.ends_with(".localhost") || self.names.contains(&host)
    }
}

/// Refuses what does not come from a program of this machine.
pub(crate) async fn refuse_strangers(State(app): State<App>, request: Request, next: Next) -> Response {
    // How the service is, anybody may know; and a browser, what it may ask on behalf of a page.
    if is_probe(request.uri().path()) || request.method() == Method::OPTIONS {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match stranger(&app, &parts) {
        Some(why) => {
            let detail = format!("{why}; this service asks nobody who they are, and would give passwords to anybody");
            Refusal::new(Code::Forbidden, detail).into_response()
        }
        None => next.run(Request::from_parts(parts, body)).await,
    }
}

/// Why a request is not answered, if it is not.
fn stranger(app: &App, parts: &Parts) -> Option<String> {
    const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
    let options = &app.shared.options;
    if let Some(name) = app.shared.proxies.added_by_a_stranger(&parts.extensions, &parts.headers) {
        return Some(format!("this came through a proxy (by its header {name}) that is not named as --trusted-proxy"));
    }
    let host = parts.headers.get(header::HOST).map(HeaderValue::as_bytes);
    let host = host.or_else(|| parts.uri.authority().map(|authority| authority.as_str().as_bytes()));
    if let Some(host) = host {
        let host = Authority::try_from(host).ok();
        let host = host.as_ref().map(Authority::host);
        if !host.is_some_and(|host| options.hosts.has(host)) {
            let host = host.unwrap_or("something else");
            return Some(format!("this was sent to {host}; say localhost, or name it as --allowed-host"));
        }
    }
    let page = || Some("the page of another site has sent this".to_owned());
    if let Some(origin) = parts.headers.get(header::ORIGIN) {
        let theirs = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, rest)| rest);
        let is_ours = theirs.zip(host).is_some_and(|(theirs, ours)| theirs.as_bytes().eq_ignore_ascii_case(ours));
        let is_named = options.cors_origins.iter().any(|named| named.is(origin));
        return if is_ours || is_named { None } else { page() };
    }
    // Somebody may follow a link to here.
    let navigates = parts.method == Method::GET && parts.headers.get(MODE).is_some_and(|mode| mode == "navigate");
    let is_of_others = parts.headers.get(SITE).is_some_and(|site| site == "cross-site" || site == "same-site");
    if is_forged(parts) || (is_of_others && !navigates) { page() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_are_answered_to_and_others_when_they_are_named() {
        let default = Hosts::default();
        for own in ["localhost", "LOCALHOST", "localhost.", "botfarm.localhost", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(default.has(own), "{own}");
        }
        for other in ["", "farm", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[2001:db8::1]", "1"]
        {
            assert!(!default.has(other), "{other}");
        }
        let named = Hosts::default().name("Farm.internal.").any_address();
        for own in ["farm.internal", "FARM.internal", "10.0.0.1", "[2001:db8::1]", "localhost"] {
            assert!(named.has(own), "{own}");
        }
        assert!(!named.has("farm"));
    }
}

//! How to reach a farm.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use botfarm_core::{BadText, Error, Field, Result, Secret};
use reqwest::{
    Certificate, Client, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
    redirect,
};

use super::{HttpFarm, retry::Patience, send::Service};
use crate::version::OURS;

/// How to reach a farm.
#[derive(Debug, Clone)]
#[must_use]
pub struct HttpFarmBuilder {
    url: String,
    token: Option<Result<Secret, BadText>>,
    plain_http: bool,
    authorities: Option<Vec<u8>>,
    connect_timeout: Duration,
    timeout: Duration,
    longest_turn: Duration,
    patience: Patience,
}

impl HttpFarmBuilder {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            token: None,
            plain_http: false,
            authorities: None,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            longest_turn: Duration::from_secs(50),
            patience: Patience {
                first_pause: Duration::from_millis(100),
                longest_pause: Duration::from_secs(2),
                total: Duration::from_secs(15),
            },
        }
    }

    /// Sends this token with every request.
    pub fn token(self, token: impl Into<String>) -> Self {
        Self { token: Some(Secret::try_from(token.into())), ..self }
    }

    /// Whether it has a token to send.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Sends no token.
    pub fn without_token(self) -> Self {
        Self { token: None, ..self }
    }

    /// Lets the token go over plain HTTP to another machine: whoever is on the way reads it, and the passwords.
    pub fn plain_http(self, allowed: bool) -> Self {
        Self { plain_http: allowed, ..self }
    }

    /// Trusts these certificate authorities, too, in PEM: those of a company, say. The system's are trusted anyway.
    pub fn authorities(self, pem: impl Into<Vec<u8>>) -> Self {
        Self { authorities: Some(pem.into()), ..self }
    }

    /// How long a connection may take to come about. 5 s.
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        Self { connect_timeout: timeout, ..self }
    }

    /// How long an answer may take, beyond the time that a request waits in the queue. 10 s.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// For how long after its first failure a request is sent again. 15 s, which is enough for a service to be started
    /// anew; zero: not at all.
    ///
    /// Time in the queue does not count. A call takes at most this long, a connection's or an answer's timeout before
    /// it, and one after it.
    pub fn retry_for(self, total: Duration) -> Self {
        Self { patience: Patience { total, ..self.patience }, ..self }
    }

    /// How long to wait before a request is sent again: `first`, then twice as long each time up to `longest`, and up
    /// to twice as long again by chance. 0.1 s and 2 s. A service that asks for more is given more.
    pub fn pauses(self, first: Duration, longest: Duration) -> Self {
        let patience = Patience { first_pause: first, longest_pause: longest, ..self.patience };
        Self { patience, ..self }
    }

    /// The longest that one request waits in the queue; who wants longer asks again, and keeps its place. 50 s: many a
    /// proxy cuts a connection that has been silent for a minute.
    pub fn longest_turn(self, longest_turn: Duration) -> Self {
        Self { longest_turn, ..self }
    }

    /// The farm. Nothing is sent yet.
    ///
    /// # Errors
    /// `Invalid` when the URL is not one of a service, or one of another machine over plain HTTP while there is a token
    /// and that was not allowed; when the token could not be sent, or the authorities are none.
    /// `Backend` when the system's certificates cannot be read.
    pub fn build(self) -> Result<HttpFarm> {
        let root = root(&self.url).map_err(|why| Error::invalid(Field::other("url"), why))?;
        let mut headers = HeaderMap::new();
        if let Some(token) = self.token {
            let token = token.map_err(|why| Error::invalid(Field::other("token"), why.to_string()))?;
            let bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()));
            let mut bearer = bearer
                .map_err(|_| Error::invalid(Field::other("token"), "must consist of visible ASCII characters"))?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
            if root.scheme() == "http" && !is_loopback(&root) && !self.plain_http {
                let host = root.host_str().unwrap_or_default();
                let why = format!(
                    "would have the token go to {host} over plain HTTP, where others can read it: use https://, or allow \
                     it by name (BOTFARM_PLAIN_HTTP=true)"
                );
                return Err(Error::invalid(Field::other("url"), why));
            }
        }
        // Fails when the process has a provider already, which will do as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder()
            .user_agent(format!("botfarm/{OURS}"))
            .default_headers(headers)
            .connect_timeout(self.connect_timeout)
            // Shorter than the service keeps them, or a request would meet a connection that is just being closed.
            .pool_idle_timeout(Duration::from_mins(1))
            .tcp_keepalive(Duration::from_secs(30))
            // A redirected POST would come without its body.
            .redirect(redirect::Policy::none());
        if let Some(pem) = &self.authorities {
            client = client.tls_certs_merge(authorities(pem)?);
        }
        if is_loopback(&root) {
            client = client.no_proxy();
            if root.scheme() == "http" {
                // Nothing will be verified, and to read the system's certificates takes longer than a request.
                client = client.tls_certs_only([]);
            }
        }
        let http = client.build().map_err(|error| match self.authorities {
            // They are not read before.
            Some(_) => no_authorities(),
            None => Error::backend(error),
        })?;
        let root = root.as_str().trim_end_matches('/').to_owned();
        let Self { timeout, longest_turn, patience, .. } = self;
        let noticed = AtomicBool::new(false);
        Ok(HttpFarm { service: Arc::new(Service { http, root, timeout, longest_turn, patience, noticed }) })
    }
}

fn authorities(pem: &[u8]) -> Result<Vec<Certificate>> {
    let certificates = Certificate::from_pem_bundle(pem).map_err(|_| no_authorities())?;
    if certificates.is_empty() { Err(no_authorities()) } else { Ok(certificates) }
}

fn no_authorities() -> Error {
    Error::invalid(Field::other("authorities"), "must be one or more certificates in PEM")
}

/// The URL without what the API adds to it. What is refused may have a password in it, and is not repeated.
fn root(url: &str) -> Result<Url, &'static str> {
    let mut url = Url::parse(url).map_err(|_| "must be a URL such as http://127.0.0.1:8000")?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("must be an http:// or https:// URL");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not have a user name or password in it; give a token");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with its path");
    }
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/api/v1").unwrap_or(path).to_owned();
    url.set_path(&path);
    Ok(url)
}

/// Whether it is this very machine, where no proxy leads.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_s_own_path_may_be_there_or_not() {
        for (url, root) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
            ("https://ci.example/farm/api/v1/", "https://ci.example/farm"),
            ("https://ci.example/api/v1", "https://ci.example"),
        ] {
            assert_eq!(HttpFarm::new(url).unwrap().service.root, root);
        }
    }

    #[test]
    fn a_url_with_a_password_is_refused_without_repeating_it() {
        for url in
            ["http://ada:hunter2@ci.example", "postgres://ada:hunter2@db/x", "http://x/?token=hunter2", "hunter2"]
        {
            let error = HttpFarm::new(url).unwrap_err();
            assert_eq!(error.code(), "invalid");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn a_token_goes_over_plain_http_to_this_machine_alone_unless_allowed() {
        for url in ["http://127.0.0.1:8000", "http://localhost", "http://[::1]:1", "https://ci.example"] {
            assert!(HttpFarm::builder(url).token("bf_hunter2").build().is_ok(), "{url}");
        }
        for url in ["http://ci.example", "http://10.0.0.1:8000", "http://localhost.evil.example"] {
            let builder = HttpFarm::builder(url).token("bf_hunter2");
            let error = builder.clone().build().unwrap_err();
            assert!(error.to_string().contains("over plain HTTP"), "{url}: {error}");
            assert!(builder.clone().plain_http(true).build().is_ok(), "{url}");
            assert!(builder.without_token().build().is_ok(), "{url}");
        }
    }

    #[test]
    fn debug_shows_no_token() {
        let builder = HttpFarm::builder("http://[::1]:1").token("bf_hunter2");
        let shown = format!("{builder:?} {:?}", builder.clone().build().unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("http://[::1]:1"), "{shown}");
    }
}

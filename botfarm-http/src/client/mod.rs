//! A farm over the network.

mod farm;
mod operators;
mod send;

use std::{fmt, sync::Arc, time::Duration};

use botfarm_core::{BadText, Error, Result, Secret};
use reqwest::{
    Client, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
    redirect,
};

use self::send::Service;

/// The farm behind a service, over REST. It rebuilds the very values and errors of that farm.
///
/// Calls may come from any runtime: the connections live on botfarm's own (see [`botfarm_core::background`]). A clone
/// shares them. `Debug` does not show the token.
///
/// ```no_run
/// # use botfarm_core::{BotFarmExt, Env, LeaseRequest, Selector};
/// # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
/// let farm = botfarm_http::HttpFarm::new("http://127.0.0.1:8000")?;
/// let lease = farm.lease(LeaseRequest::new("checkout test".parse()?, Selector::any().env(Env::Stage))).await?;
/// println!("logging in as {}", lease.bot().bot.login);
/// lease.release().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HttpFarm {
    service: Arc<Service>,
}

impl HttpFarm {
    /// The farm at this URL, with or without `/api/v1`, asked without a token. Nothing is sent yet.
    ///
    /// # Errors
    /// `Invalid` when it is not the URL of a service.
    pub fn new(url: &str) -> Result<Self> {
        Self::builder(url).build()
    }

    /// The farm at this URL, with more to be said about it.
    pub fn builder(url: &str) -> HttpFarmBuilder {
        HttpFarmBuilder {
            url: url.to_owned(),
            token: None,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
        }
    }
}

impl fmt::Debug for HttpFarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpFarm").field("url", &self.service.root).finish_non_exhaustive()
    }
}

/// How to reach a farm.
#[derive(Debug, Clone)]
#[must_use]
pub struct HttpFarmBuilder {
    url: String,
    token: Option<Result<Secret, BadText>>,
    connect_timeout: Duration,
    timeout: Duration,
}

impl HttpFarmBuilder {
    /// Sends this token with every request.
    pub fn token(self, token: impl Into<String>) -> Self {
        Self { token: Some(Secret::try_from(token.into())), ..self }
    }

    /// How long a connection may take to come about. 10 s.
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        Self { connect_timeout: timeout, ..self }
    }

    /// How long an answer may take, beyond the time that a request waits in the queue. 30 s.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The farm. Nothing is sent yet.
    ///
    /// # Errors
    /// `Invalid` when the URL is not one of a service, or the token could not be sent. `Backend` when the system's
    /// certificates cannot be read.
    pub fn build(self) -> Result<HttpFarm> {
        let root = root(&self.url).map_err(|why| Error::invalid("/url", why))?;
        let mut headers = HeaderMap::new();
        if let Some(token) = self.token {
            let token = token.map_err(|why| Error::invalid("/token", why.to_string()))?;
            let bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()));
            let mut bearer =
                bearer.map_err(|_| Error::invalid("/token", "must consist of visible ASCII characters"))?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        // Fails when the process has a provider already, which will do as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder()
            .user_agent(concat!("botfarm/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(self.connect_timeout)
            // Shorter than the service keeps them, or a request would meet a connection that is just being closed.
            .pool_idle_timeout(Duration::from_mins(1))
            .tcp_keepalive(Duration::from_secs(30))
            // A redirected POST would come without its body.
            .redirect(redirect::Policy::none());
        if is_loopback(&root) {
            client = client.no_proxy();
            if root.scheme() == "http" {
                // Nothing will be verified, and to read the system's certificates takes longer than a request.
                client = client.tls_certs_only([]);
            }
        }
        let http = client.build().map_err(Error::backend)?;
        let root = root.as_str().trim_end_matches('/').to_owned();
        Ok(HttpFarm { service: Arc::new(Service { http, root, timeout: self.timeout }) })
    }
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
    fn debug_shows_no_token() {
        let builder = HttpFarm::builder("http://[::1]:1").token("bf_hunter2");
        let shown = format!("{builder:?} {:?}", builder.clone().build().unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("http://[::1]:1"), "{shown}");
    }
}

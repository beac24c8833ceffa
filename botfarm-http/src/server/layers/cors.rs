//! Which pages of other sites may call the service from a browser: none, unless they are named.

use std::{fmt, str::FromStr, time::Duration};

use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use tower_http::cors::CorsLayer;

/// How long a browser may go by what it was told.
const MAX_AGE: Duration = Duration::from_hours(1);

/// A site whose pages may call the service: `https://dashboard.example`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(HeaderValue);

impl FromStr for Origin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        let uri: Uri = text.parse().map_err(|_| NoOrigin)?;
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https")).ok_or(NoOrigin)?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(NoOrigin)?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(NoOrigin);
        }
        // As browsers write it.
        let origin = format!("{scheme}://{authority}").to_ascii_lowercase();
        HeaderValue::try_from(origin).map(Self).map_err(|_| NoOrigin)
    }
}

impl Origin {
    /// Whether this is what a browser calls the site.
    pub(crate) fn is(&self, origin: &HeaderValue) -> bool {
        self.0 == origin
    }
}

/// Why a text is no [`Origin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoOrigin;

impl fmt::Display for NoOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be http(s)://host or http(s)://host:port, without a path; sites are named one by one")
    }
}

impl std::error::Error for NoOrigin {}

/// Lets pages of these sites call the service with a token. Cookies are not taken from other sites: see the CSRF guard.
pub(crate) fn layer(origins: &[Origin]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(origins.iter().map(|Origin(origin)| origin.clone()).collect::<Vec<_>>())
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("prefer"),
            HeaderName::from_static("x-request-id"),
        ])
        .expose_headers([
            header::ALLOW,
            header::LINK,
            header::LOCATION,
            header::RETRY_AFTER,
            HeaderName::from_static("preference-applied"),
            HeaderName::from_static("x-request-id"),
        ])
        .max_age(MAX_AGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_perhaps_a_port() {
        for (text, expected) in [
            ("https://dash.example", "https://dash.example"),
            ("http://localhost:3000/", "http://localhost:3000"),
            ("HTTPS://Dash.Example", "https://dash.example"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().0, expected);
        }
        for bad in ["*", "null", "", "dash.example", "ftp://dash.example", "https://dash.example/app", "https://u@x"] {
            assert_eq!(bad.parse::<Origin>(), Err(NoOrigin), "{bad}");
        }
    }
}

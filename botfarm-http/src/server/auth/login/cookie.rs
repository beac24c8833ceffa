//! The cookie that carries a session in a browser, and who may use it.

use axum::http::{HeaderMap, Method, Uri, header, request::Parts, uri::Authority};

use crate::server::auth::Required;

/// Its name. The prefix has the browser see to it that no other site, nor a subdomain, has set it.
fn name(required: &Required) -> &'static str {
    if required.plain_http { "botfarm" } else { "__Host-botfarm" }
}

/// `Set-Cookie` for a session.
pub(crate) fn set(required: &Required, token: &str) -> String {
    written(required, token, required.session_ttl.as_secs())
}

/// `Set-Cookie` that takes it away.
pub(crate) fn clear(required: &Required) -> String {
    written(required, "", 0)
}

/// `Set-Cookie` by which a browser is known that has logged in before.
pub(crate) fn device(required: &Required, value: &str, seconds: i64) -> String {
    let secure = if required.plain_http { "" } else { "; Secure" };
    format!("{}-device={value}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Strict{secure}", name(required))
}

fn written(required: &Required, token: &str, seconds: u64) -> String {
    let secure = if required.plain_http { "" } else { "; Secure" };
    format!("{}={token}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax{secure}", name(required))
}

/// The session's token in the cookie, if there is one.
pub(crate) fn get<'h>(required: &Required, headers: &'h HeaderMap) -> Option<&'h str> {
    of_name(headers, name(required))
}

/// What a browser is known by, if it is.
pub(crate) fn get_device<'h>(required: &Required, headers: &'h HeaderMap) -> Option<&'h str> {
    of_name(headers, &format!("{}-device", name(required)))
}

fn of_name<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, token)| token)
}

/// Whether a page of another site has the browser send this: then a cookie proves nothing about who wants it.
///
/// Browsers say so by `Sec-Fetch-Site`, older ones by `Origin`. What says neither is no browser, or a request that no
/// page of another site can cause.
pub(crate) fn is_forged(parts: &Parts) -> bool {
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return false;
    }
    if let Some(site) = parts.headers.get("sec-fetch-site") {
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = parts.headers.get(header::ORIGIN) else { return false };
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let theirs = origin.as_ref().and_then(Uri::authority).map(Authority::as_str);
    let ours = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let ours = ours.or_else(|| parts.uri.authority().map(Authority::as_str));
    match (theirs, ours) {
        (Some(theirs), Some(ours)) => !theirs.eq_ignore_ascii_case(ours),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn forged(method: Method, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().method(method).uri("/api/v1/users").header("host", "farm.example:8000");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        is_forged(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn browsers_tell_what_another_site_has_caused() {
        for (header, value, expected) in [
            ("sec-fetch-site", "same-origin", false),
            ("sec-fetch-site", "none", false),
            ("sec-fetch-site", "same-site", true),
            ("sec-fetch-site", "cross-site", true),
            ("origin", "http://farm.example:8000", false),
            ("origin", "https://FARM.example:8000", false),
            ("origin", "http://farm.example", true),
            ("origin", "http://evil.example", true),
            ("origin", "http://farm.example:8000.evil.example", true),
            ("origin", "null", true),
            ("origin", "", true),
        ] {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                assert_eq!(forged(method, &[(header, value)]), expected, "{header}: {value}");
            }
            assert!(!forged(Method::GET, &[(header, value)]), "reading changes nothing");
        }
        assert!(!forged(Method::POST, &[]), "no browser");
        let both = [("sec-fetch-site", "cross-site"), ("origin", "http://farm.example:8000")];
        assert!(forged(Method::POST, &both));
    }
}

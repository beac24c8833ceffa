//! The cookie by which a browser is known that has logged in before: it opens nothing, but guesses of others do not hold
//! it up.

use axum::http::HeaderMap;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use botfarm_core::{Error, Login, Result, Timestamp};
use hmac::Mac as _;

use crate::server::auth::{
    Required,
    login::{cookie, session::SessionKey},
};

/// For how many seconds it is good: a browser that is used now and then keeps being known.
const SECONDS: i64 = 180 * 24 * 3_600;

/// Which browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct DeviceId([u8; 16]);

impl DeviceId {
    pub(crate) fn random() -> Result<Self> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(Error::backend)?;
        Ok(Self(id))
    }

    /// `Set-Cookie` that makes the browser known as one of this operator's.
    pub(crate) fn set(self, required: &Required, login: &Login, now: Timestamp) -> String {
        let (id, ends_at) = (URL_SAFE_NO_PAD.encode(self.0), now.timestamp() + SECONDS);
        let signature = signature(&required.key, &id, ends_at, login);
        cookie::device(required, &format!("{id}.{ends_at}.{signature}"), SECONDS)
    }

    /// The browser that sends this, if it is known as one of this operator's.
    pub(crate) fn of(required: &Required, headers: &HeaderMap, login: &Login, now: Timestamp) -> Option<Self> {
        let mut parts = cookie::get_device(required, headers)?.splitn(3, '.');
        let (id, ends_at, given) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        let given = URL_SAFE_NO_PAD.decode(given).ok()?;
        required.key.mac(&signed(id, ends_at, login)).verify_slice(&given).ok()?;
        let id = URL_SAFE_NO_PAD.decode(id).ok()?.try_into().ok()?;
        (ends_at > now.timestamp()).then_some(Self(id))
    }
}

fn signature(key: &SessionKey, id: &str, ends_at: i64, login: &Login) -> String {
    URL_SAFE_NO_PAD.encode(key.mac(&signed(id, ends_at, login)).finalize().into_bytes())
}

/// Begins with what no session begins with, which the same key signs.
fn signed(id: &str, ends_at: i64, login: &Login) -> String {
    format!("device {id} {ends_at} {}", login.folded())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::http::header;
    use botfarm_memory::MemoryFarm;
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_browser_is_known_as_its_operators_for_half_a_year() {
        let required = Required::new(Arc::new(MemoryFarm::new()), SessionKey::random());
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let [ann, tom]: [Login; 2] = ["ann", "tom"].map(|login| login.parse().unwrap());
        let device = DeviceId::random().unwrap();
        let set = device.set(&required, &ann, now);
        let (cookie, rest) = set.split_once("; ").unwrap();
        assert_eq!(rest, "Max-Age=15552000; Path=/; HttpOnly; SameSite=Strict; Secure");
        let of = |cookie: &str, login: &Login, required: &Required, after: TimeDelta| {
            let headers = HeaderMap::from_iter([(header::COOKIE, cookie.parse().unwrap())]);
            DeviceId::of(required, &headers, login, now + after)
        };
        assert_eq!(of(cookie, &ann, &required, TimeDelta::days(179)), Some(device));
        assert_eq!(of(cookie, &"ANN".parse().unwrap(), &required, TimeDelta::zero()), Some(device));
        assert_eq!(of(cookie, &ann, &required, TimeDelta::days(180)), None, "too old");
        assert_eq!(of(cookie, &tom, &required, TimeDelta::zero()), None, "of another operator");
        let other = Required { key: SessionKey::random(), ..required.clone() };
        assert_eq!(of(cookie, &ann, &other, TimeDelta::zero()), None, "signed by another");
        let (id, later) = (cookie.split('.').next().unwrap(), now.timestamp() + 2 * SECONDS);
        let forged = format!("{id}.{later}.{}", cookie.rsplit('.').next().unwrap());
        assert_eq!(of(&forged, &ann, &required, TimeDelta::zero()), None, "made to last");
    }
}

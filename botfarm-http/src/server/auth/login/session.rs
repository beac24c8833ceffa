//! Sessions: JSON web tokens (RFC 7519) of one kind.
//!
//! There is one algorithm, HS256, and one header: no token gets to say how it wants to be checked.

use std::{fmt, sync::Arc};

use botfarm_core::{
    Result, Secret, Timestamp,
    operators::{Operator, OperatorId, Operators, SessionId},
};
use chrono::DateTime;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::jwt;

/// Signs sessions: 32 bytes. Redacted in `Debug`, and wiped from memory with its last clone.
///
/// The crate `jsonwebtoken` has its algorithms for the whole process: the first session that is signed or looked at brings
/// HS256 in, unless an application has installed a provider of its own before.
#[derive(Clone)]
pub struct SessionKey(Arc<Zeroizing<[u8; 32]>>);

impl SessionKey {
    /// One that no other process has: sessions end with the process.
    ///
    /// # Panics
    /// When the operating system has no randomness to give.
    #[must_use]
    pub fn random() -> Self {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key).expect("the operating system gives randomness");
        Self(Arc::new(key))
    }

    pub(crate) fn mac(&self, signed: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&**self.0).expect("HMAC takes keys of any length");
        mac.update(signed.as_bytes());
        mac
    }

    /// The token of a session that begins at `now`.
    pub(crate) fn sign(&self, session: Session, now: Timestamp) -> Secret {
        let claims = Claims {
            sub: session.operator.0,
            jti: session.id.0,
            iat: now.timestamp(),
            exp: session.ends_at.timestamp(),
            generation: session.generation,
        };
        jwt::install();
        let token = jsonwebtoken::encode(&header(), &claims, &EncodingKey::from_secret(&**self.0));
        let token = token.expect("numbers and UUIDs have no way not to serialise, and HMAC takes keys of any length");
        Secret::try_from(token).expect("a token has some 250 characters")
    }

    /// The session that `token` stands for, if it is one of ours and not over at `now`. Whether it was ended before,
    /// the farm knows.
    pub(crate) fn verify(&self, token: &str, now: Timestamp) -> Option<Session> {
        jwt::install();
        let mut rules = Validation::new(Algorithm::HS256);
        // Which claims there are, and which time it is, is looked at here: to the second, with no leeway.
        rules.validate_exp = false;
        rules.required_spec_claims.clear();
        let token = jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_secret(&**self.0), &rules).ok()?;
        let claims = Some(token.claims).filter(|_| token.header == header())?;
        let ends_at = DateTime::from_timestamp(claims.exp, 0).filter(|ends_at| *ends_at > now)?;
        let Claims { sub, jti, generation, .. } = claims;
        Some(Session { id: SessionId(jti), operator: OperatorId(sub), generation, ends_at })
    }
}

fn header() -> Header {
    Header::new(Algorithm::HS256)
}

impl From<[u8; 32]> for SessionKey {
    fn from(key: [u8; 32]) -> Self {
        Self(Arc::new(Zeroizing::new(key)))
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(***)")
    }
}

/// A login of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) operator: OperatorId,
    /// The operator's when it began: in a later one it is over.
    pub(crate) generation: i64,
    /// In whole seconds.
    pub(crate) ends_at: Timestamp,
}

impl Session {
    /// The operator that it stands for, unless it was ended, alone or with all of the operator's, or the operator has gone.
    pub(crate) async fn stands(self, operators: &dyn Operators) -> Result<Option<Operator>> {
        let operator = operators.session(self.id, self.operator).await?;
        Ok(operator.filter(|operator| operator.generation == self.generation))
    }
}

/// All of them are required.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: Uuid,
    jti: Uuid,
    iat: i64,
    exp: i64,
    #[serde(rename = "gen")]
    generation: i64,
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use chrono::TimeDelta;
    use serde_json::{Value, json};

    use super::*;

    fn now() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }

    fn session() -> Session {
        Session {
            id: SessionId(Uuid::new_v4()),
            operator: OperatorId(Uuid::new_v4()),
            generation: 3,
            ends_at: now() + TimeDelta::hours(8),
        }
    }

    fn part(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    /// A token with our signature, whatever it says.
    fn signed(key: &SessionKey, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(key.mac(&signed).finalize().into_bytes());
        format!("{signed}.{signature}")
    }

    fn header() -> Value {
        json!({"alg": "HS256", "typ": "JWT"})
    }

    fn claims(session: Session) -> Value {
        json!({
            "sub": session.operator, "jti": session.id, "iat": now().timestamp(), "exp": session.ends_at.timestamp(),
            "gen": session.generation,
        })
    }

    #[test]
    fn token_stands_for_its_session_until_it_is_over() {
        let (key, session) = (SessionKey::random(), session());
        let token = key.sign(session, now());
        let token = token.expose();
        assert_eq!(key.verify(token, now()), Some(session));
        assert_eq!(key.verify(token, session.ends_at - TimeDelta::milliseconds(1)), Some(session));
        assert_eq!(key.verify(token, session.ends_at), None);
        assert_eq!(key.verify(&signed(&key, &header(), &claims(session)), now()), Some(session));
        assert_eq!(SessionKey::random().verify(token, now()), None);
    }

    /// Computed with Python's `hmac` and `hashlib`.
    #[test]
    fn others_compute_the_same_signature() {
        let key = SessionKey::from(*b"0123456789abcdef0123456789abcdef");
        let id = "00000000-0000-4000-8000-000000000001".parse().unwrap();
        let session = Session { id: SessionId(id), operator: OperatorId(id), generation: 3, ends_at: now() };
        let token = key.sign(session, now());
        assert_eq!(
            token.expose(),
            concat!(
                "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.",
                "eyJzdWIiOiIwMDAwMDAwMC0wMDAwLTQwMDAtODAwMC0wMDAwMDAwMDAwMDEiLCJqdGkiOiIwMDAwMDAwMC0wMDAwLTQwMDAtODAw",
                "MC0wMDAwMDAwMDAwMDEiLCJpYXQiOjE3NjczMjMwNDUsImV4cCI6MTc2NzMyMzA0NSwiZ2VuIjozfQ.",
                "0vNFeANybEdHDAl9EUJ_4O3_BOOa6tCJu81nUR7kTP8"
            )
        );
    }

    #[test]
    fn no_token_says_how_it_is_checked() {
        let (key, session) = (SessionKey::random(), session());
        for other in [
            json!({"alg": "none", "typ": "JWT"}),
            json!({"alg": "None"}),
            json!({"alg": "HS384", "typ": "JWT"}),
            json!({"alg": "RS256", "typ": "JWT"}),
            json!({"alg": "HS256"}),
            json!({"typ": "JWT"}),
            json!({}),
        ] {
            let token = signed(&key, &other, &claims(session));
            assert_eq!(key.verify(&token, now()), None, "{other}");
            let (unsigned, _) = token.rsplit_once('.').unwrap();
            for token in [format!("{unsigned}."), unsigned.to_owned()] {
                assert_eq!(key.verify(&token, now()), None, "{other}");
            }
        }
    }

    #[test]
    fn every_claim_is_required() {
        let key = SessionKey::random();
        for claim in ["sub", "jti", "iat", "exp", "gen"] {
            for other in [None, Some(json!("x")), Some(json!(-1e300)), Some(Value::Null)] {
                let mut claims = claims(session());
                claims.as_object_mut().unwrap().remove(claim);
                if let Some(other) = other {
                    claims[claim] = other;
                }
                assert_eq!(key.verify(&signed(&key, &header(), &claims), now()), None, "{claims}");
            }
        }
        let mut claims = claims(session());
        claims["exp"] = json!(i64::MAX);
        assert_eq!(key.verify(&signed(&key, &header(), &claims), now()), None, "{claims}");
    }

    #[test]
    fn changed_in_any_character_it_is_no_token() {
        let (key, session) = (SessionKey::random(), session());
        let token = key.sign(session, now());
        let token = token.expose();
        for place in 0..token.len() {
            let (head, tail) = token.split_at(place);
            let other = if tail.starts_with('A') { 'B' } else { 'A' };
            let changed = format!("{head}{other}{}", &tail[1..]);
            assert_eq!(key.verify(&changed, now()), None, "{place}");
            assert_eq!(key.verify(&format!("{head}{}", &tail[1..]), now()), None, "{place}");
        }
        for nonsense in ["", ".", "..", "...", "é.é.é", "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9"] {
            assert_eq!(key.verify(nonsense, now()), None, "{nonsense}");
        }
    }
}

//! Makes an idempotency key a lease id.

use std::fmt;

use botfarm_core::{Error, Fingerprint, LeaseId, LeaseRequest, Origin, Result, Selector};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Keeps lease ids that are made from idempotency keys from being guessed. Redacted in `Debug`.
#[derive(Clone)]
pub struct ReplaySecret([u8; 32]);

impl ReplaySecret {
    /// One that no other process has.
    #[must_use]
    pub fn random() -> Self {
        // Each UUID brings 122 bits of the system's randomness.
        let mut hash = Sha256::new();
        hash.update(Uuid::new_v4());
        hash.update(Uuid::new_v4());
        Self(hash.finalize().into())
    }

    /// The id of the lease that `caller` asks for under `key`: the same on every replica that has the secret, and
    /// not to be guessed without it.
    pub(crate) fn lease_id(&self, caller: &str, key: &str) -> LeaseId {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(caller.len().to_le_bytes());
        hash.update(caller);
        hash.update(key);
        let digest: [u8; 32] = hash.finalize().into();
        let (id, _) = digest.split_at(16);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(id);
        LeaseId::from(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }
}

impl From<[u8; 32]> for ReplaySecret {
    fn from(secret: [u8; 32]) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for ReplaySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplaySecret(***)")
    }
}

/// A digest of all that is asked for, but not of how long to wait: who asks again may wait longer.
pub(crate) fn fingerprint(request: &LeaseRequest) -> Result<Fingerprint> {
    let LeaseRequest { id: _, selectors, terms, ttl, wait: _, sticky, avoid, fingerprint: _ } = request;
    let selectors = selectors.iter().map(|selector| {
        let Selector { alias, id, login, project, env, domain, labels, condition } = selector;
        (alias, id, login, project, env, domain, labels, condition)
    });
    // Not who was found to ask, and from where: that is another with each try.
    let mut terms = (**terms).clone();
    (terms.owner, terms.origin) = (None, Origin::default());
    let canonical = (selectors.collect::<Vec<_>>(), terms, ttl, sticky, avoid);
    let canonical = serde_json::to_vec(&canonical).map_err(Error::backend)?;
    Ok(Fingerprint(Sha256::digest(canonical).into()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use botfarm_core::{Env, Selector};

    use super::*;

    #[test]
    fn replicas_that_share_the_secret_agree_and_nobody_else_does() {
        let (secret, twin, other) = ([1; 32].into(), ReplaySecret::from([1; 32]), ReplaySecret::random());
        let id = ReplaySecret::lease_id(&secret, "ada", "build 7");
        assert_eq!(twin.lease_id("ada", "build 7"), id);
        assert_ne!(twin.lease_id("ada", "build 8"), id);
        assert_ne!(twin.lease_id("adab", "uild 7"), id);
        assert_ne!(other.lease_id("ada", "build 7"), id);
        assert_ne!(ReplaySecret::random().lease_id("ada", "build 7"), other.lease_id("ada", "build 7"));
    }

    #[test]
    fn waiting_longer_is_the_same_request_and_wanting_another_bot_is_not() {
        let request = LeaseRequest::new("ada".parse().unwrap(), Selector::any().env(Env::STAGE));
        let same = request.clone().wait(Duration::from_secs(7)).id(LeaseId::new());
        assert_eq!(fingerprint(&same).unwrap(), fingerprint(&request).unwrap());
        let other = LeaseRequest { selectors: vec![Selector::any().env(Env::PROD)], ..request.clone() };
        assert_ne!(fingerprint(&other).unwrap(), fingerprint(&request).unwrap());
        assert_ne!(fingerprint(&request.clone().ttl(Duration::from_secs(9))).unwrap(), fingerprint(&request).unwrap());
    }
}

//! What is kept from those who read or write the file: passwords, ids of leases, tokens, and who may do what.

use botfarm_core::{
    BotId, Keyring, LeaseId, Secret,
    operators::{Operator, PasswordHash, Token, TokenDigest},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rusqlite::{Connection, OptionalExtension as _, params};
use sha2::Sha256;
use uuid::Uuid;

use crate::error::Error;

const CHECK: &str = "key check";
const PEPPER: &str = "pepper";

/// The farm's keys, and a secret of the file's own. The secret is sealed like a password, so that it stays what it is
/// when the farm gets another key.
#[derive(Clone)]
pub(crate) struct Seal {
    keyring: Keyring,
    pepper: Secret,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Seal").field(&self.keyring).finish()
    }
}

impl Seal {
    /// That of a new file.
    pub(crate) fn make(connection: &Connection, keyring: &Keyring) -> Result<(), Error> {
        let mut random = [0; 32];
        getrandom::fill(&mut random)
            .map_err(|error| Error::Damage(format!("the system has no randomness: {error}")))?;
        let words = random.as_chunks().0.iter().map(|word| u64::from_be_bytes(*word).to_string());
        let pepper = Secret::try_from(words.collect::<Vec<_>>().join(" "))?;
        put(connection, CHECK, &keyring.seal_check())?;
        put(connection, PEPPER, &keyring.seal(&pepper, nobody()))
    }

    /// That of a file that is there, if the key is the right one.
    pub(crate) fn open(connection: &Connection, keyring: &Keyring, path: &std::path::Path) -> Result<Self, Error> {
        let wrong = |source| Error::WrongKey { path: path.to_owned(), source };
        keyring.open_check(&get(connection, CHECK)?).map_err(wrong)?;
        let pepper = keyring.open(&get(connection, PEPPER)?, nobody()).map_err(wrong)?;
        Ok(Self { keyring: keyring.clone(), pepper })
    }

    /// Seals anew what is not sealed under the current key, but bots.
    pub(crate) fn renew(&self, connection: &Connection) -> Result<(), Error> {
        put(connection, CHECK, &self.keyring.seal_check())?;
        put(connection, PEPPER, &self.keyring.seal(&self.pepper, nobody()))
    }

    pub(crate) fn is_current(&self, sealed: &[u8]) -> bool {
        self.keyring.is_current(sealed)
    }

    pub(crate) fn password(&self, password: &Secret, bot: BotId) -> Vec<u8> {
        self.keyring.seal(password, bot)
    }

    pub(crate) fn open_password(&self, sealed: &[u8], bot: BotId) -> Result<Secret, Error> {
        self.keyring.open(sealed, bot).map_err(|error| Error::Damage(format!("bot {bot}: {error}")))
    }

    /// What the farm calls a lease, and keeps. Whoever reads it there cannot renew or release with it.
    pub(crate) fn lease(&self, id: LeaseId) -> LeaseId {
        let mac = self.mac("lease", &[id.as_uuid().as_bytes()]);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&mac[..16]);
        Uuid::from_bytes(bytes).into()
    }

    /// What is kept of a token's digest.
    pub(crate) fn token(&self, digest: TokenDigest) -> TokenDigest {
        TokenDigest(self.mac("token", &[&digest.0]))
    }

    /// Over the row of an operator, so that whoever writes into the file makes no admin.
    pub(crate) fn operator_row(&self, operator: &Operator, password: &PasswordHash) -> [u8; 32] {
        self.mac(
            "operator row",
            &[
                operator.id.0.as_bytes(),
                operator.login.as_str().as_bytes(),
                operator.role.as_str().as_bytes(),
                password.expose().as_bytes(),
                &operator.created_at.timestamp_micros().to_le_bytes(),
                &operator.generation.to_le_bytes(),
            ],
        )
    }

    /// Over the row of a token, but when it was last used.
    pub(crate) fn token_row(&self, token: &Token, digest: TokenDigest) -> [u8; 32] {
        let project = token.scope.project.as_deref().unwrap_or_default();
        let env = token.scope.env.as_deref().unwrap_or_default();
        let expires_at = token.expires_at.map(|at| at.timestamp_micros()).unwrap_or_default();
        self.mac(
            "token row",
            &[
                token.id.0.as_bytes(),
                token.name.as_str().as_bytes(),
                token.role.as_str().as_bytes(),
                project.as_bytes(),
                env.as_bytes(),
                &digest.0,
                &token.created_at.timestamp_micros().to_le_bytes(),
                &expires_at.to_le_bytes(),
            ],
        )
    }

    /// HMAC-SHA256 over a purpose and parts, each with its length before it, so that no two lists of parts look alike.
    fn mac(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.pepper.expose().as_bytes()).expect("HMAC takes keys of any length");
        for part in [purpose.as_bytes()].iter().chain(parts) {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// No bot's id: for what is sealed and is no bot's.
fn nobody() -> BotId {
    Uuid::nil().into()
}

fn put(connection: &Connection, name: &str, value: &[u8]) -> Result<(), Error> {
    connection.execute(
        "insert into settings (name, value)
         values (?1, ?2)
         on conflict (name) do update set value = excluded.value",
        params![name, value],
    )?;
    Ok(())
}

fn get(connection: &Connection, name: &str) -> Result<Vec<u8>, Error> {
    let found =
        connection.query_row("select value from settings where name = ?1", [name], |row| row.get(0)).optional()?;
    found.ok_or_else(|| Error::Damage(format!("its {name} is missing")))
}

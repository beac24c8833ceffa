//! What is kept from those who read or write the file: passwords, ids of leases, tokens, and who may do what.

use botfarm_core::{Bot, KeyError, Keyring, Pepper, SealedFor, Secret};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::error::Error;

const CHECK: &str = "key check";
/// There while passwords are sealed anew: some are under the former key then, some under the next, and it takes both.
const NEXT_CHECK: &str = "next key check";
const PEPPER: &str = "pepper";

/// The farm's keys, and a secret of the file's own.
#[derive(Clone)]
pub(crate) struct Seal {
    keyring: Keyring,
    pub(crate) pepper: Pepper,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Seal").field(&self.keyring).finish()
    }
}

impl Seal {
    /// That of a new file.
    pub(crate) fn make(connection: &Connection, keyring: &Keyring) -> Result<(), Error> {
        put(connection, CHECK, &keyring.seal_check())?;
        put(connection, PEPPER, &Pepper::generate().seal(keyring))
    }

    /// That of a file that is there, if the key is the right one.
    pub(crate) fn open(connection: &Connection, keyring: &Keyring, path: &std::path::Path) -> Result<Self, Error> {
        let wrong = |source| Error::WrongKey { path: path.to_owned(), source };
        keyring.open_check(&get(connection, CHECK)?).map_err(wrong)?;
        if let Some(next) = find(connection, NEXT_CHECK)? {
            keyring.open_check(&next).map_err(wrong)?;
        }
        let pepper = Pepper::open(&get(connection, PEPPER)?, keyring).map_err(wrong)?;
        Ok(Self { keyring: keyring.clone(), pepper })
    }

    /// From now on it takes the current key, too, to open the file.
    pub(crate) fn begin_rekey(&self, connection: &Connection) -> Result<(), Error> {
        put(connection, NEXT_CHECK, &self.keyring.seal_check())
    }

    /// Seals anew what is not sealed under the current key, but bots. From now on it takes no other.
    pub(crate) fn end_rekey(&self, connection: &Connection) -> Result<(), Error> {
        connection.execute("delete from settings where name = ?1", [NEXT_CHECK])?;
        put(connection, CHECK, &self.keyring.seal_check())?;
        put(connection, PEPPER, &self.pepper.seal(&self.keyring))
    }

    pub(crate) fn is_current(&self, sealed: &[u8]) -> bool {
        self.keyring.is_current(sealed)
    }

    pub(crate) fn password(&self, password: &Secret, of: &SealedFor<'_>) -> Vec<u8> {
        self.keyring.seal(password, of)
    }

    pub(crate) fn open_password(&self, sealed: &[u8], of: &SealedFor<'_>) -> Result<Secret, KeyError> {
        self.keyring.open(sealed, of)
    }
}

/// What the password of a bot is sealed for.
pub(crate) fn of(bot: &Bot, generation: i64) -> SealedFor<'_> {
    let Bot { id, env, login, project, .. } = bot;
    SealedFor { bot: *id, env: env.as_str(), login: login.as_str(), project: project.as_str(), generation }
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

fn find(connection: &Connection, name: &str) -> Result<Option<Vec<u8>>, Error> {
    Ok(connection.query_row("select value from settings where name = ?1", [name], |row| row.get(0)).optional()?)
}

fn get(connection: &Connection, name: &str) -> Result<Vec<u8>, Error> {
    find(connection, name)?.ok_or_else(|| Error::Damage(format!("its {name} is missing")))
}

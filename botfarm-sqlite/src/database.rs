//! The SQLite database: made, opened, checked.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use botfarm_core::Keyring;
use rusqlite::{Connection, OpenFlags};

use crate::{
    error::Error,
    file::{self, beside, private},
    seal::Seal,
};

/// `BotF`: by this a database is known to be a farm's.
const APPLICATION: i64 = 0x426f_7446;
/// The layout of `schema.sql`.
const LAYOUT: i64 = 1;

/// Opens the database of a farm, which is made when it is not there.
pub(crate) fn open(path: &Path, keyring: &Keyring) -> Result<(Connection, Seal), Error> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            return Err(Error::Foreign { path: path.to_owned(), why: "it is no regular file" });
        }
        // A farm gets its name when it is whole: what is empty has lost everything.
        Ok(found) if found.len() == 0 => {
            return Err(Error::Damaged { path: path.to_owned(), why: "it is empty, and was not left so".to_owned() });
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => make(path, keyring)?,
        Err(source) => return Err(Error::File { path: path.to_owned(), what: "read", source }),
    }
    for ending in ["", "-wal", "-shm"] {
        file::make_private(&beside(path, ending))?;
    }
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|error| error.at(path))?;
    check_what_is_read(&connection, path).map_err(|error| error.at(path))?;
    let seal = Seal::open(&connection, keyring, path).map_err(|error| error.at(path))?;
    Ok((connection, seal))
}

/// Makes the database of a farm under another name: it gets its own when it is whole and on the disk.
fn make(path: &Path, keyring: &Keyring) -> Result<(), Error> {
    if beside(path, "-wal").exists() {
        let why = "it is not there, but the file beside it that ends with -wal is".to_owned();
        return Err(Error::Damaged { path: path.to_owned(), why });
    }
    let aside = Aside::of(path)?;
    {
        let mut connection = connect(&aside.0, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let transaction = connection.transaction()?;
        transaction.execute_batch(include_str!("schema.sql"))?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", LAYOUT)?;
        Seal::make(&transaction, keyring)?;
        transaction.commit()?;
        connection.close().map_err(|(_, error)| error)?;
    }
    aside.become_file(path)
}

/// A file that is not yet what it is to be, and is gone when it never becomes that.
pub(crate) struct Aside(pub(crate) PathBuf);

impl Aside {
    /// A new, empty one.
    pub(crate) fn of(path: &Path) -> Result<Self, Error> {
        let aside = Self(beside(path, ".new"));
        for ending in ["", "-wal", "-shm", "-journal"] {
            // Left by a process that was killed.
            let _ = fs::remove_file(beside(&aside.0, ending));
        }
        private().write(true).create_new(true).open(&aside.0).map_err(Error::file(&aside.0, "made"))?;
        Ok(aside)
    }

    /// Gives it its name, whole and for good.
    pub(crate) fn become_file(self, path: &Path) -> Result<(), Error> {
        fs::File::open(&self.0).and_then(|file| file.sync_all()).map_err(Error::file(&self.0, "written"))?;
        fs::rename(&self.0, path).map_err(Error::file(path, "made"))?;
        file::sync_folder(path)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A connection whose commits are on the disk when they come back.
pub(crate) fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, Error> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    if flags.contains(OpenFlags::SQLITE_OPEN_READ_WRITE) {
        connection.pragma_update(None, "journal_mode", "wal")?;
    }
    for (name, value) in [
        ("synchronous", "full"),
        // What macOS calls writing to the disk otherwise is not.
        ("fullfsync", "on"),
        ("checkpoint_fullfsync", "on"),
        ("cell_size_check", "on"),
        ("trusted_schema", "off"),
        ("temp_store", "memory"),
    ] {
        connection.pragma_update(None, name, value)?;
    }
    Ok(connection)
}

/// Refuses what is not a farm's, or of a later version, or damaged anywhere. Reads all of it.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<(), Error> {
    check_kind(connection, path)?;
    verdict(connection, None)
}

/// The same, but for the pages of the histories: there may be a hundred times as many of them as of all that a farm goes
/// on with. They are for [`check_histories`], later.
fn check_what_is_read(connection: &Connection, path: &Path) -> Result<(), Error> {
    check_kind(connection, path)?;
    check_length(connection, path)?;
    let tables = connection
        .prepare("select name from sqlite_schema where type = 'table' and name not in ('history', 'audit')")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<Vec<String>, _>>()?;
    tables.iter().try_for_each(|table| verdict(connection, Some(table)))
}

/// Refuses a database of which the pages of the histories are damaged. Reads all of them.
pub(crate) fn check_histories(connection: &Connection) -> Result<(), Error> {
    verdict(connection, Some("history"))?;
    verdict(connection, Some("audit"))
}

fn check_kind(connection: &Connection, path: &Path) -> Result<(), Error> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if number("application_id")? != APPLICATION {
        return Err(Error::Foreign { path: path.to_owned(), why: "it is a database of something else" });
    }
    let found = number("user_version")?;
    if found != LAYOUT {
        return Err(Error::Later { path: path.to_owned(), found, known: LAYOUT });
    }
    Ok(())
}

/// Refuses a file that has lost its end. With a log beside it, pages may be there alone.
fn check_length(connection: &Connection, path: &Path) -> Result<(), Error> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let expected = u64::try_from(number("page_count")?.saturating_mul(number("page_size")?)).unwrap_or_default();
    let length = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
    if length(&beside(path, "-wal")) == 0 && length(path) < expected {
        return Err(Error::Damage(format!("it has {} bytes in the place of {expected}", length(path))));
    }
    Ok(())
}

/// What SQLite finds of the order of a table, or of all that there is.
fn verdict(connection: &Connection, table: Option<&str>) -> Result<(), Error> {
    let read = |row: &rusqlite::Row<'_>| row.get(0);
    let verdict: String = match table {
        Some(table) => connection.query_row("select quick_check from pragma_quick_check(?1)", [table], read)?,
        None => connection.pragma_query_value(None, "quick_check", read)?,
    };
    if verdict == "ok" { Ok(()) } else { Err(Error::Damage(verdict)) }
}

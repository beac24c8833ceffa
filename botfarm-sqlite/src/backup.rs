//! A copy of a farm, made while it is in use.

use std::path::Path;

use rusqlite::OpenFlags;

use crate::{
    database::{Aside, check, connect},
    error::Error,
};

/// Copies one moment of a farm into a new file, whole and checked before it gets its name.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    if to.exists() {
        return Err(Error::Exists { path: to.to_owned() });
    }
    if let Err(source) = std::fs::metadata(from) {
        return Err(Error::File { path: from.to_owned(), what: "read", source });
    }
    let aside = Aside::of(to)?;
    let source = connect(from, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(|error| error.at(from))?;
    let copied = check(&source, from).and_then(|()| {
        // A path is a text to SQLite.
        let name = aside.0.to_str().ok_or_else(|| Error::Damage("the name of the copy is no UTF-8".to_owned()))?;
        source.execute("vacuum into ?1", [name])?;
        Ok(())
    });
    copied.map_err(|error| error.at(from))?;
    let copy = connect(&aside.0, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    check(&copy, &aside.0).map_err(|error| error.at(to))?;
    drop(copy);
    aside.become_file(to)
}

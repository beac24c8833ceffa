//! A data directory to copy, since `initdb` takes most of a second.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    process::Command,
};

use uuid::Uuid;

use crate::{account::Account, binaries::Binaries};

/// To be counted up when the options below change.
const LAYOUT: u32 = 1;
const OPTIONS: [&str; 6] =
    ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"];

/// Copies a fresh data directory to `destination`. Made once per version and user, and kept in the system's temporary
/// directory. Blocks: for 0.1 s, and at the first time for 1 s.
pub(super) fn copy_to(destination: &Path, binaries: &Binaries, account: Account) -> io::Result<()> {
    let cache = cache(account)?;
    let template = cache.join(format!("{}-{LAYOUT}", binaries.version()));
    // Of many test processes that start together, one makes it.
    let lock = File::create(cache.join("lock"))?;
    account.give(&cache.join("lock"))?;
    lock.lock()?;
    if !template.exists() {
        let new = cache.join(format!("new-{}", Uuid::new_v4().simple()));
        run(account.command(binaries.program("initdb")).args(OPTIONS).arg("-D").arg(&new).current_dir(&cache))?;
        fs::rename(&new, &template)?;
    }
    drop(lock);
    run(account.command("cp").arg("-R").arg(&template).arg(destination).current_dir(&cache))
}

/// A directory that belongs to the user and that nobody else may write to: others may have put one of that name into the
/// temporary directory, too.
fn cache(account: Account) -> io::Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("botfarm-testing-{}", account.uid()));
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let metadata = fs::symlink_metadata(&path)?;
    // Another process may have made it just now, and be about to give it away.
    let ours = account.trusts(metadata.uid());
    if !metadata.is_dir() || !ours || metadata.mode() & 0o077 != 0 {
        return Err(io::Error::other(format!("{} belongs to somebody else; remove it", path.display())));
    }
    account.give(&path)?;
    Ok(path)
}

/// Runs a program to its end.
///
/// # Errors
/// With the last of what it said, when it fails.
pub(super) fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let program = command.get_program().to_string_lossy();
    Err(io::Error::other(format!("{program} failed: {}", said.trim().lines().next_back().unwrap_or("it says nothing"))))
}

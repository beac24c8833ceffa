//! The machine's own PostgreSQL.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The oldest major version that botfarm supports.
pub(super) const OLDEST: u32 = 14;

/// An installed PostgreSQL: the directory with `postgres`, `initdb` and `pg_basebackup`.
#[derive(Debug)]
pub(super) struct Binaries {
    directory: PathBuf,
    version: String,
}

impl Binaries {
    /// The first on `PATH`, else the newest in one of the usual places, else the one that `pg_config` knows.
    ///
    /// # Errors
    /// Says what was found instead.
    pub(super) fn find() -> Result<&'static Self, &'static str> {
        static BINARIES: OnceLock<Result<Binaries, String>> = OnceLock::new();
        BINARIES.get_or_init(Self::search).as_ref().map_err(String::as_str)
    }

    fn search() -> Result<Self, String> {
        let mut too_old = None;
        for directory in on_path("postgres").into_iter().chain(usual_places()).chain(of_pg_config()) {
            let Some(version) = version(&directory) else { continue };
            match major(&version) {
                Some(major) if major >= OLDEST => return Ok(Self { directory, version }),
                _ => too_old = Some(format!("{version} in {} is too old", directory.display())),
            }
        }
        Err(too_old.unwrap_or_else(|| "there are no server binaries".into()))
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Such as `15.18`.
    pub(super) fn version(&self) -> &str {
        &self.version
    }
}

/// The directories on `PATH` that have `program`, by their real name: a link to `postgres` alone is of no use.
fn on_path(program: &str) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .filter_map(|directory| fs::canonicalize(directory.join(program)).ok()?.parent().map(Path::to_owned))
        .collect()
}

/// Where packages put the servers that they do not put on `PATH`; the newest first.
fn usual_places() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (parent, prefix, suffix) in [
        ("/usr/lib/postgresql", "", "bin"),
        ("/usr", "pgsql-", "bin"),
        ("/opt/homebrew/opt", "postgresql@", "bin"),
        ("/usr/local/opt", "postgresql@", "bin"),
    ] {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse::<u32>().ok());
            found.extend(number.map(|number| (number, entry.path().join(suffix))));
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, directory)| directory).collect()
}

fn of_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}

/// The version of a directory that has all that it takes.
fn version(directory: &Path) -> Option<String> {
    if !["initdb", "pg_basebackup"].iter().all(|name| directory.join(name).exists()) {
        return None;
    }
    let output = output(Command::new(directory.join("postgres")).arg("--version")).ok()?;
    // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
    output.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned)
}

/// The 15 of `15.18`, `15beta1` or `15devel`.
fn major(version: &str) -> Option<u32> {
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// What a program prints.
pub(super) fn output(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_every_kind_are_understood() {
        assert_eq!(["15.18", "9.6.24", "18beta2", "17devel"].map(major), [Some(15), Some(9), Some(18), Some(17)]);
        assert_eq!(major("devel"), None);
    }
}

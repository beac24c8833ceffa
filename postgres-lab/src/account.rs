//! Whom the servers run as.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use uuid::Uuid;

use crate::binaries::output;

/// Whom the servers run as. PostgreSQL and pgbouncer refuse to run as root; then it is `postgres`, or else `nobody`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account {
    uid: u32,
    /// The group to switch to, when we are root and have to switch.
    group: Option<u32>,
}

impl Account {
    pub(super) fn find() -> io::Result<Self> {
        static ACCOUNT: OnceLock<Account> = OnceLock::new();
        if let Some(account) = ACCOUNT.get() {
            return Ok(*account);
        }
        // Who we are, told by what we make: there is no safe call for it in std.
        let probe = new_directory(&std::env::temp_dir())?;
        let uid = fs::metadata(&probe)?.uid();
        fs::remove_dir(&probe)?;
        let account = if uid == 0 {
            let users = fs::read_to_string("/etc/passwd")?;
            ["postgres", "nobody"].into_iter().find_map(|name| user(&users, name)).ok_or_else(|| {
                io::Error::other("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
            })?
        } else {
            Self { uid, group: None }
        };
        Ok(*ACCOUNT.get_or_init(|| account))
    }

    pub(super) const fn uid(&self) -> u32 {
        self.uid
    }

    /// Whether what belongs to `owner` is the user's own, or ours, who may be root.
    pub(super) fn trusts(&self, owner: u32) -> bool {
        owner == self.uid || (owner == 0 && self.group.is_some())
    }

    /// `program`, to run as this user.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        for (name, _) in std::env::vars_os() {
            // What is set for psql would be taken by initdb and pg_basebackup, too.
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        if let Some(group) = self.group {
            command.uid(self.uid).gid(group);
        }
        command
    }

    /// Makes the file or directory this user's own.
    pub(super) fn give(&self, path: &Path) -> io::Result<()> {
        match self.group {
            Some(group) => chown(path, Some(self.uid), Some(group)),
            None => Ok(()),
        }
    }

    /// A new directory, which nobody else may look into.
    pub(super) fn new_directory(&self, storage: Storage) -> io::Result<PathBuf> {
        let parent = match storage {
            Storage::Memory => memory().unwrap_or_else(std::env::temp_dir),
            Storage::Disk => std::env::temp_dir(),
        };
        let path = new_directory(&parent)?;
        self.give(&path)?;
        Ok(path)
    }
}

/// Where the files of a server are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Storage {
    /// In memory if the machine has enough: copying a data directory takes a tenth of the time there.
    Memory,
    /// In the system's temporary directory.
    Disk,
}

/// The directory that Linux keeps in memory, if it has 1 GiB to spare. In a container it often has only 64 MiB.
fn memory() -> Option<PathBuf> {
    const DIRECTORY: &str = "/dev/shm";
    static MEMORY: OnceLock<Option<PathBuf>> = OnceLock::new();
    // Who sets TMPDIR wants it there.
    let enough = || {
        let said = output(Command::new("df").args(["-P", "-k", DIRECTORY])).ok()?;
        let kilobytes: u64 = said.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
        (std::env::var_os("TMPDIR").is_none() && kilobytes >= 1024 * 1024).then(|| DIRECTORY.into())
    };
    MEMORY.get_or_init(enough).clone()
}

fn new_directory(parent: &Path) -> io::Result<PathBuf> {
    // Short: the path of a socket in it has 107 bytes at most, and 103 on some systems.
    let path = parent.join(format!("botfarm-{:.12}", Uuid::new_v4().simple().to_string()));
    DirBuilder::new().mode(0o700).create(&path)?;
    Ok(path)
}

fn user(users: &str, name: &str) -> Option<Account> {
    let mut fields = users.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.split(':').skip(1);
    let uid = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    Some(Account { uid, group: Some(group) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_whole_name() {
        let users = "root:x:0:0:root:/root:/bin/sh\npostgres2:x:7:8::/:/bin/sh\npostgres:x:101:104:,,,:/:/bin/sh\n";
        let Account { uid, group } = user(users, "postgres").unwrap();
        assert_eq!((uid, group), (101, Some(104)));
        assert!(user(users, "nobody").is_none());
        assert!(user("postgres:x:many:1::/:", "postgres").is_none());
    }
}

//! Secrets that are taken out of the environment of a process that lives for long.
//!
//! What a process was started with stays in `/proc/PID/environ`, and in its memory, whatever becomes of its variables. So
//! it starts itself once more, without them: each secret is in a file in memory instead, whose name is in the variable
//! with `_FILE` after it, as with any other file. Once all have been read, these files are emptied.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::{self, Write as _},
    os::{
        fd::{AsRawFd as _, IntoRawFd as _, RawFd},
        unix::{ffi::OsStrExt as _, process::CommandExt as _},
    },
    process::Command,
};

use rustix::fs::{MemfdFlags, memfd_create};

/// What is taken out.
const NAMES: [&str; 5] =
    ["BOTFARM_ADMIN_PASSWORD", "BOTFARM_KEY", "BOTFARM_OLD_KEYS", "BOTFARM_OPERATOR_PASSWORD", "BOTFARM_TOKEN"];

/// What the files in memory are called, and how the system shows that.
const NAME: &str = "botfarm-secret";
const SHOWN: &str = "/memfd:botfarm-secret (deleted)";

/// Starts this program once more without the secrets that are in its environment. Does not come back where there are any,
/// unless the system does not let it: then they stay where they are.
pub(crate) fn hand_over() {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    // Of a variable that is set in both ways, the one who reads it tells.
    let found: Vec<_> = NAMES
        .into_iter()
        .filter(|name| set(&format!("{name}_FILE")).is_none())
        .filter_map(|name| Some((name, set(name)?)))
        .collect();
    if found.is_empty() {
        return;
    }
    let mut again = Command::new("/proc/self/exe");
    let mut own = env::args_os();
    again.arg0(own.next().unwrap_or_else(|| OsString::from("botfarm"))).args(own);
    for (name, value) in found {
        let Ok(file) = in_memory(value.as_bytes()) else { return };
        again.env_remove(name).env(format!("{name}_FILE"), path(file));
    }
    // Comes back only when it has failed.
    let _ = again.exec();
}

/// A file in memory that the next program of this process has, too.
fn in_memory(content: &[u8]) -> io::Result<RawFd> {
    let mut file = File::from(memfd_create(NAME, MemfdFlags::empty())?);
    file.write_all(content)?;
    // Where it can be opened by its number.
    fs::metadata(path(file.as_raw_fd()))?;
    Ok(file.into_raw_fd())
}

fn path(file: RawFd) -> String {
    format!("/proc/self/fd/{file}")
}

/// Empties the files in memory: what is in them has been read.
pub(crate) fn forget() {
    for name in NAMES {
        let Some(path) = env::var_os(format!("{name}_FILE")) else { continue };
        // Others' files stay as they are.
        if fs::read_link(&path).is_ok_and(|target| target.as_os_str() == SHOWN)
            && let Ok(file) = File::options().write(true).open(&path)
        {
            let _ = file.set_len(0);
        }
    }
}

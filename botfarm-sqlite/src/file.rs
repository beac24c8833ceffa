//! Files for the owner's eyes alone, and the lock that says who has them.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{ErrorKind, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use botfarm_core::{Keyring, MasterKey};

use crate::error::Error;

/// How long a process that is just ending has to let go of the farm.
const PATIENCE: Duration = Duration::from_secs(1);

/// The file beside the farm whose name ends so.
pub(crate) fn beside(farm: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(farm);
    name.push(ending);
    name.into()
}

/// Makes the folder that a file is to be in, for its owner alone. One that is there stays as it is.
pub(crate) fn make_folder(of: &Path) -> Result<(), Error> {
    let Some(folder) = of.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) else {
        return Ok(());
    };
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(Error::file(folder, "made"))
}

/// Options that make a file for its owner alone.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Takes the rights of everybody else to a file that is there.
pub(crate) fn make_private(path: &Path) -> Result<(), Error> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;

        let Ok(found) = fs::metadata(path) else { return Ok(()) };
        if found.permissions().mode() & 0o077 != 0 {
            let only_mine = fs::Permissions::from_mode(0o600);
            fs::set_permissions(path, only_mine).map_err(Error::file(path, "kept from others"))?;
        }
    }
    Ok(())
}

/// Makes what has been done to a folder last: a file in it that is new, or has another name.
pub(crate) fn sync_folder(of: &Path) -> Result<(), Error> {
    let folder = of.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    #[cfg(unix)]
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::file(folder, "written"))?;
    Ok(())
}

/// Says that this process has the farm, until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "it is locked for as long as it is open")] File);

impl Lock {
    pub(crate) fn take(farm: &Path) -> Result<Self, Error> {
        let path = beside(farm, ".lock");
        let mut options = private();
        let open = options.read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(Error::file(&path, "opened"))?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => {
                    let mut by = String::new();
                    let read = std::io::Read::by_ref(&mut file).take(200).read_to_string(&mut by);
                    if read.is_err() || by.trim().is_empty() {
                        "another process".clone_into(&mut by);
                    }
                    return Err(Error::InUse { path: farm.to_owned(), by: by.trim().to_owned() });
                }
                Err(TryLockError::Error(source)) => {
                    return Err(Error::File { path, what: "locked", source });
                }
            }
        }
        let who = format!("process {} since {}\n", std::process::id(), chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ"));
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(who.as_bytes()))
            .map_err(Error::file(&path, "written"))?;
        Ok(Self(file))
    }
}

/// The key beside a farm. It is made when there is neither a key nor a farm.
pub(crate) fn key_beside(farm: &Path) -> Result<Keyring, Error> {
    let path = beside(farm, ".key");
    match fs::read_to_string(&path) {
        Ok(text) => {
            make_private(&path)?;
            let key = text.parse::<MasterKey>().map_err(|source| Error::BadKeyFile { path, source })?;
            return Ok(Keyring::new(key, []));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(source) => return Err(Error::File { path, what: "read", source }),
    }
    if farm.exists() {
        return Err(Error::KeyGone { farm: farm.to_owned(), key: path });
    }
    let key = MasterKey::generate();
    // Written aside, so that no half of a key ever has its name.
    let aside = beside(&path, ".new");
    let write = || -> std::io::Result<()> {
        let mut file = private().write(true).create(true).truncate(true).open(&aside)?;
        file.write_all(key.expose_base64().as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&aside, &path)
    };
    write().map_err(Error::file(&path, "written"))?;
    sync_folder(&path)?;
    tracing::warn!(
        "made the key that passwords are sealed with, in {}; keep a copy: without it they are lost",
        path.display()
    );
    Ok(Keyring::new(key, []))
}

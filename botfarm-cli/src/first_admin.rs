//! The first admin of a farm: the one that the environment names, or one that is made.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use botfarm::operators::Operators;
use botfarm_core::{Error, Login, Secret, operators::Role};
use botfarm_http::auth::{hash_password, is_password};
use tracing::{info, warn};

use crate::failure::Failure;

pub(crate) const LOGIN: &str = "BOTFARM_ADMIN_LOGIN";
const PASSWORD: &str = "BOTFARM_ADMIN_PASSWORD";

/// What an admin is called that nobody has named.
const MADE: &str = "admin";

/// Sees to it that somebody can log in. To a farm in a file that has no operator an admin is added, whose password is
/// written beside the file: there is no default password. Into a database that others share nobody is put unasked, and
/// in memory there is no place to leave a password.
///
/// # Errors
/// When nobody could log in.
pub(crate) async fn ensure(operators: &dyn Operators, farm: Option<&Path>) -> Result<(), Failure> {
    of_environment(operators).await?;
    if !operators.operators().await?.is_empty() {
        return Ok(());
    }
    let Some(farm) = farm else {
        let hint = format!(
            "there is no operator, so nobody could log in; set {LOGIN} and {PASSWORD} (or {PASSWORD}_FILE), or, on a \
             database, run `botfarm operator add LOGIN --role admin`"
        );
        if operators.tokens().await?.is_empty() {
            return Err(Failure::usage(hint));
        }
        // Programs can call.
        warn!("{hint}");
        return Ok(());
    };
    let mut random = [0; 24];
    getrandom::fill(&mut random).map_err(|error| Failure::new(format!("the system has no randomness: {error}")))?;
    let password = Secret::try_from(BASE64_URL_SAFE_NO_PAD.encode(random))
        .map_err(|error| Failure::new(format!("a password {error}")))?;
    let login = Login::try_from(MADE).map_err(|error| Failure::new(format!("a login {error}")))?;
    let path = beside(farm, ".admin-password");
    // First the password, then the admin: whoever is stopped in between has no admin, and makes another the next time.
    write(&path, &password).map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    let hash = hash_password(&login, &password).map_err(|error| Failure::new(format!("a password {error}")))?;
    operators.add_operator(login, hash, Role::Admin).await?;
    warn!(
        "made the first admin, {MADE}, with a random password, which is in {}; log in with it, then delete the file",
        path.display()
    );
    Ok(())
}

/// The file beside the farm whose name ends so.
fn beside(farm: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(farm);
    name.push(ending);
    name.into()
}

/// Writes a secret into a file for the owner's eyes alone, whole or not at all.
fn write(path: &Path, secret: &Secret) -> io::Result<()> {
    let aside = beside(path, ".new");
    // Left by a process that was killed, or laid there by somebody to read along.
    if let Err(error) = fs::remove_file(&aside)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    writeln!(file, "{}", secret.expose())?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Adds the admin that the environment names, to a farm that has no admin yet. One that has may have changed the
/// password since, or have removed that admin for good.
async fn of_environment(operators: &dyn Operators) -> Result<(), Failure> {
    let (login, password) = match (botfarm::env_or_file(LOGIN)?, botfarm::env_or_file(PASSWORD)?) {
        (None, None) => return Ok(()),
        (Some(login), Some(password)) => (login, password),
        _ => return Err(Failure::usage(format!("{LOGIN} and {PASSWORD} (or {PASSWORD}_FILE) belong together"))),
    };
    let login = Login::try_from(login).map_err(|error| Failure::usage(format!("{LOGIN} {error}")))?;
    let password = Secret::try_from(password).map_err(|error| Failure::usage(format!("{PASSWORD} {error}")))?;
    if operators.operators().await?.iter().any(|operator| operator.role == Role::Admin) {
        return tell_of_another_password(operators, &login, password).await;
    }
    let hash = hash_password(&login, &password).map_err(|error| Failure::usage(format!("{PASSWORD}: {error}")))?;
    match operators.add_operator(login.clone(), hash, Role::Admin).await {
        Ok(_) => info!("added the first admin, {login}"),
        // A replica that starts at the same time was first.
        Err(Error::Invalid { .. })
            if operators.operator(&login).await?.is_some_and(|(found, _)| found.role == Role::Admin) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Whoever changes the variable means to change the password, which it does not.
async fn tell_of_another_password(operators: &dyn Operators, login: &Login, password: Secret) -> Result<(), Failure> {
    let Some((_, kept)) = operators.operator(login).await? else {
        warn!("{LOGIN} names {login}, who is no operator: it makes the first admin alone, and there is one");
        return Ok(());
    };
    if !is_password(&password, &kept)? {
        warn!(
            "{PASSWORD} is not the password of {login}, and changes nobody's: it makes the first admin alone; `botfarm \
             operator passwd {login}` gives it another"
        );
    }
    Ok(())
}

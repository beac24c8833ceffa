//! A new operator's password: from a file, from stdin, from the environment, or typed; never from an argument.

use std::{
    fs,
    io::{self, BufRead, IsTerminal, Write},
    path::Path,
};

use botfarm_core::Secret;
use rustix::termios::{self, LocalModes, OptionalActions, Termios};

use crate::failure::Failure;

/// Where it may stand.
const VARIABLE: &str = "BOTFARM_OPERATOR_PASSWORD";

/// Reads the password from `file` (`-`: stdin), else from the environment, else asks for it twice.
///
/// # Errors
/// When there is none, or it is none.
pub(crate) fn read(file: Option<&Path>) -> Result<Secret, Failure> {
    let text = match file {
        Some(path) if path == Path::new("-") => line(&mut io::stdin().lock())?,
        Some(path) => fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display())))?,
        None => match botfarm::env_or_file(VARIABLE)? {
            Some(text) => text,
            None if io::stdin().is_terminal() => typed()?,
            None => {
                return Err(Failure::usage(format!(
                    "there is no password; give --password-file FILE (- for stdin), or set {VARIABLE} or \
                     {VARIABLE}_FILE"
                )));
            }
        },
    };
    Secret::try_from(text.trim_end_matches(['\r', '\n'])).map_err(|error| Failure::usage(format!("a password {error}")))
}

fn line(input: &mut impl BufRead) -> Result<String, Failure> {
    let mut text = String::new();
    input.read_line(&mut text).map_err(|error| Failure::new(format!("stdin: {error}")))?;
    Ok(text)
}

/// Asks at the terminal, which does not show what is typed.
fn typed() -> Result<String, Failure> {
    let failed = |error: rustix::io::Errno| Failure::new(format!("the terminal: {error}"));
    let shown = termios::tcgetattr(io::stdin()).map_err(failed)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    termios::tcsetattr(io::stdin(), OptionalActions::Now, &hidden).map_err(failed)?;
    let _restored = Restored(shown);
    let ask = |what: &str| {
        let _ = write!(io::stderr(), "{what}: ");
        let text = line(&mut io::stdin().lock());
        let _ = writeln!(io::stderr());
        text
    };
    let (first, second) = (ask("Password")?, ask("The same again")?);
    if first == second {
        Ok(first)
    } else {
        Err(Failure::usage("these were two different passwords; nothing was done"))
    }
}

/// Puts the terminal back as it was.
struct Restored(Termios);

impl Drop for Restored {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

//! What is longer than the terminal is shown a page at a time.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    process::{Command, Stdio},
};

use rustix::termios;

use crate::{failure::Failure, run::environment, stdout};

/// How many columns and rows the terminal has that stdout is, if it is one.
pub(crate) fn terminal() -> Option<(usize, usize)> {
    let size = io::stdout().is_terminal().then(|| termios::tcgetwinsize(io::stdout()).ok()).flatten()?;
    let (columns, rows) = (size.ws_col.into(), size.ws_row.into());
    // A terminal that does not know is as wide as it has to be.
    (columns > 0 && rows > 0).then_some((columns, rows))
}

/// Whether whoever looks at stdout is to see colours (`NO_COLOR`).
pub(crate) fn colours() -> bool {
    io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints a text, by `PAGER` (`less`) when it has more lines than the terminal.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let long = terminal().is_some_and(|(_, rows)| text.lines().count() >= rows);
    if long && page(text).unwrap_or(false) {
        return Ok(());
    }
    stdout::print(text)
}

/// Whether a pager has shown it.
fn page(text: &str) -> io::Result<bool> {
    let mut command = match env::var("PAGER") {
        // To be off, as others have it.
        Ok(pager) if pager.is_empty() || pager == "cat" => return Ok(false),
        Ok(pager) => {
            let mut shell = Command::new("sh");
            shell.args(["-c", &pager]);
            shell
        }
        Err(_) => Command::new("less"),
    };
    // A pager starts editors and shells for whoever asks it to: none of them needs the secrets of this command.
    for name in environment::withheld(true) {
        command.env_remove(name);
    }
    if env::var_os("LESS").is_none() {
        // Ends at Ctrl-C, leaves the screen as it is, and passes colours through.
        command.env("LESS", "KFRX");
    }
    let mut pager = command.stdin(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = pager.stdin.take() {
        // Whoever has seen enough leaves early.
        let _ = stdin.write_all(text.as_bytes()).and_then(|()| stdin.write_all(b"\n"));
    }
    // What a shell says when there is no such command.
    Ok(pager.wait()?.code() != Some(127))
}

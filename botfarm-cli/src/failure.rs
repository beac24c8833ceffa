//! Why a command failed.

use std::{
    error::Error,
    fmt::{self, Write as _},
    process::ExitCode,
};

/// Why a command failed, for whoever typed it, and the exit code that tells programs.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// It was asked for in a wrong way: exit code 2, as for a flag that does not exist.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { code: 2, text: text.into() }
    }

    /// It was tried, and did not work: exit code 1.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into() }
    }

    /// It has an exit code of its own, above 2.
    pub(crate) fn coded(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// The same, with this exit code unless it has one of its own.
    pub(crate) fn or_code(self, code: u8) -> Self {
        if self.code > 2 { self } else { Self { code, ..self } }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may be a service's text, and a terminal would obey what is in it.
        self.text.chars().try_for_each(|c| match c {
            '\n' => f.write_char(c),
            c if c.is_control() => write!(f, "{}", c.escape_default()),
            c => f.write_char(c),
        })
    }
}

/// With the causes, which the error itself leaves out: here they are not sent to anybody else.
impl From<botfarm::Error> for Failure {
    fn from(error: botfarm::Error) -> Self {
        let usage = matches!(error, botfarm::Error::Invalid { .. } | botfarm::Error::Malformed { .. });
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.contains(&more) {
                text.push_str(": ");
                text.push_str(&more);
            }
            cause = error.source();
        }
        if usage { Self::usage(text) } else { Self::new(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_told_nothing_by_a_text() {
        let failure = Failure::new("one\ntwo \u{1b}[2J\u{9b}31m \r\u{7}");
        assert_eq!(failure.to_string(), "one\ntwo \\u{1b}[2J\\u{9b}31m \\r\\u{7}");
    }
}

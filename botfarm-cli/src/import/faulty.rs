//! What is wrong with a file of accounts, row by row.

use botfarm_core::Error;
use botfarm_http::wire;

use crate::failure::Failure;

/// Every fault on a line of its own.
pub(crate) fn faulty(file: &str, error: Error) -> Failure {
    let Error::Invalid { faults } = &error else { return error.into() };
    let mut text = format!("{file}: nothing was imported, for these faults:");
    for fault in faults {
        let pointer = wire::pointer(&fault.at);
        let field = pointer.splitn(3, '/').nth(2).map(|field| format!("{field} ")).unwrap_or_default();
        // The detail starts with the row, where it has one.
        let (row, detail) = match fault.detail.split_once(": ") {
            Some((row, detail)) if row.starts_with("row ") => (format!("{row}: "), detail),
            _ => (String::new(), fault.detail.as_str()),
        };
        text.extend(["\n  ", &row, &field, detail]);
    }
    Failure::usage(text)
}

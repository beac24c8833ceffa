//! The versions of a client and a service that are not made for each other: one of them is told, plainly.

use http::HeaderName;

/// The header by which a service tells its version, beside each answer.
#[cfg(feature = "server")]
pub(crate) const VERSION: HeaderName = HeaderName::from_static("botfarm-version");

/// The header by which a service tells a client what its people should know, in a sentence. Each client shows it once.
pub(crate) const NOTICE: HeaderName = HeaderName::from_static("botfarm-notice");

/// The version of this crate, and of all that is released with it.
pub(crate) const OURS: &str = env!("CARGO_PKG_VERSION");

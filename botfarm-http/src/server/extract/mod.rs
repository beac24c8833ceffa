//! What is read from requests.

pub(crate) mod feed;
pub(crate) mod held;
pub(crate) mod input;
pub(crate) mod list;
pub(crate) mod prefer;

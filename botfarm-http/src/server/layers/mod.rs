//! What stands before and after every handler.

pub(crate) mod compression;
pub(crate) mod cors;
pub(crate) mod headers;
pub(crate) mod observe;
pub(crate) mod open;
pub(crate) mod shares;
pub(crate) mod versions;
pub(crate) mod watched;

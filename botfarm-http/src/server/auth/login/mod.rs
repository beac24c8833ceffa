//! How a person proves who they are.

pub(crate) mod address;
pub(crate) mod cookie;
pub(crate) mod device;
pub(crate) mod handlers;
mod jwt;
pub(crate) mod password;
pub(crate) mod session;
pub(crate) mod throttle;

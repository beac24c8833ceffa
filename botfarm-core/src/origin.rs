//! Where a request came from.

use std::net::IpAddr;

use crate::text::RequestId;

/// Where a request came from, as far as a service knows. Not sent over the wire: the service at the other end knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The caller's address.
    pub address: Option<IpAddr>,
    /// Which request it was: the service's log says more of it.
    pub request: Option<RequestId>,
}

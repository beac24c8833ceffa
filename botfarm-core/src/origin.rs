//! Where a request came from.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::text::RequestId;

/// Where a request came from, as far as a service knows. Not sent over the wire: the service at the other end knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The caller's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Which request it was: the service's log says more of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
}

//! What a lease carries along.

use serde::{Deserialize, Serialize};

use crate::{
    origin::Origin,
    text::{Holder, JobUrl, Note, Owner, Run},
};

/// What a lease carries along: the farm keeps it, and shows it in the bots, the leases in force and the history. Who holds
/// a lease, and whom it was granted to, also say who may end it without its id.
///
/// A backend that stores it does so as one value, in the form that it has here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Terms {
    /// Who asks for it, and then holds it, by the name that they choose.
    pub holder: Holder,
    /// The authenticated caller, where a service sets one. Not sent over the wire: the service at the other end knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Where the request came from, where a service knows.
    #[serde(flatten)]
    pub origin: Origin,
    /// The CI run or test session that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// The holder's remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Note>,
    /// Where to look, usually the CI job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<JobUrl>,
}

impl Terms {
    /// Nothing but who asks.
    #[must_use]
    pub fn new(holder: Holder) -> Self {
        Self { holder, owner: None, origin: Origin::default(), run: None, note: None, url: None }
    }
}

//! What a lease carries along.

use std::sync::Arc;

use botfarm_core::{Holder, JobUrl, Note, Run};
use serde::{Deserialize, Serialize};

/// What a lease carries along, as everybody may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Terms {
    /// Who holds it, by the name that they chose.
    pub holder: Holder,
    /// The CI run or test session that it is a part of.
    pub run: Option<Run>,
    /// The holder's remark.
    pub note: Option<Note>,
    /// Where to look, usually the CI job.
    pub url: Option<JobUrl>,
}

impl From<Arc<botfarm_core::Terms>> for Terms {
    fn from(terms: Arc<botfarm_core::Terms>) -> Self {
        let botfarm_core::Terms { holder, run, note, url, .. } = Arc::unwrap_or_clone(terms);
        Self { holder, run, note, url }
    }
}

impl From<Terms> for botfarm_core::Terms {
    fn from(Terms { holder, run, note, url }: Terms) -> Self {
        let mut terms = Self::new(holder);
        (terms.run, terms.note, terms.url) = (run, note, url);
        terms
    }
}

//! Hand-outs that have ended, across all users.

use botfarm_core::{EndReason, Env, HandOut, Holder, Login};
use serde::{Deserialize, Serialize};

use super::lease::HistoryRow;

/// A hand-out that has ended, and of which user it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct HandOutRow {
    /// The user's login, as it is now.
    pub login: Login,
    /// The user's env.
    pub env: Env,
    /// Who gave it back: its holder, or who took it; null when it expired or was revoked.
    pub released_by: Option<Holder>,
    /// Who had it, and how that ended.
    #[serde(flatten)]
    pub row: HistoryRow,
}

impl From<HandOut> for HandOutRow {
    fn from(HandOut { login, env, record }: HandOut) -> Self {
        let released_by = match &record.end {
            Some(end) if end.reason == EndReason::Released => Some(record.terms.holder.clone()),
            Some(end) if end.reason == EndReason::Taken => end.by.clone(),
            _ => None,
        };
        Self { login, env, released_by, row: record.into() }
    }
}

impl From<HandOutRow> for HandOut {
    fn from(HandOutRow { login, env, released_by: _, row }: HandOutRow) -> Self {
        Self { login, env, record: row.into() }
    }
}

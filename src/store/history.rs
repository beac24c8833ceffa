//! For how long histories are kept.

use std::time::Duration;

use botfarm_core::Result;

use crate::variables::{Vars, malformed, read};

/// For how long histories are kept, if the environment says so.
pub(super) fn keep_history(vars: Vars<'_>) -> Result<Option<Duration>> {
    let Some(days) = read("BOTFARM_KEEP_HISTORY", vars)? else { return Ok(None) };
    let days = days.strip_suffix('d').unwrap_or(&days).parse::<u64>().ok();
    let days = days.filter(|days| (1..=36_500).contains(days));
    let bad = || malformed("BOTFARM_KEEP_HISTORY must be a number of days, from 1 to 36500");
    Ok(Some(Duration::from_hours(24 * days.ok_or_else(bad)?)))
}

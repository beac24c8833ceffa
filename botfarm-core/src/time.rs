//! When.

use chrono::{DateTime, Utc};

/// A point in time by the farm's clock, in whole microseconds, so that every backend keeps it exactly.
pub type Timestamp = DateTime<Utc>;

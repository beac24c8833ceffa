//! Lengths of time, as people type them.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

/// Reads a number of seconds, or a time with its unit: `60`, `1.5`, `90s`, `5m`.
///
/// # Errors
/// When it is neither.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| not_a_time());
    }
    with_unit(text).map_err(|_| not_a_time())
}

/// Reads a time with its unit, where nobody could tell which one is meant.
///
/// # Errors
/// When it has none, or is no time.
pub(crate) fn with_unit(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "must be a time with its unit, such as 12h or 90d".to_owned())
}

fn not_a_time() -> String {
    "must be a time: a number of seconds, or such as 90s, 5m or 2h".to_owned()
}

/// The same in `botfarm.toml`: `60`, or `"5m"`.
pub(crate) fn setting<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Setting {
        Whole(u32),
        Seconds(f64),
        Text(String),
    }

    let text = match Setting::deserialize(deserializer).map_err(|_| D::Error::custom(not_a_time()))? {
        Setting::Whole(seconds) => seconds.to_string(),
        Setting::Seconds(seconds) => seconds.to_string(),
        Setting::Text(text) => text,
    };
    span(&text).map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_is_seconds() {
        let read = |text| span(text).unwrap().as_millis();
        assert_eq!(["0", "60", "1.5", "90s", "5m", "2h 30m"].map(read), [0, 60_000, 1_500, 90_000, 300_000, 9_000_000]);
    }

    #[test]
    fn what_is_no_time_is_told_what_is_one() {
        for text in ["", "soon", "-1", "5x", "1e400", "NaN", "inf"] {
            assert_eq!(span(text), Err(not_a_time()), "{text}");
        }
    }

    #[test]
    fn where_seconds_would_be_a_surprise_the_unit_is_asked_for() {
        assert_eq!(with_unit("90d"), Ok(Duration::from_hours(90 * 24)));
        assert!(with_unit("90").unwrap_err().contains("such as 12h or 90d"));
    }
}

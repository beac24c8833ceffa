//! Times, durations and passwords, as the wire has them.

use std::{fmt, time::Duration};

use botfarm_core::{Secret, Timestamp};
use chrono::SecondsFormat;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Unexpected, Visitor},
};

/// A point in time: RFC 3339, UTC with `Z`, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub struct Time(pub Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

/// Until when a token is taken: a point in time, or `never` for a token without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "must be a time in RFC 3339, or \"never\"")]
pub enum Expiry {
    /// Until then.
    At(Time),
    /// For ever.
    #[serde(with = "never")]
    Never,
}

impl From<Expiry> for Option<Timestamp> {
    fn from(expiry: Expiry) -> Self {
        match expiry {
            Expiry::At(Time(at)) => Some(at),
            Expiry::Never => None,
        }
    }
}

/// The word alone.
mod never {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    const WORD: &str = "never";

    pub(super) fn serialize<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(WORD)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
        if String::deserialize(deserializer)? == WORD { Ok(()) } else { Err(D::Error::custom(WORD)) }
    }
}

/// A number of seconds, from 0. Fractions are allowed; written without one when there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub Duration);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.subsec_nanos() == 0 {
            serializer.serialize_u64(self.0.as_secs())
        } else {
            serializer.serialize_f64(self.0.as_secs_f64())
        }
    }
}

const NANOSECOND: Duration = Duration::from_nanos(1);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = Seconds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of seconds, from 0")
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Seconds, E> {
                Ok(Seconds(Duration::from_secs(seconds)))
            }

            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Seconds, E> {
                let rounded = Duration::try_from_secs_f64(seconds)
                    .map_err(|_| E::invalid_value(Unexpected::Other("another number"), &self))?;
                // What is beyond a limit by less than a nanosecond is beyond it: limits are whole seconds.
                Ok(Seconds(match rounded.as_secs_f64() {
                    whole if rounded.subsec_nanos() == 0 && whole < seconds => rounded.saturating_add(NANOSECOND),
                    whole if rounded.subsec_nanos() == 0 && whole > seconds => rounded.saturating_sub(NANOSECOND),
                    _ => rounded,
                }))
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Seconds, E> {
                Err(E::invalid_value(Unexpected::Other("a negative number"), &self))
            }
        }

        deserializer.deserialize_any(Number)
    }
}

impl From<Duration> for Seconds {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

/// A password in the open: the one type that writes one. Redacted in `Debug`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Password(pub Secret);

impl Serialize for Password {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl From<Secret> for Password {
    fn from(secret: Secret) -> Self {
        Self(secret)
    }
}

/// As the OpenAPI document has them.
#[cfg(feature = "server")]
mod schema {
    use std::borrow::Cow;

    use utoipa::{
        PartialSchema, ToSchema,
        openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, schema::Type},
    };

    use super::{Password, Seconds, Secret, Time};

    impl PartialSchema for Time {
        fn schema() -> RefOr<Schema> {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
                .examples(["2026-01-02T03:04:05.000000Z"])
                .description(Some("A point in time: RFC 3339, UTC with `Z`."))
                .into()
        }
    }

    impl PartialSchema for Seconds {
        fn schema() -> RefOr<Schema> {
            ObjectBuilder::new()
                .schema_type(Type::Number)
                .minimum(Some(0))
                // What does not fit 64 bits is no duration.
                .exclusive_maximum(Some(2_f64.powi(64)))
                .examples([300])
                .description(Some("A number of seconds. Fractions are allowed."))
                .into()
        }
    }

    impl PartialSchema for Password {
        fn schema() -> RefOr<Schema> {
            Secret::schema()
        }
    }

    impl ToSchema for Time {
        fn name() -> Cow<'static, str> {
            Cow::Borrowed("Time")
        }
    }

    impl ToSchema for Seconds {
        fn name() -> Cow<'static, str> {
            Cow::Borrowed("Seconds")
        }
    }

    impl ToSchema for Password {
        fn name() -> Cow<'static, str> {
            Secret::name()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(duration: Duration) -> String {
        serde_json::to_string(&Seconds(duration)).unwrap()
    }

    #[test]
    fn whole_seconds_are_written_as_integers_and_others_survive_the_trip() {
        assert_eq!(written(Duration::from_mins(15)), "900");
        assert_eq!(written(Duration::from_millis(1_500)), "1.5");
        for nanos in [1, 999, 123_456_789, 86_399_999_999_999, 300_000_000] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(serde_json::from_str::<Seconds>(&written(duration)).unwrap().0, duration);
        }
    }

    #[test]
    fn a_number_next_to_a_whole_one_is_not_that_one() {
        let read = |text: &str| serde_json::from_str::<Seconds>(text).unwrap().0;
        let day = Duration::from_hours(24);
        assert_eq!((read("86400.0"), read("86400.00000000001")), (day, day + Duration::from_nanos(1)));
        assert_eq!((read("5.0"), read("4.9999999999")), (Duration::from_secs(5), Duration::from_nanos(4_999_999_999)));
        assert_eq!((read("2.7"), read("1e18")), (Duration::from_millis(2_700), Duration::from_secs(10_u64.pow(18))));
        assert_eq!(read("0.0000000001"), Duration::from_nanos(1));
    }

    #[test]
    fn no_number_of_seconds_is_below_zero_or_beyond_counting() {
        for bad in ["-1", "-0.5", "1e300", "\"5\"", "[]"] {
            let error = serde_json::from_str::<Seconds>(bad).unwrap_err().to_string();
            assert!(error.contains("expected a number of seconds, from 0"), "{bad}: {error}");
        }
    }

    #[test]
    fn times_have_six_places_and_a_z() {
        let time: Time = serde_json::from_str("\"2026-01-02T03:04:05+00:00\"").unwrap();
        assert_eq!(serde_json::to_string(&time).unwrap(), "\"2026-01-02T03:04:05.000000Z\"");
    }

    #[test]
    fn a_password_shows_in_json_alone() {
        let password = Password(Secret::try_from("hunter2").unwrap());
        assert_eq!(format!("{password:?}"), "Password(Secret(***))");
        assert_eq!(serde_json::to_string(&password).unwrap(), "\"hunter2\"");
    }
}

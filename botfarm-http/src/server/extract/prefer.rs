//! The header `Prefer: wait=N` (RFC 7240): another way to say `wait_seconds`.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use serde_json::Value;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How many seconds the caller prefers to wait, if it says so in the header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prefer(Option<u64>);

impl Prefer {
    /// Puts the preference into a body that says nothing of how long to wait. What is to be told the caller of it goes
    /// with the answer, see [`Self::acknowledge`].
    pub(crate) fn fill(self, body: &mut Value, max: Duration) -> Self {
        let Value::Object(fields) = body else { return Self(None) };
        let Some(wait) = self.0.filter(|_| fields.get("wait_seconds").is_none_or(Value::is_null)) else {
            return Self(None);
        };
        let wait = wait.min(max.as_secs());
        fields.insert("wait_seconds".to_owned(), wait.into());
        Self(Some(wait))
    }

    /// The answer of a call that waited as preferred; one that was refused for another reason did not.
    pub(crate) fn acknowledge(self, answer: impl IntoResponse) -> Response {
        let mut response = answer.into_response();
        if let Some(wait) = self.0
            && (response.status().is_success() || response.status() == StatusCode::CONFLICT)
            && let Ok(applied) = HeaderValue::try_from(format!("wait={wait}"))
        {
            response.headers_mut().insert(APPLIED, applied);
        }
        response
    }
}

impl<S: Sync> FromRequestParts<S> for Prefer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(wait(&parts.headers)))
    }
}

/// The first preference named `wait`, as the RFC has it. What is not understood is ignored.
fn wait(headers: &HeaderMap) -> Option<u64> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split(',')).filter_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"'))
    });
    preferences.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(values: &[&'static str]) -> Option<u64> {
        wait(&values.iter().map(|value| (PREFER, HeaderValue::from_static(value))).collect())
    }

    #[test]
    fn the_header_is_read_as_the_rfc_has_it() {
        for (values, expected) in [
            (&["wait=10"][..], Some(10)),
            (&["respond-async, Wait = \"7\"; x=1", "wait=9"][..], Some(7)),
            (&["return=minimal", "wait=3"][..], Some(3)),
            (&["wait=18446744073709551615"][..], Some(u64::MAX)),
            (&["wait", "waits=5", ""][..], None),
            (&["wait=-1"][..], None),
            (&["wait=soon, wait=5"][..], None),
        ] {
            assert_eq!(parsed(values), expected, "{values:?}");
        }
    }

    #[test]
    fn the_body_wins_and_the_longest_wait_is_the_services() {
        let filled = |wait: Option<u64>, mut body: Value| {
            let applied = Prefer(wait).fill(&mut body, Duration::from_mins(5)).0;
            (applied, body)
        };
        assert_eq!(filled(Some(9), json!({})), (Some(9), json!({"wait_seconds": 9})));
        assert_eq!(filled(Some(900), json!({"wait_seconds": null})), (Some(300), json!({"wait_seconds": 300})));
        assert_eq!(filled(Some(9), json!({"wait_seconds": 0})), (None, json!({"wait_seconds": 0})));
        assert_eq!(filled(None, json!({})), (None, json!({})));
        assert_eq!(filled(Some(9), json!([])), (None, json!([])));
    }
}

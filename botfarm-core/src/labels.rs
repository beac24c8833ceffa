//! What people know of a bot beyond its project, env and domain.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize, Serializer};

use crate::text::{BadText, check_line};

/// A flat map of at most 64 labels. Keys have 1 to 64 characters without `:`, `=` and `,`; values 0 to 256.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct Labels(Arc<BTreeMap<String, String>>);

impl Labels {
    /// None at all.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Every key with its value, sorted by key.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The two halves of `key=value` or `key:value`, as people write one label. No key has either sign in it.
    ///
    /// ```
    /// # use botfarm_core::Labels;
    /// assert_eq!(Labels::split("role:admin"), Some(("role", "admin")));
    /// assert_eq!(Labels::split("site=https://shop.example"), Some(("site", "https://shop.example")));
    /// assert_eq!(Labels::split("role"), None);
    /// ```
    #[must_use]
    pub fn split(text: &str) -> Option<(&str, &str)> {
        text.split_once([':', '='])
    }

    /// Whether every label of `others` is among these, with the same value.
    #[must_use]
    pub fn contain(&self, others: &Self) -> bool {
        others.iter().all(|(key, value)| self.get(key) == Some(value))
    }
}

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = BadText;

    fn try_from(labels: BTreeMap<String, String>) -> Result<Self, BadText> {
        if labels.len() > 64 {
            return Err(BadText(format!("must be at most 64 labels, are {}", labels.len())));
        }
        for (key, value) in &labels {
            check_line(key, 64).map_err(|BadText(why)| BadText(format!("a label's key {why}")))?;
            if key.contains([':', '=', ',']) {
                return Err(BadText("a label's key must not contain ':', '=' or ','".into()));
            }
            if !value.is_empty() {
                check_line(value, 256).map_err(|BadText(why)| BadText(format!("a label's value {why}")))?;
            }
        }
        Ok(Self(Arc::new(labels)))
    }
}

impl<const N: usize> TryFrom<[(&str, &str); N]> for Labels {
    type Error = BadText;

    fn try_from(labels: [(&str, &str); N]) -> Result<Self, BadText> {
        let labels: BTreeMap<_, _> =
            labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Self::try_from(labels)
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        Arc::unwrap_or_clone(labels.0)
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

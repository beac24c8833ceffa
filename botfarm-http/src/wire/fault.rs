//! What is wrong with a request, and where: a JSON pointer (RFC 6901).

use botfarm_core::{Field, Location, Step};
use serde::{Deserialize, Serialize};

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Fault {
    /// A JSON pointer into the request; in an import with the row's number first.
    pub pointer: String,
    /// What is wrong, and what would be right.
    pub detail: String,
}

impl From<botfarm_core::Fault> for Fault {
    fn from(fault: botfarm_core::Fault) -> Self {
        Self { pointer: pointer(&fault.at), detail: fault.detail }
    }
}

impl From<Fault> for botfarm_core::Fault {
    fn from(fault: Fault) -> Self {
        Self { at: location(&fault.pointer), detail: fault.detail }
    }
}

/// The fields that are called otherwise on the wire, and those that are called the same.
const NAMES: [(&str, Field); 13] = [
    ("as", Field::Alias),
    ("avoid", Field::Avoid),
    ("condition", Field::Condition),
    ("domain", Field::Domain),
    ("env", Field::Env),
    ("labels", Field::Labels),
    ("limit", Field::Limit),
    ("login", Field::Login),
    ("name", Field::Name),
    ("password", Field::Password),
    ("project_id", Field::Project),
    ("ttl_seconds", Field::Ttl),
    ("users", Field::Selectors),
];

/// The field that is called so on the wire.
#[must_use]
pub fn field(name: &str) -> Field {
    let known = NAMES.iter().find(|(known, _)| *known == name);
    known.map_or_else(|| Field::other(name.to_owned()), |(_, field)| field.clone())
}

/// What a field is called on the wire.
#[must_use]
pub fn name(field: &Field) -> &str {
    NAMES.iter().find(|(_, known)| known == field).map_or_else(|| field.as_str(), |(name, _)| name)
}

/// The JSON pointer to a place in a request.
#[must_use]
pub fn pointer(at: &Location) -> String {
    let steps = at.steps().iter().map(|step| match step {
        Step::Item(index) => format!("/{index}"),
        Step::Field(field) => format!("/{}", name(field).replace('~', "~0").replace('/', "~1")),
    });
    steps.collect()
}

/// The place that a JSON pointer leads to.
fn location(pointer: &str) -> Location {
    let steps = pointer.split('/').skip(1).map(|step| match step.parse() {
        Ok(index) => Step::Item(index),
        Err(_) => Step::Field(field(&step.replace("~1", "/").replace("~0", "~"))),
    });
    steps.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_same_at_both_ends_of_the_wire() {
        for (at, expected) in [
            (Location::whole(), ""),
            (Field::Ttl.into(), "/ttl_seconds"),
            (Location::from(Field::Selectors).item(2).field(Field::Alias), "/users/2/as"),
            (Location::row(3).field(Field::Project), "/3/project_id"),
            (Location::row(3).field(Field::Labels), "/3/labels"),
            (Field::other("a/b~c").into(), "/a~1b~0c"),
            (Field::other("project").into(), "/project"),
        ] {
            assert_eq!(pointer(&at), expected);
            assert_eq!(location(expected), at);
        }
    }

    #[test]
    fn names_stand_for_one_field_each() {
        for (wire, known) in &NAMES {
            assert_eq!((name(known), field(wire)), (*wire, known.clone()));
        }
        assert_eq!(name(&field("selectors")), "selectors", "an unknown field keeps its name");
    }
}

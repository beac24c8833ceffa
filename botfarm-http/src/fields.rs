//! Reads JSON from outside field by field, so that every fault is named, not just the first.

use botfarm_core::{Fault, Faults, Location, nearest};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::wire::field;

/// For so many unknown fields of an object it is said what they may have been meant to be.
const EXPLAINED: usize = 8;

/// The fields of one JSON object, and the faults found in them so far.
#[derive(Debug)]
pub(crate) struct Fields {
    at: Location,
    left: Map<String, Value>,
    /// What has been asked for.
    known: Vec<&'static str>,
    faults: Faults,
}

/// A struct that is read from a JSON object: see [`request!`](crate::wire).
pub(crate) trait Read: Sized {
    /// Takes its fields out of `fields`. `None` when something is missing: there are faults then.
    fn take(fields: &mut Fields) -> Option<Self>;

    /// Reads all of an object, which stands at `at`.
    ///
    /// # Errors
    /// Every fault, with places within `at`.
    fn read(value: Value, at: Location) -> Result<Self, Faults> {
        let mut fields = Fields::of(value, at);
        let read = Self::take(&mut fields);
        fields.finish_all(read)
    }
}

impl Fields {
    /// The fields of `value`, which stands at `at`.
    pub(crate) fn of(value: Value, at: Location) -> Self {
        if let Value::Object(left) = value {
            Self { at, left, known: Vec::new(), faults: Faults::default() }
        } else {
            let fault = Fault::new(at.clone(), "must be a JSON object");
            Self { at, left: Map::new(), known: Vec::new(), faults: Faults::from_iter([fault]) }
        }
    }

    /// The place of the field `name`.
    fn place(&self, name: &str) -> Location {
        self.at.clone().field(field(name))
    }

    /// A field that may be missing or null. One that is there, but wrong, is a fault.
    pub(crate) fn optional<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<T> {
        let value = self.take(name)?;
        match serde_json::from_value(value) {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(name, plain(&error));
                None
            }
        }
    }

    /// A field that is yet to be asked for, if it is there and right. What is wrong with it is found when it is asked for.
    pub(crate) fn peek<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        T::deserialize(self.left.get(name)?).ok()
    }

    /// Whether a flag is set, in a body or in a query. Missing or null, it is not.
    pub(crate) fn flag(&mut self, name: &'static str) -> bool {
        match self.take(name) {
            None | Some(Value::Bool(false)) => false,
            Some(Value::Bool(true)) => true,
            Some(Value::String(text)) if text == "true" => true,
            Some(Value::String(text)) if text == "false" => false,
            Some(_) => {
                self.fault(name, "must be true or false");
                false
            }
        }
    }

    /// A field that must be there.
    pub(crate) fn required<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<T> {
        if self.is_missing(name) { None } else { self.optional(name) }
    }

    /// A list of objects that must be there, with `most` items at most, which are called `items`.
    pub(crate) fn list<T: Read>(&mut self, name: &'static str, most: usize, items: &str) -> Option<Vec<T>> {
        if self.is_missing(name) {
            return None;
        }
        let values: Vec<Value> = self.optional(name)?;
        // Not looked at one by one: there may be hundreds of thousands.
        if values.len() > most {
            self.fault(name, format!("must be 1 to {most} {items}, are {}", values.len()));
            return None;
        }
        let place = self.place(name);
        let read = values.into_iter().enumerate().filter_map(|(index, value)| {
            T::read(value, place.clone().item(index)).map_err(|faults| self.faults.append(faults)).ok()
        });
        Some(read.collect())
    }

    /// Whether a field that must be there is missing or null: then it is a fault.
    fn is_missing(&mut self, name: &'static str) -> bool {
        let missing = self.left.get(name).is_none_or(Value::is_null);
        if missing {
            self.take(name);
            // An object that is none has been found fault with already.
            if !self.faults.listed().iter().any(|fault| fault.at == self.at) {
                self.fault(name, "is required");
            }
        }
        missing
    }

    /// A field as it stands, unless it is missing or null.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.left.remove(name).filter(|value| !value.is_null())
    }

    /// Finds fault with the field `name`.
    pub(crate) fn fault(&mut self, name: &str, detail: impl Into<String>) {
        let fault = Fault::new(self.place(name), detail);
        self.faults.push(fault);
    }

    /// Takes over faults that were found within a field.
    pub(crate) fn faults(&mut self, faults: Faults) {
        self.faults.append(faults);
    }

    /// `value`, unless there was a fault. A field that nobody asked for is one: it may be a misspelt selector. The
    /// nearest field that was asked for is named.
    ///
    /// # Errors
    /// Every fault.
    pub(crate) fn finish<T>(mut self, value: T) -> Result<T, Faults> {
        for (count, (name, _)) in std::mem::take(&mut self.left).into_iter().enumerate() {
            let meant = nearest(&name, self.known.iter().copied()).filter(|_| count < EXPLAINED);
            let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            self.fault(&name, format!("is not a known field{meant}"));
        }
        if self.faults.is_empty() { Ok(value) } else { Err(self.faults) }
    }

    /// `value`, which is there when there was no fault.
    ///
    /// # Errors
    /// Every fault.
    pub(crate) fn finish_all<T>(self, value: Option<T>) -> Result<T, Faults> {
        let incomplete = Fault::new(self.at.clone(), "is incomplete");
        self.finish(value)?.ok_or_else(|| Faults::from_iter([incomplete]))
    }
}

/// What serde says of a value that does not fit, without the value: it could be a password.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if let Some((_, expected)) = text.split_once("expected ") {
        return format!("must be {}", expected.replace(['`'], "").replace("a map", "an object"));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::{NewUser, pointer};

    fn faults(value: Value) -> Vec<(String, String)> {
        let faults = Vec::from(NewUser::read(value, Location::whole()).unwrap_err());
        faults.into_iter().map(|fault| (pointer(&fault.at), fault.detail)).collect()
    }

    #[test]
    fn every_fault_of_a_bot_is_named_and_no_value_repeated() {
        let value = json!({
            "login": "", "password": 4711, "env": "the moon", "labels": {"a:b": "c"}, "domian": "canary",
        });
        let faults = faults(value);
        let pointers: Vec<_> = faults.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(pointers, ["/login", "/password", "/project_id", "/env", "/labels", "/domian"]);
        let text = format!("{faults:?}");
        assert!(!text.contains("4711") && !text.contains("moon"), "{text}");
    }

    #[test]
    fn however_many_fields_are_unknown_the_faults_are_few() {
        let value: Map<String, Value> = (0..10_000).map(|name| (name.to_string(), Value::Null)).collect();
        let faults = faults(value.into());
        assert_eq!(faults.len(), 101);
        assert_eq!(faults[100], (String::new(), "and 9904 more faults".to_owned()));
    }

    #[test]
    fn a_field_that_is_nearly_one_has_that_beside_it() {
        let faults = faults(json!({
            "login": "a", "password": "b", "project": "5f0c7e0a-0000-4000-8000-000000000001", "enviroment": "stage",
            "lables": {}, "colour": 1,
        }));
        let told: Vec<_> = faults.iter().map(|(pointer, detail)| format!("{pointer} {detail}")).collect();
        let expected = [
            "/project_id is required",
            "/env is required",
            "/colour is not a known field",
            "/enviroment is not a known field; did you mean env?",
            "/lables is not a known field; did you mean labels?",
            "/project is not a known field; did you mean project_id?",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_not_an_object_is_one_fault() {
        assert_eq!(faults(json!(["a"])), [(String::new(), "must be a JSON object".to_owned())]);
    }
}

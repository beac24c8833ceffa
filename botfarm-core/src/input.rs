//! Reads JSON from outside field by field, so that every fault is named, not just the first.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    bot::{BotChanges, NewBot},
    error::Fault,
    faults::Faults,
    nearest::nearest,
};

/// For so many unknown fields of an object it is said what they may have been meant to be.
const EXPLAINED: usize = 8;

/// The fields of one JSON object, and the faults found in them so far.
///
/// ```
/// # use botfarm_core::input::Fields;
/// let mut fields = Fields::of(serde_json::json!({"env": "the moon", "typo": 1}), "");
/// let _env: Option<botfarm_core::Env> = fields.optional("env");
/// let faults = fields.finish(()).unwrap_err();
/// assert_eq!(faults.listed().iter().map(|fault| fault.pointer.as_str()).collect::<Vec<_>>(), ["/env", "/typo"]);
/// ```
#[derive(Debug)]
pub struct Fields {
    at: String,
    left: Map<String, Value>,
    /// What has been asked for.
    known: Vec<&'static str>,
    faults: Faults,
}

impl Fields {
    /// The fields of `value`, which stands at the JSON pointer `at`.
    #[must_use]
    pub fn of(value: Value, at: impl Into<String>) -> Self {
        let at = at.into();
        if let Value::Object(left) = value {
            Self { at, left, known: Vec::new(), faults: Faults::default() }
        } else {
            let fault = Fault::new(at.clone(), "must be a JSON object");
            Self { at, left: Map::new(), known: Vec::new(), faults: Faults::from_iter([fault]) }
        }
    }

    /// The pointer to the field `name`.
    #[must_use]
    pub fn pointer(&self, name: &str) -> String {
        format!("{}/{}", self.at, name.replace('~', "~0").replace('/', "~1"))
    }

    /// A field that may be missing or null. One that is there, but wrong, is a fault.
    pub fn optional<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<T> {
        let value = self.take(name)?;
        match serde_json::from_value(value) {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(name, plain(&error));
                None
            }
        }
    }

    /// A field that must be there.
    pub fn required<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<T> {
        if self.left.get(name).is_none_or(Value::is_null) {
            self.take(name);
            // An object that is none has been found fault with already.
            if !self.faults.listed().iter().any(|fault| fault.pointer == self.at) {
                self.fault(name, "is required");
            }
            return None;
        }
        self.optional(name)
    }

    /// A field as it stands, unless it is missing or null.
    pub fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.left.remove(name).filter(|value| !value.is_null())
    }

    /// Finds fault with the field `name`.
    pub fn fault(&mut self, name: &str, detail: impl Into<String>) {
        let fault = Fault::new(self.pointer(name), detail);
        self.faults.push(fault);
    }

    /// Takes over faults that were found within a field.
    pub fn faults(&mut self, faults: Faults) {
        self.faults.append(faults);
    }

    /// `value`, unless there was a fault. A field that nobody asked for is one: it may be a misspelt selector. The
    /// nearest field that was asked for is named.
    ///
    /// # Errors
    /// Every fault.
    pub fn finish<T>(mut self, value: T) -> Result<T, Faults> {
        for (count, (name, _)) in std::mem::take(&mut self.left).into_iter().enumerate() {
            let meant = nearest(&name, self.known.iter().copied()).filter(|_| count < EXPLAINED);
            let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            self.fault(&name, format!("is not a known field{meant}"));
        }
        if self.faults.is_empty() { Ok(value) } else { Err(self.faults) }
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

/// Reads a new bot, as `POST /users` and imports have it.
///
/// # Errors
/// Every fault, with pointers that start with `at`.
pub fn new_bot(value: Value, at: &str) -> Result<NewBot, Faults> {
    let mut fields = Fields::of(value, at);
    let login = fields.required("login");
    let password = fields.required("password");
    let project = fields.required("project_id");
    let env = fields.required("env");
    let domain = fields.optional("domain").unwrap_or_default();
    let labels = fields.optional("labels").unwrap_or_default();
    let bot = (|| Some(NewBot { login: login?, password: password?, project: project?, env: env?, domain, labels }))();
    fields.finish(())?;
    // Whatever is required is there when there was no fault.
    bot.ok_or_else(|| Faults::from_iter([Fault::new(at, "is incomplete")]))
}

/// Reads changes to a bot, as `PATCH /users/{id}` has them.
///
/// # Errors
/// Every fault.
pub fn bot_changes(value: Value) -> Result<BotChanges, Faults> {
    let mut fields = Fields::of(value, "");
    let changes = BotChanges {
        password: fields.optional("password"),
        labels: fields.optional("labels"),
        condition: fields.optional("condition"),
        domain: fields.optional("domain"),
        project: fields.optional("project_id"),
    };
    fields.finish(changes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(value: Value) -> Vec<(String, String)> {
        let faults = Vec::from(new_bot(value, "").unwrap_err());
        faults.into_iter().map(|fault| (fault.pointer, fault.detail)).collect()
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

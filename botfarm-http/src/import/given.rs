//! What is said of a file's rows beside the file.

use botfarm_core::{Domain, Env, ProjectId};
use serde_json::Value;

/// What is said of a file's rows beside the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// The project of rows that name none.
    pub project: Option<ProjectId>,
    /// The env of rows that name none.
    pub env: Option<Env>,
    /// The domain of rows that name none.
    pub domain: Option<Domain>,
    /// The columns of a CSV file that are labels, by their names in the header row, case aside.
    pub labels: Vec<String>,
    /// Whether rows may lack a password: they are updates of accounts that the farm has.
    pub updates: bool,
}

impl Given {
    fn fields(&self) -> [(&'static str, Option<&str>); 3] {
        [("project_id", self.project.as_deref()), ("env", self.env.as_deref()), ("domain", self.domain.as_deref())]
    }

    /// Whether rows may leave this field out.
    pub(super) fn has(&self, field: &str) -> bool {
        self.fields().iter().any(|(name, given)| *name == field && given.is_some())
            || self.updates && matches!(field, "password" | "project_id")
    }

    /// The label that a column is.
    pub(super) fn label(&self, column: &str) -> Option<&str> {
        self.labels.iter().map(String::as_str).find(|label| label.eq_ignore_ascii_case(column))
    }

    /// The row, with what it leaves out.
    pub(super) fn complete(&self, mut row: Value) -> Value {
        if let Value::Object(fields) = &mut row {
            for (name, given) in self.fields() {
                if let Some(given) = given
                    && fields.get(name).is_none_or(Value::is_null)
                {
                    fields.insert(name.to_owned(), given.into());
                }
            }
        }
        row
    }
}

//! A row without a password.

use botfarm_core::{BotChanges, Env, Faults, Location, Login};
use serde_json::Value;

use crate::fields::Fields;

/// A row without a password: what it changes about an account that the farm has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Which row, counted from 0.
    pub row: usize,
    /// The account's login.
    pub login: Login,
    /// The account's env.
    pub env: Env,
    /// What the row says of the account. Labels that it gives take the place of all the old ones.
    pub changes: BotChanges,
}

impl Update {
    pub(super) fn read(value: Value, row: usize) -> Result<Self, Faults> {
        let mut fields = Fields::of(value, Location::row(row));
        fields.take("password");
        let (login, env) = (fields.required("login"), fields.required("env"));
        let changes = BotChanges {
            labels: fields.optional("labels"),
            domain: fields.optional("domain"),
            project: fields.optional("project_id"),
            ..BotChanges::default()
        };
        let update = (|| Some(Self { row, login: login?, env: env?, changes }))();
        fields.finish_all(update)
    }
}

/// Whether a row is one for an account that the farm has.
pub(super) fn has_no_password(row: &Value) -> bool {
    row.as_object().is_some_and(|fields| fields.get("password").is_none_or(Value::is_null))
}

//! The users themselves.

use axum::http::StatusCode;
use botfarm_core::{BotId, BotState, Condition, Domain, Env, ImportReport, Login, ProjectId, operators::Role, schema};
use serde_json::json;
use utoipa::openapi::ArrayBuilder;

use super::{
    examples, failures,
    operation::{Operation, reference, text},
};
use crate::wire::{HistoryRow, Message, NewUser, RevokeRequest, User, UserChanges};

fn new(id: &str, summary: &str) -> Operation {
    Operation::new("users", id, summary)
}

pub(in crate::server) fn list() -> Operation {
    let label = text().pattern(Some(schema::LABEL)).max_length(Some(321));
    let labels = ArrayBuilder::new().items(label).max_items(Some(64));
    new("list_users", "List users")
        .about("All of them, oldest first; with `limit` or `cursor` one page, with a link to the next in `Link`.")
        .role(Role::Viewer)
        .page()
        .query::<ProjectId>("project_id", "Only users of this project.")
        .query::<Env>("env", "Only users of this env.")
        .query::<Domain>("domain", "Only users of this domain.")
        .query::<Login>("login", "Only users with this login, case aside.")
        .query::<Condition>("condition", "Only users in this condition.")
        .query::<BotState>("state", "Only users in this state.")
        .query_of("label", "Only users with this label, as `key:value`; with all of several.", labels)
        .gives_list::<User>("The users.", examples::user())
        .with("Link")
}

pub(in crate::server) fn create() -> Operation {
    new("create_user", "Add a user")
        .role(Role::Admin)
        .once()
        .json::<NewUser>(new_user())
        .gives::<User>(StatusCode::CREATED, "The new user.", examples::user())
        .with("Location")
        .fails(&[failures::login_taken])
}

fn new_user() -> serde_json::Value {
    json!({
        "login": "ada@example.com", "password": "an-example-of-a-password",
        "project_id": "0b7e6f9a-4a53-4d0e-9a51-2f5f5c1d7a11", "env": "stage", "labels": {"plan": "pro"},
    })
}

pub(in crate::server) fn import() -> Operation {
    const CSV: &str = "login,password,project_id,env,label.plan\n\
                       ada@example.com,an-example-of-a-password,0b7e6f9a-4a53-4d0e-9a51-2f5f5c1d7a11,stage,pro\n";
    let ndjson = format!("{}\n", new_user());
    let dry_run = text().enum_values(Some(["true", "false"]));
    new("import_users", "Add and change many users")
        .about("All of them or none. A row whose login the env has already changes that user; others are added.")
        .role(Role::Admin)
        .once()
        .query_of("dry_run", "Only say what would be done.", dry_run)
        .body_of("application/json", ArrayBuilder::new().items(reference::<NewUser>()), json!([new_user()]))
        .body_of("application/x-ndjson", text(), json!(ndjson))
        .body_of("text/csv", text(), json!(CSV))
        .gives::<ImportReport>(
            StatusCode::OK,
            "What was done, or would be.",
            json!({"created": 1, "updated": 0, "unchanged": 0}),
        )
        .fails(&[failures::in_use])
}

pub(in crate::server) fn get() -> Operation {
    new("get_user", "Look at a user")
        .role(Role::Viewer)
        .id::<BotId>()
        .gives::<User>(StatusCode::OK, "The user.", examples::user())
        .fails(&[failures::no_such_user])
}

pub(in crate::server) fn update() -> Operation {
    new("update_user", "Change a user")
        .about("What is not given stays as it is.")
        .role(Role::Admin)
        .once()
        .id::<BotId>()
        .json::<UserChanges>(json!({"labels": {"plan": "pro"}, "condition": "ready"}))
        .gives::<User>(StatusCode::OK, "The user as it is now.", examples::user())
        .fails(&[failures::no_such_user, failures::in_use])
}

pub(in crate::server) fn delete() -> Operation {
    new("delete_user", "Remove a user")
        .role(Role::Admin)
        .once()
        .id::<BotId>()
        .gives_nothing(StatusCode::NO_CONTENT, "It is removed.")
        .fails(&[failures::no_such_user, failures::in_use])
}

pub(in crate::server) fn history() -> Operation {
    new("list_user_history", "See who has had a user")
        .about("The newest first. One page, with a link to the next in `Link`.")
        .role(Role::Viewer)
        .id::<BotId>()
        .page()
        .gives_list::<HistoryRow>("Its leases, past and present.", examples::history_row())
        .with("Link")
        .fails(&[failures::no_such_user])
}

pub(in crate::server) fn revoke() -> Operation {
    new("revoke_user", "Take a user away from its holder")
        .about("Ends whatever lease holds the user, all of it.")
        .role(Role::Admin)
        .once()
        .id::<BotId>()
        .json::<RevokeRequest>(json!({"reason": "needed for the release"}))
        .gives::<Message>(StatusCode::OK, "It is taken away, or nobody had it.", examples::message("Done."))
        .fails(&[failures::no_such_user])
}

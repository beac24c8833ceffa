//! Logging in, and who may.

use axum::http::StatusCode;
use botfarm_core::{
    Holder, Login, Secret, Subject,
    operators::{OperatorId, Role, TokenId},
};
use serde_json::{Value, json};
use utoipa::{ToSchema, openapi::ObjectBuilder};

use super::{
    examples, failures,
    operation::{Operation, reference, text},
};
use crate::wire::{
    AccessToken, AuditRow, Credentials, EndedLeases, IssuedToken, NewOperator, NewPassword, NewToken, Operator,
    PasswordChange, Time, Token,
};

pub(in crate::server) fn login() -> Operation {
    let form = ObjectBuilder::new()
        .property("grant_type", text().enum_values(Some(["password"])))
        .property("username", reference::<Login>())
        .property("password", reference::<Secret>())
        .property("scope", text().description(Some("Is not looked at.")))
        .property("client_id", text().description(Some("Is not looked at.")))
        .property("client_secret", text().description(Some("Is not looked at.")))
        .required("username")
        .required("password")
        .additional_properties(Some(utoipa::openapi::schema::AdditionalProperties::FreeForm(false)))
        .build();
    let token = json!({"access_token": "eyJ…", "token_type": "bearer", "expires_in": 28_800});
    Operation::new("login", "login", "Log in")
        .about(
            "Gives an access token for the header `Authorization: Bearer …`, and the same in a cookie for browsers. \
             As a form it is the password grant of OAuth 2.",
        )
        .json::<Credentials>(json!({"login": "grace", "password": "an-example-of-a-password"}))
        .body_of(
            "application/x-www-form-urlencoded",
            form,
            json!({"grant_type": "password", "username": "grace", "password": "an-example-of-a-password"}),
        )
        .gives::<AccessToken>(StatusCode::OK, "The access token.", token)
        .with("Cache-Control")
        .with("Set-Cookie")
        .fails(&[
            failures::unauthenticated,
            failures::forbidden,
            failures::no_such_route,
            failures::too_many_requests,
            failures::unavailable,
        ])
}

pub(in crate::server) fn logout() -> Operation {
    Operation::new("login", "logout", "Log out")
        .about("The access token that the request carries is refused from then on.")
        .role(Role::Viewer)
        .gives_nothing(StatusCode::NO_CONTENT, "It is over.")
        .with("Set-Cookie")
        .fails(&[failures::forbidden, failures::no_such_route])
}

pub(in crate::server) fn list_operators() -> Operation {
    listing::<Operator>("operators", "list_operators", "List operators", examples::operator())
}

pub(in crate::server) fn add_operator() -> Operation {
    let operator = json!({"login": "grace", "password": "an-example-of-a-password", "role": "admin"});
    adding::<NewOperator>("operators", "create_operator", "Add an operator", operator)
        .gives::<Operator>(StatusCode::CREATED, "The new operator.", examples::operator())
        .fails(&[failures::too_many_requests])
}

pub(in crate::server) fn remove_operator() -> Operation {
    removing::<OperatorId>("operators", "delete_operator", "Remove an operator")
        .about("Its logins are over at once. The last admin stays.")
        .fails(&[failures::no_such_operator])
}

pub(in crate::server) fn reset_password() -> Operation {
    administering("operators", "reset_password", "Give an operator another password")
        .about("All of its sessions end, and whoever waits with one of them is sent away.")
        .id::<OperatorId>()
        .json::<NewPassword>(json!({"password": "an-example-of-a-password"}))
        .gives_nothing(StatusCode::NO_CONTENT, "Done.")
        .fails(&[failures::no_such_operator, failures::too_many_requests])
}

pub(in crate::server) fn end_sessions() -> Operation {
    administering("operators", "end_sessions", "End all sessions of an operator")
        .about("Whoever waits with one of them is sent away. It may log in again.")
        .id::<OperatorId>()
        .gives_nothing(StatusCode::NO_CONTENT, "Done.")
        .fails(&[failures::no_such_operator])
}

pub(in crate::server) fn change_password() -> Operation {
    let token = json!({"access_token": "eyJ…", "token_type": "bearer", "expires_in": 28_800});
    Operation::new("login", "change_password", "Change one's password")
        .about(
            "All sessions of the operator end, and whoever waits with one of them is sent away. The answer is that of a \
             login: the session to go on with.",
        )
        .role(Role::Viewer)
        .json::<PasswordChange>(json!({"old": "an-example-of-a-password", "new": "another-example-of-one"}))
        .gives::<AccessToken>(StatusCode::OK, "The access token to go on with.", token)
        .with("Cache-Control")
        .with("Set-Cookie")
        .fails(&[failures::forbidden, failures::no_such_route, failures::too_many_requests])
}

pub(in crate::server) fn end_own_sessions() -> Operation {
    Operation::new("login", "end_own_sessions", "End all of one's sessions")
        .about("On every machine, this one too.")
        .role(Role::Viewer)
        .gives_nothing(StatusCode::NO_CONTENT, "They are over.")
        .with("Set-Cookie")
        .fails(&[failures::forbidden, failures::no_such_route])
}

pub(in crate::server) fn list_tokens() -> Operation {
    listing::<Token>("tokens", "list_tokens", "List API tokens", examples::token())
}

pub(in crate::server) fn add_token() -> Operation {
    let token = json!({"name": "checkout pipeline", "role": "tester", "env": "stage"});
    adding::<NewToken>("tokens", "create_token", "Make an API token", token)
        .about("Its secret is shown this once. It is refused after 90 days, unless `expires_at` is another time or `never`.")
        .gives::<IssuedToken>(StatusCode::CREATED, "The new token, with its secret.", examples::issued_token())
        .with("Cache-Control")
}

pub(in crate::server) fn remove_token() -> Operation {
    removing::<TokenId>("tokens", "delete_token", "Revoke an API token")
        .about(
            "It is refused at once, and whoever waits with it is sent away. With `end_leases=true` what it has leased is \
             taken away, too; asked again after a failure, that ends what is left.",
        )
        .query_of("end_leases", "Also end the leases that it has acquired.", text().enum_values(Some(["true", "false"])))
        .gives::<EndedLeases>(StatusCode::OK, "Done, with `end_leases=true`.", json!({"ended": 2}))
        .fails(&[failures::no_such_token])
}

pub(in crate::server) fn audit() -> Operation {
    Operation::new("audit", "list_audit", "List what was done")
        .role(Role::Admin)
        .about(
            "Who did what, newest first: writes, logins, looks at the passwords of a lease, and refusals, those of one \
             caller within a minute as one. Hand-outs, and how they ended, are in the history of each user. Kept as long \
             as the history. A token that is confined does not read it. 10,000 entries are looked at for one page: with \
             a filter that few pass, it may be short or empty, and have a next one all the same.",
        )
        .query::<Holder>("principal", "Of this one: `operator` or `token` and its id, or what it was called.")
        .query_of("action", "Of this method and route, such as `DELETE /users/{id}`.", reference::<Subject>())
        .query_of("object", "About this: `user`, `operator` or `token` and its id.", reference::<Subject>())
        .query::<Time>("since", "Recorded then or later.")
        .page()
        .gives_list::<AuditRow>("What was done.", examples::audit_row())
        .with("Link")
}

fn listing<T: ToSchema>(tag: &str, id: &str, summary: &str, example: Value) -> Operation {
    administering(tag, id, summary).gives_list::<T>("All of them.", example)
}

fn adding<T: ToSchema>(tag: &str, id: &str, summary: &str, example: Value) -> Operation {
    administering(tag, id, summary).json::<T>(example)
}

fn removing<T: ToSchema>(tag: &str, id: &str, summary: &str) -> Operation {
    administering(tag, id, summary).id::<T>().gives_nothing(StatusCode::NO_CONTENT, "Done.")
}

fn administering(tag: &str, id: &str, summary: &str) -> Operation {
    Operation::new(tag, id, summary).role(Role::Admin).fails(&[failures::no_such_route])
}

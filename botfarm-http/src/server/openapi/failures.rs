//! Every failure that the document speaks of, with an example: made by the very type that answers it, so that status and
//! code are the service's own.

use std::{collections::BTreeMap, time::Duration};

use botfarm_core::{BotId, Condition, EndReason, Env, Field, Holder, Note, Timestamp};
use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema as _, ToSchema as _,
    openapi::{
        ContentBuilder, Discriminator, OneOfBuilder, Ref, RefOr, ResponseBuilder, Schema, example::ExampleBuilder,
    },
};

use super::parts::{Schemas, with_header};
use crate::wire::{Code, Oldest, Problem, Time};

/// A failure, by an example of it.
pub(super) type ProblemExample = fn() -> Problem;

macro_rules! failures {
    ($($name:ident: $code:expr, $detail:literal;)+) => {
        $(
            pub(super) fn $name() -> Problem {
                Problem::new($code, $detail)
            }
        )+

        const ALL: &[ProblemExample] = &[$($name),+];
    };
}

failures! {
    malformed: Code::Malformed, "the id in the path must be a UUID";
    login_taken: Code::LoginTaken { login: "ada@example.com".parse().expect("is a login"), env: Env::STAGE },
        "the env stage has an account with the login ada@example.com already";
    unauthenticated: Code::Unauthenticated,
        "say who you are: log in, or send an API token in the header Authorization: Bearer bf_…";
    forbidden: Code::Forbidden, "this needs the role admin; yours is tester";
    not_holder: Code::NotHolder { user_id: user(), holder: holder() },
        "only the holder (nightly) or an admin may release this user";
    no_such_user: Code::NoSuchUser { user_id: user() }, "there is no user with this id";
    no_such_lease: Code::NoSuchLease, "there is no such lease";
    no_such_operator: Code::NoSuchOperator, "there is no operator with this id";
    no_such_token: Code::NoSuchToken, "there is no API token with this id";
    no_such_route: Code::NoSuchRoute,
        "this service asks nobody who they are; start it with authentication on";
    busy: Code::Busy {
        user_id: user(),
        holder: Some(holder()),
        since: Some(at()),
        expires_at: Some(at()),
        condition: Condition::Ready,
    }, "the user is held by nightly";
    exhausted: Code::Exhausted {
        selector: 0,
        matching: 3,
        leased: 3,
        cooling: 0,
        out_of_service: 0,
        place: Some(2),
        waiting: 4,
        oldest: Some(Oldest { holder: holder(), since: at() }),
        retry_after_seconds: Duration::from_secs(5).into(),
    }, "all 3 users that match are leased; nightly has held one for the longest";
    in_use: Code::InUse { user_id: user(), holder: holder(), expires_at: at() }, "the user is held by nightly";
    lease_lost: Code::LeaseLost {
        reason: EndReason::Revoked,
        ended_at: at(),
        by: Some(holder()),
        note: Some(Note::try_from("needed for the release").expect("is a note")),
    }, "the lease was revoked by nightly: needed for the release";
    too_large: Code::TooLarge, "the body must have at most 1048576 bytes";
    unsupported_media_type: Code::UnsupportedMediaType,
        "the body must be JSON; send the header Content-Type: application/json";
    invalid: Code::Invalid { errors: vec![botfarm_core::Fault::new(Field::Env, "must be one of prod, preprod, stage").into()] },
        "/env must be one of prod, preprod, stage";
    no_match: Code::NoMatch { selector: 0 }, "no user could ever match env=prod";
    key_reused: Code::KeyReused,
        "this idempotency key was used for another request; use a new key for a new request";
    outcome_unknown: Code::OutcomeUnknown, "it is not known whether this change was made";
    too_many_requests: Code::TooManyRequests { retry_after_seconds: Duration::from_secs(30).into() },
        "there were too many failed logins for this login or from this address; try again in 30 s";
    unavailable: Code::Unavailable { retry_after_seconds: Duration::from_secs(1).into() },
        "the service is about to stop";
    internal: Code::Internal, "the service failed unexpectedly; its log has the details";
}

fn user() -> BotId {
    "01931f6e-7a3c-7c44-9c1b-5d2f7a1e0b42".parse().expect("is a UUID")
}

fn holder() -> Holder {
    "nightly".parse().expect("is a name")
}

fn at() -> Time {
    Time(Timestamp::UNIX_EPOCH + Duration::from_secs(1_767_323_045))
}

/// Its stable code, as the wire has it.
fn code(problem: &Problem) -> String {
    json!(problem)["code"].as_str().unwrap_or_default().to_owned()
}

/// What the document calls it: `LoginTakenProblem`.
fn schema_name(code: &str) -> String {
    let word = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    code.split('-').map(word).collect::<String>() + "Problem"
}

/// The answers to these failures, by status. One status may stand for several.
pub(super) fn answers(failures: &[ProblemExample]) -> BTreeMap<u16, ResponseBuilder> {
    let mut by_status: BTreeMap<u16, BTreeMap<String, Problem>> = BTreeMap::new();
    for problem in failures.iter().map(|failure| failure()) {
        by_status.entry(problem.status).or_default().insert(code(&problem), problem);
    }
    by_status.into_iter().map(|(status, problems)| (status, answer(problems))).collect()
}

fn answer(problems: BTreeMap<String, Problem>) -> ResponseBuilder {
    let names = problems.keys().map(|code| (code.clone(), Ref::from_schema_name(schema_name(code))));
    let schema: RefOr<Schema> = match &names.clone().collect::<Vec<_>>()[..] {
        [(_, only)] => only.clone().into(),
        several => {
            let mapping = several.iter().map(|(code, schema)| (code.clone(), schema.ref_location.clone()));
            let discriminator = Discriminator::with_mapping("code", mapping);
            let one_of = OneOfBuilder::new().discriminator(Some(discriminator));
            several.iter().fold(one_of, |one_of, (_, schema)| one_of.item(schema.clone())).into()
        }
    };
    let codes: Vec<_> = names.map(|(code, _)| format!("`{code}`")).collect();
    let retry = problems.values().any(|problem| problem.code.retry_after().is_some());
    let asks = problems.values().any(|problem| matches!(problem.code, Code::Unauthenticated));
    let examples = problems.into_iter().map(|(code, problem)| {
        let summary = problem.detail.clone();
        (code, ExampleBuilder::new().summary(summary).value(Some(json!(problem))).build())
    });
    let content = ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples).build();
    let mut answer = ResponseBuilder::new().description(codes.join(", ")).content("application/problem+json", content);
    if retry {
        answer = with_header(answer, "Retry-After");
    }
    if asks {
        answer = with_header(answer, "WWW-Authenticate");
    }
    answer
}

/// The schemas that those of the failures refer to.
pub(super) fn parts() -> Schemas {
    let mut parts = Schemas::new();
    Code::schemas(&mut parts);
    parts
}

/// A schema for each failure: what every problem has, and what this one has besides.
pub(super) fn schemas() -> Map<String, Value> {
    let (problem, variants) = (json!(Problem::schema()), json!(Code::schema()));
    let common = problem["allOf"].as_array().into_iter().flatten().find_map(|part| part["properties"].as_object());
    let variants = variants["oneOf"].as_array().cloned().unwrap_or_default();
    let mut schemas = Map::new();
    for example in ALL.iter().map(|failure| failure()) {
        let code = code(&example);
        let of = |variant: &&Value| variant["properties"]["code"]["enum"][0] == code.as_str();
        let Some(variant) = variants.iter().find(of) else { continue };
        let mut properties = common.cloned().unwrap_or_default();
        properties.extend(variant["properties"].as_object().cloned().unwrap_or_default());
        properties["status"] = json!({"type": "integer", "enum": [example.status], "description": "The HTTP status."});
        let description = variant["description"].clone();
        let schema = json!({"type": "object", "description": description, "properties": properties});
        schemas.insert(schema_name(&code), schema);
    }
    schemas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_documented() {
        let variants = json!(Code::schema());
        let codes: Vec<_> = variants["oneOf"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["properties"]["code"]["enum"][0].clone())
            .collect();
        let mut missing = codes.clone();
        missing.retain(|code| *code != "method-not-allowed");
        missing.retain(|code| !schemas().contains_key(&schema_name(code.as_str().unwrap())));
        assert!(codes.len() > 20 && missing.is_empty(), "{missing:?}");
    }
}

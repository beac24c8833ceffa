//! JSON Schemas of the values that go over a wire, for those who describe an API: what a schema allows is what the value
//! takes.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        KnownFormat, Object, ObjectBuilder, RefOr, Schema, SchemaFormat,
        schema::{AdditionalProperties, Type},
    },
};

use crate::{
    bot::ImportReport,
    condition::BotState,
    condition::Condition,
    ending::EndReason,
    ending::Outcome,
    id::EntryId,
    id::{BotId, Fence, LeaseId},
    labels::Labels,
    name::{self, Domain, Env, ProjectId},
    operators::{self, OperatorId, TokenId},
    secret::Secret,
    text::{Alias, Holder, JobUrl, Login, Note, Owner, RequestId, Run, StickyKey, Subject},
};

/// What [`is_control`](crate::text::is_control) means, within a character class.
macro_rules! control {
    () => {
        r"\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
    };
}

/// What [`char::is_whitespace`] means, apart from control characters, within a character class.
macro_rules! blank {
    () => {
        r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
    };
}

/// No control characters, and not just blanks.
const LINE: &str = concat!("^[^", control!(), "]*[^", control!(), blank!(), "][^", control!(), "]*$");

/// The same, with line breaks and tabs allowed.
const LINES: &str = concat!(
    r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]*[^",
    control!(),
    blank!(),
    r"][^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]*$"
);

const URL: &str = concat!("^https?://[^/?#@", control!(), blank!(), "]+([/?#][^", control!(), blank!(), "]*)?$");

/// As [`LINE`], without `:`, `=` and `,`.
const LABEL_KEY: &str = concat!("^[^:=,", control!(), "]*[^:=,", control!(), blank!(), "][^:=,", control!(), "]*$");

/// As [`LINE`], or nothing.
const LABEL_VALUE: &str = concat!("^([^", control!(), "]*[^", control!(), blank!(), "][^", control!(), "]*)?$");

/// One label of a user as `key:value`, for lists that are narrowed by it: a regular expression.
pub const LABEL: &str = concat!(
    "^(?=[^:]*[^:",
    blank!(),
    "])[^:=,",
    control!(),
    "]{1,64}:((?=[^",
    control!(),
    "]*[^",
    control!(),
    blank!(),
    "])[^",
    control!(),
    "]{1,256})?$"
);

/// A name. What has capitals is taken, and folded.
const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9._-]*$";

/// Gives a type its schema, under the name that it has in a document.
macro_rules! schema {
    ($($type:ty as $name:literal => $schema:expr;)+) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                RefOr::T(Schema::Object($schema.build()))
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    )+};
}

schema! {
    Login as "Login" => text(320, LINE, "ada@example.com")
        .description(Some("The name that somebody logs in with. Two that differ in case alone are the same."));
    Holder as "Holder" => text(200, LINE, "checkout tests, shard 3")
        .description(Some("Who holds a lease, for people to read: a person, a test, a CI job."));
    Note as "Note" => text(2_000, LINES, "nightly run").description(Some("A remark. Line breaks are allowed."));
    JobUrl as "JobUrl" => text(2_000, URL, "https://ci.example.com/jobs/4711")
        .description(Some("Where to look, usually the CI job. Without a user name or password in it."));
    Alias as "Alias" => text(64, "^[A-Za-z0-9_-]+$", "buyer").description(Some("What a user is called within its lease."));
    Run as "Run" => text(200, LINE, "GitHub acme/shop 9001/1")
        .description(Some("What a lease is a part of: a CI run, a test session."));
    StickyKey as "StickyKey" => text(200, LINE, "checkout/3")
        .description(Some("Asks for the users last leased with the same key, if they are free."));
    Owner as "Owner" => text(200, LINE, "token 01931f6e-7a3c-7c44-9c1b-5d2f7a1e0b42")
        .description(Some("A caller whom the service knew: `operator` or `token`, and its id."));
    Subject as "Subject" => text(200, LINE, "DELETE /users/{id}")
        .description(Some("What was done, to what, or with which result."));
    EntryId as "EntryId" => uuid("01931f6e-7a3c-7c44-9c1b-5d2f7a1e0b43")
        .description(Some("Which entry of the audit trail. Later ones are greater."));
    RequestId as "RequestId" => text(128, "^[A-Za-z0-9._-]+$", "b1c9d2f0-5c1e-4d57-8d21-000000000007")
        .description(Some("The `X-Request-Id` of a request. The service's log says more of it."));
    Secret as "Password" => text(1_024, r"^[^\u0000]*$", "an-example-of-a-password")
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Password)))
        .description(Some("A password. It is in leases, and nowhere else."));
    BotId as "UserId" => uuid("01931f6e-7a3c-7c44-9c1b-5d2f7a1e0b42").description(Some("Which user."));
    ProjectId as "ProjectId" => text(name::LONGEST, NAME, "0b7e6f9a-4a53-4d0e-9a51-2f5f5c1d7a11")
        .description(Some("Which project: a name, or a UUID. Capitals are folded."));
    LeaseId as "LeaseId" => uuid("6f1c2a52-8f0e-4b53-9d5e-0c6b1f6f3e77")
        .description(Some("Which lease. Whoever has it may renew and release the lease: keep it to yourself."));
    OperatorId as "OperatorId" => uuid("5f0d2c1e-58a3-4d8e-8f0a-3f9b6d6f2a10").description(Some("Which operator."));
    TokenId as "TokenId" => uuid("b1d7a1de-9a0f-4a51-8c59-7b2a4b0f6c33")
        .description(Some("Which API token. Not a secret."));
    Fence as "Fence" => ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .examples([7])
        .description(Some("Grows at every hand-out of a user: of two holders, the one with the larger is current."));
    Labels as "Labels" => labels();
    Env as "Env" => text(name::LONGEST, NAME, "stage")
        .description(Some("Which installation of the system under test: a name. Capitals are folded."));
    Domain as "Domain" => text(name::LONGEST, NAME, "canary")
        .description(Some("Which kind of account: a name. Capitals are folded."));
    Condition as "Condition" => words(Condition::ALL, Condition::as_str)
        .description(Some("Whether a user is fit for use: `dirty` when a test has changed it, `broken` when it is of no use."));
    BotState as "State" => words(BotState::ALL, BotState::as_str)
        .description(Some("What the farm is doing with a user: `cooling` when it rests after its last lease."));
    Outcome as "Outcome" => words(Outcome::ALL, Outcome::as_str).description(Some("In what state users are left."));
    EndReason as "EndReason" => words(EndReason::ALL, EndReason::as_str).description(Some("How a lease ended."));
    operators::Role as "Role" => words(operators::Role::ALL, operators::Role::as_str).description(Some(
        "A `viewer` reads; a `tester` also leases; an `admin` also writes users, revokes leases, and looks after \
         operators and tokens.",
    ));
    ImportReport as "ImportReport" => ObjectBuilder::new()
        .property("created", count().description(Some("Users that the farm did not have.")))
        .property("updated", count().description(Some("Users that it had, with something else about them.")))
        .property("unchanged", count().description(Some("Users that it had just so.")))
        .description(Some("What an import did, or would do."));
}

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn text(max: usize, pattern: &str, example: &str) -> ObjectBuilder {
    string().min_length(Some(1)).max_length(Some(max)).pattern(Some(pattern)).examples([example])
}

fn uuid(example: &str) -> ObjectBuilder {
    string().format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid))).examples([example])
}

fn count() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(0))
}

fn words<T: Copy>(all: &[T], word: impl Fn(T) -> &'static str) -> ObjectBuilder {
    string().enum_values(Some(all.iter().map(|one| word(*one))))
}

fn labels() -> ObjectBuilder {
    let key: Object = string().min_length(Some(1)).max_length(Some(64)).pattern(Some(LABEL_KEY)).build();
    let value: Object = string().max_length(Some(256)).pattern(Some(LABEL_VALUE)).build();
    ObjectBuilder::new()
        .property_names(Some(Schema::Object(key)))
        .additional_properties(Some(AdditionalProperties::RefOr(RefOr::T(Schema::Object(value)))))
        .max_properties(Some(64))
        .examples([serde_json::json!({"plan": "pro"})])
        .description(Some("What else is known of a user. Keys are without `:`, `=` and `,`."))
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    /// The longest text that a schema allows is taken, and a longer one is not.
    fn is_as_long_as_the_schema_says<T>()
    where
        T: PartialSchema + Debug + for<'t> TryFrom<&'t str, Error: Debug>,
    {
        let RefOr::T(Schema::Object(schema)) = T::schema() else { panic!("is a schema of its own") };
        let (min, max) = (schema.min_length.unwrap(), schema.max_length.unwrap());
        let head = if schema.pattern.as_deref() == Some(URL) { "http://" } else { "" };
        let text = |length: usize| head.to_owned() + &"x".repeat(length - head.len());
        assert_eq!(min, 1);
        assert!(T::try_from("").is_err());
        T::try_from(&text(max)).unwrap();
        assert!(T::try_from(&text(max + 1)).is_err(), "{max}");
        T::try_from(schema.examples[0].as_str().unwrap()).unwrap();
    }

    #[test]
    fn texts_are_as_long_as_their_schemas_say() {
        is_as_long_as_the_schema_says::<Login>();
        is_as_long_as_the_schema_says::<Holder>();
        is_as_long_as_the_schema_says::<Note>();
        is_as_long_as_the_schema_says::<JobUrl>();
        is_as_long_as_the_schema_says::<Alias>();
        is_as_long_as_the_schema_says::<ProjectId>();
        is_as_long_as_the_schema_says::<Env>();
        is_as_long_as_the_schema_says::<Domain>();
        is_as_long_as_the_schema_says::<Run>();
        is_as_long_as_the_schema_says::<StickyKey>();
        is_as_long_as_the_schema_says::<Owner>();
        is_as_long_as_the_schema_says::<RequestId>();
        is_as_long_as_the_schema_says::<Subject>();
        is_as_long_as_the_schema_says::<Secret>();
    }

    #[test]
    fn the_character_classes_are_those_of_the_checks() {
        let listed = |class: &str| {
            let mut chars = Vec::new();
            let mut rest = class;
            while let Some(first) = rest.chars().next() {
                let (from, after) = one(rest, first);
                let (to, after) = match after.strip_prefix('-') {
                    Some(range) => one(range, '\\'),
                    None => (from, after),
                };
                chars.extend(from..=to);
                rest = after;
            }
            chars
        };
        let all = || '\0'..=char::MAX;
        assert_eq!(listed(control!()), all().filter(|c| crate::text::is_control(*c)).collect::<Vec<_>>());
        let blank: Vec<_> = all().filter(|c| c.is_whitespace() && !c.is_control()).collect();
        assert_eq!(listed(blank!()), blank);
    }

    /// One character, written plainly or as `\uXXXX`, and what follows.
    fn one(text: &str, first: char) -> (char, &str) {
        if first != '\\' {
            return (first, &text[first.len_utf8()..]);
        }
        let code = u32::from_str_radix(&text[2..6], 16).unwrap();
        (char::from_u32(code).unwrap(), &text[6..])
    }
}

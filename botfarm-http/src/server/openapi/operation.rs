//! What a route takes and gives.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use botfarm_core::operators::Role;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::{
    ToSchema,
    openapi::{
        ArrayBuilder, ContentBuilder, ObjectBuilder, Ref, RefOr, Required, ResponseBuilder, Schema,
        extensions::ExtensionsBuilder,
        path::{OperationBuilder, ParameterBuilder, ParameterIn, ParameterStyle},
        request_body::RequestBodyBuilder,
        schema::Type,
        security::SecurityRequirement,
    },
};

use crate::server::openapi::{
    failures::{self, ProblemExample},
    parts::{Schemas, with_header, with_headers_of_all},
};

/// What a route takes and gives.
pub(crate) struct Operation {
    inner: OperationBuilder,
    body: Option<RequestBodyBuilder>,
    /// By status.
    answers: BTreeMap<u16, ResponseBuilder>,
    /// The status of the answer described last.
    last: u16,
    failures: Vec<ProblemExample>,
    /// Whether it says so when it waited as preferred.
    waits: bool,
    schemas: Schemas,
}

impl Operation {
    /// `id` is what generated clients call it.
    pub(super) fn new(tag: &str, id: &str, summary: &str) -> Self {
        let inner = OperationBuilder::new()
            .tag(tag)
            .operation_id(Some(id))
            .summary(Some(summary))
            .parameter_ref(Ref::new("#/components/parameters/X-Request-Id"));
        let (answers, schemas) = (BTreeMap::new(), Vec::new());
        Self { inner, body: None, answers, last: 0, failures: vec![failures::internal], waits: false, schemas }
    }

    pub(super) fn about(mut self, description: &str) -> Self {
        self.inner = self.inner.description(Some(description));
        self
    }

    /// The least role of who may call it.
    pub(super) fn role(mut self, least: Role) -> Self {
        let least = ExtensionsBuilder::new().add("x-role", least.as_str()).build();
        self.inner = self.inner.extensions(Some(least));
        for scheme in ["bearer", "login", "cookie"] {
            self.inner = self.inner.security(SecurityRequirement::new(scheme, [] as [&str; 0]));
        }
        // Also a viewer is, where nobody is asked who they are, when the page of another site asks.
        self.fails(&[
            failures::unauthenticated,
            failures::forbidden,
            failures::unavailable,
            failures::too_many_requests,
        ])
    }

    /// The id in the path.
    pub(super) fn id<T: ToSchema>(self) -> Self {
        self.parameter("id", ParameterIn::Path, "", reference::<T>()).schema::<T>().fails(&[failures::malformed])
    }

    /// The name in the path.
    pub(super) fn named<T: ToSchema>(self, name: &str) -> Self {
        self.parameter(name, ParameterIn::Path, "", reference::<T>()).schema::<T>().fails(&[failures::malformed])
    }

    pub(super) fn query<T: ToSchema>(self, name: &str, description: &str) -> Self {
        self.query_of(name, description, reference::<T>()).schema::<T>()
    }

    pub(super) fn query_of(self, name: &str, description: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        self.parameter(name, ParameterIn::Query, description, schema).fails(&[failures::invalid])
    }

    pub(super) fn header(self, name: &str, description: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        self.parameter(name, ParameterIn::Header, description, schema)
    }

    /// The same key gives the same answer.
    pub(super) fn idempotent(self, about: &str) -> Self {
        let key = text().min_length(Some(1)).max_length(Some(255));
        self.header("Idempotency-Key", about, key).fails(&[failures::invalid, failures::key_reused])
    }

    /// Done once, however often it is asked for.
    pub(super) fn once(self) -> Self {
        self.idempotent("The same key gives the same answer for ten minutes: so asking again is safe.").fails(&[
            failures::malformed,
            failures::too_large,
            failures::outcome_unknown,
        ])
    }

    /// How long to wait may also be said in a header.
    pub(super) fn prefers_wait(self) -> Self {
        let about = "`wait=N` is another way to say `wait_seconds`. Whatever else is preferred is ignored.";
        Self { waits: true, ..self.header("Prefer", about, text().examples(["wait=60"])) }
    }

    fn parameter(
        mut self,
        name: &str,
        place: ParameterIn,
        description: &str,
        schema: impl Into<RefOr<Schema>>,
    ) -> Self {
        let required = if place == ParameterIn::Path { Required::True } else { Required::False };
        let schema = schema.into();
        let is_list = matches!(schema, RefOr::T(Schema::Array(_)));
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(required)
            .description((!description.is_empty()).then_some(description))
            .schema(Some(schema))
            .style(is_list.then_some(ParameterStyle::Form))
            .explode(is_list.then_some(true));
        self.inner = self.inner.parameter(parameter);
        self
    }

    /// Which page of a list.
    pub(super) fn page(self) -> Self {
        let limit = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(1_000));
        self.query_of("limit", "How many items a page has at most. 100 unless given with a cursor.", limit)
            .query_of("cursor", "Where the page begins: as in the link to it.", text())
            .fails(&[failures::malformed])
    }

    /// A JSON body.
    pub(super) fn json<T: ToSchema>(self, example: Value) -> Self {
        self.body_of("application/json", reference::<T>(), example).schema::<T>()
    }

    /// A body of this kind; of several kinds one is sent.
    pub(super) fn body_of(mut self, kind: &str, schema: impl Into<RefOr<Schema>>, example: Value) -> Self {
        let body = self.body.take().unwrap_or_else(|| RequestBodyBuilder::new().required(Some(Required::True)));
        let content = ContentBuilder::new().schema(Some(schema)).example(Some(example)).build();
        self.body = Some(body.content(kind, content));
        self.fails(&[failures::malformed, failures::too_large, failures::unsupported_media_type, failures::invalid])
    }

    /// The body may be missing.
    pub(super) fn optional(mut self) -> Self {
        self.body = self.body.take().map(|body| body.required(Some(Required::False)));
        self
    }

    /// An answer in JSON.
    pub(super) fn gives<T: ToSchema>(self, status: StatusCode, about: &str, example: impl Serialize) -> Self {
        self.gives_of("application/json", status, about, reference::<T>(), json!(example)).schema::<T>()
    }

    /// A JSON array.
    pub(super) fn gives_list<T: ToSchema>(self, about: &str, example: impl Serialize) -> Self {
        let list = ArrayBuilder::new().items(reference::<T>());
        self.gives_of("application/json", StatusCode::OK, about, list, json!([example])).schema::<T>()
    }

    /// An answer of this kind.
    pub(super) fn gives_of(
        mut self,
        kind: &str,
        status: StatusCode,
        about: &str,
        schema: impl Into<RefOr<Schema>>,
        example: Value,
    ) -> Self {
        let content = ContentBuilder::new().schema(Some(schema)).example(Some(example)).build();
        self.answer(status, ResponseBuilder::new().description(about).content(kind, content));
        self
    }

    /// An answer without a body.
    pub(super) fn gives_nothing(mut self, status: StatusCode, about: &str) -> Self {
        self.answer(status, ResponseBuilder::new().description(about));
        self
    }

    fn answer(&mut self, status: StatusCode, answer: ResponseBuilder) {
        self.last = status.as_u16();
        self.answers.insert(self.last, with_headers_of_all(answer));
    }

    /// A header of the answer described last.
    pub(super) fn with(mut self, header: &str) -> Self {
        if let Some(answer) = self.answers.remove(&self.last) {
            self.answers.insert(self.last, with_header(answer, header));
        }
        self
    }

    pub(super) fn fails(mut self, failures: &[ProblemExample]) -> Self {
        self.failures.extend(failures);
        self
    }

    fn schema<T: ToSchema>(mut self) -> Self {
        self.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
        self
    }

    /// The finished description, and the schemas that it refers to.
    pub(super) fn build(self) -> (utoipa::openapi::path::Operation, Schemas) {
        let Self { inner, body, mut answers, failures, waits, schemas, .. } = self;
        for (status, answer) in failures::answers(&failures) {
            answers.insert(status, with_headers_of_all(answer));
        }
        let mut inner = inner.request_body(body.map(RequestBodyBuilder::build));
        for (status, mut answer) in answers {
            if waits && (status < 300 || status == 409) {
                answer = with_header(answer, "Preference-Applied");
            }
            inner = inner.response(status.to_string(), answer);
        }
        (inner.build(), schemas)
    }
}

pub(super) fn reference<T: ToSchema>() -> Ref {
    Ref::from_schema_name(T::name())
}

pub(super) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

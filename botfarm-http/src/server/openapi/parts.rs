//! What descriptions are put together from.

use utoipa::openapi::{Ref, RefOr, ResponseBuilder, Schema};

/// Schemas by name.
pub(super) type Schemas = Vec<(String, RefOr<Schema>)>;

pub(super) fn with_header(answer: ResponseBuilder, name: &str) -> ResponseBuilder {
    answer.header_ref(name, Ref::new(format!("#/components/headers/{name}")))
}

/// With the headers that every answer has.
pub(super) fn with_headers_of_all(answer: ResponseBuilder) -> ResponseBuilder {
    with_header(with_header(answer, "X-Request-Id"), "Botfarm-Version")
}

//! The OpenAPI document, and with the feature `docs` a page to read and try it.

use std::sync::OnceLock;

use axum::{
    Json, Router,
    body::Bytes,
    http::{HeaderMap, Method, header},
    response::{IntoResponse as _, Redirect, Response},
    routing::get,
};
use serde_json::json;

use super::{
    App, BASE,
    openapi::{Description, Document},
};

/// `/openapi.json`; Swagger UI at `/docs` and `/swagger`.
pub(super) fn router(described: Vec<(Method, String, Description)>) -> Router<App> {
    // The same for every service, and of no use to most: made when somebody first asks.
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    let router = Router::new().route("/", get(root)).route(
        "/openapi.json",
        get(async move || {
            let document = DOCUMENT.get_or_init(|| {
                let mut document = Document::default();
                for (method, path, description) in described {
                    document.add(&method, &path, description());
                }
                document.finish().to_string().into()
            });
            ([(header::CONTENT_TYPE, "application/json")], document.clone()).into_response()
        }),
    );
    #[cfg(feature = "docs")]
    let router = router.merge(swagger::router());
    router
}

/// Where things are. Whoever asks with a browser is sent to the page about it.
async fn root(headers: HeaderMap) -> Response {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let is_browser = accepted.flat_map(|value| value.split([',', ';'])).any(|kind| kind.trim() == "text/html");
    if cfg!(feature = "docs") && is_browser {
        // Relative, so that it also holds behind a proxy that serves all of this under a path.
        return Redirect::to("docs/").into_response();
    }
    let mut links = json!({
        "service": "botfarm", "api": BASE, "openapi": "/openapi.json", "health": "/health", "metrics": "/metrics",
    });
    if cfg!(feature = "docs") {
        links["docs"] = "/docs".into();
    }
    Json(links).into_response()
}

#[cfg(feature = "docs")]
mod swagger {
    use std::{
        borrow::Cow,
        sync::{Arc, LazyLock},
    };

    use axum::{
        Router,
        body::Bytes,
        extract::Path,
        http::{HeaderName, HeaderValue, Uri, header},
        response::{IntoResponse as _, Redirect, Response},
        routing::get,
    };
    use utoipa_swagger_ui::Config;

    use super::super::{App, refusal};

    /// The page runs its own scripts alone, and talks to this service alone. Swagger UI sets styles on its elements,
    /// and has its icons in the style sheet.
    const POLICY: (HeaderName, HeaderValue) = (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
        ),
    );

    /// No validator: it would send the document to another site.
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
        let config = Config::from("../openapi.json")
            .validator_url("none")
            .use_base_layout()
            .display_request_duration(true)
            .default_models_expand_depth(0)
            .persist_authorization(false);
        Arc::new(config)
    });

    pub(super) fn router() -> Router<App> {
        let mut router = Router::new();
        for (path, folder) in [("/docs", "docs/"), ("/swagger", "swagger/")] {
            // Relative, so that it also holds behind a proxy that serves all of this under a path.
            router = router
                .route(path, get(async move || Redirect::permanent(folder)))
                .route(&format!("{path}/"), get(async move |uri| named(Path("index.html".to_owned()), uri).await))
                .route(&format!("{path}/{{file}}"), get(named));
        }
        router
    }

    async fn named(Path(name): Path<String>, uri: Uri) -> Response {
        match file(&name) {
            Some(file) => file,
            None => refusal::no_such_route(uri).await.into_response(),
        }
    }

    fn file(name: &str) -> Option<Response> {
        // Of an error, which is not `Send`, there is nothing to tell.
        let file = utoipa_swagger_ui::serve(name, CONFIG.clone()).ok().flatten()?;
        // They are in the binary, and answered from there: many who read slowly share them.
        let bytes = match file.bytes {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => bytes.into(),
        };
        Some(([(header::CONTENT_TYPE, file.content_type)], [POLICY], bytes).into_response())
    }

    #[cfg(test)]
    mod tests {
        use http_body_util::BodyExt as _;

        use super::*;

        #[tokio::test]
        async fn answers_share_the_bytes_of_a_file() {
            let read = async || file("swagger-ui-bundle.js").unwrap().into_body().collect().await.unwrap().to_bytes();
            let (one, other) = (read().await, read().await);
            assert!(one.len() > 1_000_000, "{}", one.len());
            assert_eq!(one.as_ptr(), other.as_ptr());
        }
    }
}

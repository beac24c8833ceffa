//! The OpenAPI document: what it says is compared with every request and answer of every test.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

use axum::{
    body::Body,
    http::{HeaderMap, Method, Request, Uri, header},
};
use botfarm_http::{Options, router};
use botfarm_memory::MemoryFarm;
use http_body_util::BodyExt as _;
use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;
use tower::ServiceExt as _;

use crate::service::{Answer, Rest};

/// Headers that must not be answered without being documented.
const HEADERS: [&str; 7] =
    ["location", "link", "retry-after", "preference-applied", "set-cookie", "www-authenticate", "x-request-id"];

/// The document, and the checks that it gives rise to.
#[derive(Debug)]
pub(crate) struct Document {
    whole: Value,
    /// Its schemas, closed: an answer with a field that they do not know does not pass.
    schemas: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// What was asked.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    /// `None` when it was not known beforehand.
    pub(crate) body: Option<Vec<u8>>,
}

impl Document {
    /// As the service gives it out.
    pub(crate) async fn get() -> &'static Self {
        static DOCUMENT: OnceCell<Document> = OnceCell::const_new();
        DOCUMENT.get_or_init(Self::fetch).await
    }

    async fn fetch() -> Self {
        let router = router(Arc::new(MemoryFarm::new()), Options::default());
        let response = router.oneshot(Request::get("/openapi.json").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let whole: Value = serde_json::from_slice(&body).unwrap();
        let mut schemas = whole["components"]["schemas"].clone();
        close(&mut schemas, false);
        Self { whole, schemas, validators: Mutex::default() }
    }

    /// The methods of every path.
    pub(crate) fn routes(&self) -> impl Iterator<Item = (&str, &str, &Value)> {
        let paths = self.whole["paths"].as_object().unwrap().iter();
        paths.flat_map(|(path, item)| {
            item.as_object().unwrap().iter().map(move |(method, it)| (path.as_str(), method.as_str(), it))
        })
    }

    /// Panics when a request should not have succeeded by the document, or an answer is not as documented.
    pub(crate) fn check(&self, asked: &Asked, answer: &Answer) {
        let path = asked.uri.path().trim_end_matches('/');
        if path.is_empty() || ["/openapi.json", "/docs", "/swagger"].iter().any(|page| path.starts_with(page)) {
            return;
        }
        let what = format!("{} {}: {}", asked.method, asked.uri.path(), answer.status);
        let Some((route, item)) = self.route(path) else {
            assert_eq!(answer.status, 404, "{what}: there is no such path in the document");
            return;
        };
        let method = asked.method.as_str().to_ascii_lowercase();
        let Some(operation) = item.get(if method == "head" { "get" } else { &method }) else {
            let is_preflight = method == "options" && answer.status == 200;
            assert!(is_preflight || answer.status == 405, "{what}: there is no such method in the document");
            return;
        };
        let status = answer.status.as_str();
        let documented = &operation["responses"][status];
        assert!(documented.is_object(), "{what}: the document does not speak of this status");
        for name in HEADERS.into_iter().filter(|name| answer.headers.contains_key(*name)) {
            let mut names = documented["headers"].as_object().into_iter().flat_map(Map::keys);
            assert!(names.any(|known| known.eq_ignore_ascii_case(name)), "{what}: the header {name} is not documented");
        }
        if answer.status.is_success() {
            self.check_request(asked, route, &method, operation);
        }
        self.check_body(asked, answer, &format!("{route} {method} {status}"), &documented["content"], &what);
    }

    fn check_body(&self, asked: &Asked, answer: &Answer, key: &str, content: &Value, what: &str) {
        if answer.body.is_empty() {
            assert!(content.is_null() || asked.method == Method::HEAD, "{what}: the body is missing");
            return;
        }
        // What has been compressed is of no interest here.
        if answer.headers.contains_key(header::CONTENT_ENCODING) {
            return;
        }
        let kind = answer.header(header::CONTENT_TYPE).unwrap_or_default().split(';').next().unwrap_or_default();
        let schema = &content[kind]["schema"];
        assert!(schema.is_object(), "{what}: the document has no body of the kind {kind:?}");
        if kind.ends_with("json") {
            self.validate(key, schema, &answer.json(), what);
        }
    }

    /// What the service took must be what the document says that it takes.
    fn check_request(&self, asked: &Asked, route: &str, method: &str, operation: &Value) {
        let what = format!("{} {} was taken", asked.method, asked.uri.path());
        let known: BTreeSet<_> = operation["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        for pair in asked.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let name = pair.split('=').next().unwrap_or_default();
            let is_read = !known.is_empty();
            assert!(!is_read || known.contains(name), "{what} with {name}, which the document does not know");
        }
        let Some(body) = asked.body.as_ref().filter(|body| !body.is_empty()) else { return };
        let kind = asked.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default();
        let schema = &operation["requestBody"]["content"][kind]["schema"];
        if kind == "application/json" && !operation["requestBody"].is_null() {
            self.validate(&format!("{route} {method} body"), schema, &serde_json::from_slice(body).unwrap(), &what);
        }
    }

    /// The path of the document that this one is, and what is there.
    fn route(&self, path: &str) -> Option<(&str, &Value)> {
        let paths = self.whole["paths"].as_object()?;
        let parts: Vec<_> = path.split('/').collect();
        let matches = |route: &str| {
            let route: Vec<_> = route.split('/').collect();
            route.len() == parts.len() && route.iter().zip(&parts).all(|(a, b)| a == b || a.starts_with('{'))
        };
        let exact = paths.get_key_value(path);
        let found = exact.or_else(|| paths.iter().find(|(route, _)| matches(route)));
        found.map(|(route, item)| (route.as_str(), item))
    }

    fn validate(&self, key: &str, schema: &Value, value: &Value, what: &str) {
        let known = self.validators.lock().unwrap().get(key).cloned();
        let validator = known.unwrap_or_else(|| {
            let mut schema = schema.clone();
            close(&mut schema, false);
            schema["components"] = json!({"schemas": self.schemas});
            let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
            let validator = Arc::new(options.build(&schema).unwrap());
            self.validators.lock().unwrap().insert(key.to_owned(), validator.clone());
            validator
        });
        // Without the values: one may be a password.
        let faults: Vec<_> = validator
            .iter_errors(value)
            // A farm may have limits of its own, which the service does not know.
            .filter(|fault| fault.instance_path().as_str() != "/ttl_seconds")
            .map(|fault| {
                format!("{} at {:?} by {}", fault.kind().keyword(), fault.instance_path().as_str(), fault.schema_path())
            })
            .collect();
        assert!(faults.is_empty(), "{what}: not as in the document: {faults:#?}");
    }
}

/// Lets no field pass that a schema does not know.
fn close(schema: &mut Value, is_part: bool) {
    match schema {
        Value::Object(keys) => {
            for (key, inner) in keys.iter_mut() {
                for part in inner.as_array_mut().filter(|_| key == "allOf").into_iter().flatten() {
                    close(part, true);
                }
                if key != "allOf" {
                    close(inner, false);
                }
            }
            if keys.contains_key("$ref") && !is_part {
                keys.insert("unevaluatedProperties".to_owned(), json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| close(item, false)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_names_each_operation_once_and_says_what_it_is_for() {
    let document = Document::get().await;
    assert_eq!(document.whole["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for (path, method, operation) in document.routes() {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{id} stands for two operations");
        assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{method} {path}");
        let is_open = ["login", "get_health", "get_liveness", "get_readiness"].contains(&id);
        let schemes: Vec<_> = operation["security"].as_array().into_iter().flatten().collect();
        let expected =
            if is_open { vec![] } else { vec![json!({"bearer": []}), json!({"login": []}), json!({"cookie": []})] };
        assert_eq!(schemes, expected.iter().collect::<Vec<_>>(), "{id}");
        assert_eq!(operation["responses"]["401"].is_object(), id == "login" || !is_open, "{id}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(response["headers"]["X-Request-Id"].is_object(), "{id} {status}");
        }
    }
    assert!(ids.len() > 30, "{ids:?}");
}

#[tokio::test]
async fn every_example_is_as_its_schema_says() {
    let document = Document::get().await;
    let mut seen = 0;
    for (_, _, operation) in document.routes() {
        let id = operation["operationId"].as_str().unwrap();
        let responses = operation["responses"].as_object().unwrap();
        let bodies = responses.iter().map(|(status, response)| (status.as_str(), &response["content"]));
        for (part, content) in bodies.chain([("body", &operation["requestBody"]["content"])]) {
            for (kind, body) in content.as_object().into_iter().flatten() {
                let named =
                    body["examples"].as_object().into_iter().flat_map(Map::values).map(|example| &example["value"]);
                for example in named.chain(body.get("example")) {
                    seen += 1;
                    document.validate(
                        &format!("example {id} {part} {kind}"),
                        &body["schema"],
                        example,
                        &format!("{id} {part}"),
                    );
                }
            }
        }
    }
    assert!(seen > 150, "{seen}");
}

#[tokio::test]
async fn nothing_refers_to_what_is_not_there() {
    fn references<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
        match value {
            Value::Object(keys) => keys.iter().for_each(|(key, inner)| match inner {
                Value::String(target) if key == "$ref" => drop(found.insert(target)),
                inner => references(inner, found),
            }),
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = Document::get().await;
    let mut found = BTreeSet::new();
    references(&document.whole, &mut found);
    let dangling: Vec<_> =
        found.iter().filter(|target| document.whole.pointer(target.trim_start_matches('#')).is_none()).collect();
    assert!(found.len() > 40 && dangling.is_empty(), "{dangling:?}");
}

#[tokio::test]
async fn swagger_ui_is_at_both_its_paths_and_loads_nothing_from_elsewhere() {
    let rest = Rest::empty();
    for folder in ["/docs", "/swagger"] {
        let moved = rest.get(folder).await;
        let expected = format!("{}/", folder.trim_start_matches('/'));
        assert_eq!((moved.status.as_u16(), moved.header(header::LOCATION)), (308, Some(expected.as_str())));
        for (file, kind, has) in [
            ("", "text/html", "swagger-ui-bundle.js"),
            ("index.css", "text/css", ""),
            ("swagger-ui.css", "text/css", ""),
            ("swagger-ui-bundle.js", "text/javascript", ""),
            ("swagger-ui-standalone-preset.js", "text/javascript", ""),
            ("swagger-initializer.js", "text/javascript", "\"../openapi.json\""),
        ] {
            let answer = rest.get(&format!("{folder}/{file}")).await;
            let body = String::from_utf8(answer.body.clone()).unwrap();
            assert_eq!((answer.status.as_u16(), answer.header(header::CONTENT_TYPE)), (200, Some(kind)), "{file}");
            assert!(body.contains(has), "{file}");
            if file.is_empty() || file == "swagger-initializer.js" {
                assert!(!body.contains("//") || !body.contains("http"), "{body}");
                assert!(answer.header(header::CONTENT_SECURITY_POLICY).unwrap().starts_with("default-src 'self'"));
            }
        }
        let missing = rest.get(&format!("{folder}/missing.js")).await;
        assert_eq!(missing.failure(), (404, "no-such-route".to_owned()));
    }
}

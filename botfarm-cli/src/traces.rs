//! Traces of the service, for an OpenTelemetry collector: where the standard variables `OTEL_…` say one is.

use std::{env, time::Duration};

use async_trait::async_trait;
use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn},
    response::Response,
};
use opentelemetry::{
    KeyValue,
    propagation::TextMapPropagator as _,
    trace::{FutureExt as _, SpanKind, TracerProvider as _},
};
use opentelemetry_http::{Bytes, HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    propagation::TraceContextPropagator,
    trace::{SdkTracerProvider, SpanData, SpanExporter as Export},
};
use tokio::{runtime::Handle, task::spawn_blocking};
use tracing::{Metadata, level_filters::LevelFilter};
use tracing_subscriber::{Layer, Registry, filter::filter_fn};

use crate::failure::Failure;

/// How long the collector may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What sends traces to a collector.
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// None when no variable says that traces are wanted.
    ///
    /// # Errors
    /// When they say what cannot be.
    pub(crate) fn from_env() -> Result<Option<Self>, Failure> {
        if !wanted(|name| env::var(name).ok()) {
            return Ok(None);
        }
        // Not the cause: it may show a URL with a password in it.
        let unusable = || {
            Failure::usage(
                "the variables OTEL_… cannot be used; the endpoint is a URL such as http://collector:4318, and the \
                 protocol is http/protobuf",
            )
        };
        let exporter = SpanExporter::builder().with_http().with_http_client(Post::new()?).build();
        let exporter = Conventional(exporter.map_err(|_| unusable())?);
        let mut resource = Resource::builder();
        if !is_named(|name| env::var(name).ok()) {
            resource = resource.with_service_name("botfarm");
        }
        Ok(Some(Self(
            SdkTracerProvider::builder().with_resource(resource.build()).with_batch_exporter(exporter).build(),
        )))
    }

    /// Makes traces of the spans of botfarm's own, whatever `RUST_LOG` says.
    pub(crate) fn layer(&self) -> impl Layer<Registry> + Send + Sync + use<> {
        let own = |metadata: &Metadata<'_>| metadata.target().starts_with("botfarm");
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("botfarm"))
            .with_tracked_inactivity(false)
            .with_threads(false)
            .with_location(false)
            .with_filter(LevelFilter::INFO)
            .with_filter(filter_fn(own))
    }

    /// Sends what has not been sent yet.
    pub(crate) async fn end(self) {
        let _ = spawn_blocking(move || self.0.shutdown_with_timeout(PATIENCE)).await;
    }
}

/// Whether the variables ask for traces.
fn wanted(var: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &str| var(name).filter(|value| !value.is_empty());
    if set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return false;
    }
    match set("OTEL_TRACES_EXPORTER") {
        Some(exporter) => exporter == "otlp",
        None => set("OTEL_EXPORTER_OTLP_ENDPOINT").is_some() || set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").is_some(),
    }
}

/// Whether the variables name the service.
fn is_named(var: impl Fn(&str) -> Option<String>) -> bool {
    var("OTEL_SERVICE_NAME").is_some_and(|name| !name.is_empty())
        || var("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|attributes| attributes.contains("service.name="))
}

/// Lets each request go on with the trace of its caller, whose header `traceparent` names it.
pub(crate) fn continued(router: Router) -> Router {
    router.layer(from_fn(async |request: Request, next: Next| -> Response {
        if !request.headers().contains_key("traceparent") {
            return next.run(request).await;
        }
        let context = TraceContextPropagator::new().extract(&HeaderExtractor(request.headers()));
        next.run(request).with_context(context).await
    }))
}

/// Sends traces with the names that OpenTelemetry has for what a request is about.
#[derive(Debug)]
struct Conventional(SpanExporter);

impl Export for Conventional {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        batch.iter_mut().for_each(rename);
        self.0.export(batch).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

fn rename(span: &mut SpanData) {
    if span.name != "request" {
        return;
    }
    let (mut method, mut route) = (String::new(), String::new());
    for KeyValue { key, value, .. } in &mut span.attributes {
        match key.as_str() {
            "method" => {
                method = value.to_string();
                *key = "http.request.method".into();
            }
            "route" => {
                route = value.to_string();
                *key = "http.route".into();
            }
            "status" => *key = "http.response.status_code".into(),
            _ => {}
        }
    }
    span.name = format!("{method} {route}").into();
    span.span_kind = SpanKind::Server;
}

/// Sends over HTTP, on the runtime of the service: what collects the spans is a thread without one.
#[derive(Debug)]
struct Post {
    http: reqwest::Client,
    runtime: Handle,
}

impl Post {
    fn new() -> Result<Self, Failure> {
        // Installed already, if a farm is reached over HTTPS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(PATIENCE).build();
        let http = http.map_err(|error| Failure::new(format!("traces: {error}")))?;
        Ok(Self { http, runtime: Handle::current() })
    }
}

#[async_trait]
impl HttpClient for Post {
    async fn send_bytes(
        &self,
        request: opentelemetry_http::Request<Bytes>,
    ) -> Result<opentelemetry_http::Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let http = self.http.clone();
        let sent = self.runtime.spawn(async move {
            let response = http.execute(request).await?;
            let status = response.status();
            Ok::<_, reqwest::Error>((status, response.bytes().await?))
        });
        // The URL may hold a password.
        let (status, body) = sent.await?.map_err(reqwest::Error::without_url)?;
        let mut response = opentelemetry_http::Response::new(body);
        *response.status_mut() = status;
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(vars: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        move |name| vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn traces_are_sent_when_the_standard_variables_say_so() {
        const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        for (vars, expected) in [
            (&[][..], false),
            (&[ENDPOINT], true),
            (&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4318/v1/traces")], true),
            (&[("OTEL_TRACES_EXPORTER", "otlp")], true),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")], false),
            (&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")], false),
            (&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")], false),
        ] {
            assert_eq!(wanted(with(vars)), expected, "{vars:?}");
        }
        assert!(is_named(with(&[("OTEL_RESOURCE_ATTRIBUTES", "a=b,service.name=farm")])));
        assert!(!is_named(with(&[("OTEL_SERVICE_NAME", "")])));
    }
}

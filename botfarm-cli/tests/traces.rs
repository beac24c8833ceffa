//! Traces, as a collector gets them from the real binary.
#![cfg(feature = "otel")]

use std::{
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::Command,
    time::timeout,
};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_mins(1);

const TRACE: [u8; 16] = *b"\x4b\xf9\x2f\x35\x77\xb3\x4d\xa6\xa3\xce\x92\x9d\x0e\x0e\x47\x36";
const PARENT: [u8; 8] = *b"\x00\xf0\x67\xaa\x0b\xa9\x02\xb7";

/// What was sent to a collector: the headers, and the protobuf.
type Sent = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// A collector; its URL, and what it has received.
async fn collector() -> (String, Sent) {
    let sent = Sent::default();
    let keep = sent.clone();
    let router = Router::new().route(
        "/v1/traces",
        post(async move |headers: HeaderMap, body: Bytes| keep.lock().unwrap().push((headers, body))),
    );
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, sent)
}

/// Starts a service with these variables, has it answer one request whose caller has a trace, and stops it. What it
/// said on stderr.
async fn answer_one(vars: &[(&str, &str)]) -> String {
    let folder = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_botfarm"));
    command.args(["serve", "--listen", "127.0.0.1:0"]).env_clear().envs(vars.iter().copied());
    command.current_dir(&folder).kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut service = command.spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(service.stdout.take().unwrap());
    timeout(PATIENCE, stdout.read_line(&mut line)).await.expect("it starts or ends").unwrap();
    let address = line.trim().strip_prefix("listening on http://").expect("it listens").to_owned();

    let mut connection = TcpStream::connect(&address).await.unwrap();
    let request = "GET /api/v1/users/nobody HTTP/1.1\r\nhost: localhost\r\nConnection: close\r\n\
                   traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n";
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, connection.read_to_string(&mut answer)).await.expect("it answers").unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");

    let pid = service.id().unwrap().to_string();
    assert!(Command::new("sh").args(["-c", "kill $0", &pid]).status().await.unwrap().success());
    let ended = timeout(PATIENCE, service.wait_with_output()).await.expect("it ends").unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success(), "{said}");
    said
}

fn has(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn a_request_is_a_span_of_its_callers_trace_and_sent_before_the_service_ends() {
    let (url, sent) = collector().await;
    let headers = "authorization=Bearer s3cret-of-collector";
    let vars = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*url),
        ("OTEL_EXPORTER_OTLP_HEADERS", headers),
        // Longer than the service runs: what is sent is sent at its end.
        ("OTEL_BSP_SCHEDULE_DELAY", "600000"),
        ("RUST_LOG", "trace"),
    ];
    let said = answer_one(&vars).await;
    assert!(!said.contains("s3cret-of-collector"), "{said}");
    let sent = sent.lock().unwrap();
    let [(headers, body)] = &sent[..] else { panic!("{} batches: {said}", sent.len()) };
    assert_eq!(headers["content-type"], "application/x-protobuf");
    assert_eq!(headers["authorization"], "Bearer s3cret-of-collector");
    let expected: [&[u8]; 6] =
        [b"GET /api/v1/users/{id}", b"http.response.status_code", b"service.name", b"botfarm", &TRACE, &PARENT];
    for part in expected {
        assert!(has(body, part), "{} is not in {}", part.escape_ascii(), body.escape_ascii());
    }
    assert!(!has(body, b"nobody"), "of the path, the route alone is sent: {}", body.escape_ascii());
}

#[tokio::test]
async fn nothing_is_sent_when_the_variables_say_so() {
    let (url, sent) = collector().await;
    answer_one(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url), ("OTEL_TRACES_EXPORTER", "none")]).await;
    answer_one(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url), ("OTEL_SDK_DISABLED", "true")]).await;
    assert_eq!(sent.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_collector_that_is_not_there_is_logged_and_disturbs_nobody() {
    // Nothing listens on port 1.
    let said = answer_one(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:s3cret@127.0.0.1:1")]).await;
    assert!(said.to_lowercase().contains("export") && !said.contains("s3cret"), "{said}");
}

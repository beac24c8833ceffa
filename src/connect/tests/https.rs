//! A service behind TLS, with a certificate of an authority that no system knows.

use std::{
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::Request;
use botfarm_http::{Options, router};
use botfarm_memory::MemoryFarm;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};
use tower::ServiceExt as _;

use super::*;

/// A service, its URL, and the authority of its certificate, in PEM.
async fn service() -> (String, String) {
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate.into()], key).unwrap()));

    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let router = router(Arc::new(MemoryFarm::new()), Options::default());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, router) = (acceptor.clone(), router.clone());
            tokio::spawn(async move {
                // Who does not trust the certificate goes.
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let router = router.map_request(|request: Request<_>| request.map(axum::body::Body::new));
                let connection = auto::Builder::new(TokioExecutor::new());
                let _ = connection.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
            });
        }
    });
    (url, pem)
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

async fn open_trusting(url: &str, authorities: &NamedTempFile) -> Result<Arc<dyn BotFarm>> {
    let path = authorities.path().as_os_str().to_owned();
    open(url, &move |name| (name == "BOTFARM_CA_FILE").then(|| path.clone())).await
}

#[tokio::test]
async fn a_service_is_trusted_by_an_authority_of_one_s_own() {
    let (url, authority) = service().await;
    let farm = open_trusting(&url, &file(&authority)).await.unwrap();
    assert_eq!(farm.stats().await.unwrap().waiting, 0);
}

#[tokio::test]
async fn a_service_that_nobody_vouches_for_is_refused_at_once_with_a_hint() {
    let ((url, _), (_, other)) = (service().await, service().await);
    let farm = open_trusting(&url, &file(&other)).await.unwrap();
    let asked = Instant::now();
    let refusal = farm.stats().await.unwrap_err();
    assert_eq!(refusal.code(), "unavailable");
    let refusal = refusal.to_string();
    assert!(refusal.contains("BOTFARM_CA_FILE") && refusal.contains("not trusted"), "{refusal}");
    assert!(asked.elapsed() < Duration::from_secs(10), "another try would not mend it");
}

#[tokio::test]
async fn a_file_without_an_authority_is_refused() {
    for text in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let refusal = open_trusting("https://localhost:1", &file(text)).await.unwrap_err();
        assert_eq!(refusal.code(), "invalid", "{text:?}: {refusal}");
    }
}

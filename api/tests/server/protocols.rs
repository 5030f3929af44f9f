//! HTTP/1.1, HTTP/2 and TLS on one listener.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use http_body_util::BodyExt;
use orlop_api::server::{Tls, TlsOptions};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::toy::{Client, Running, get, speak_http2, within};

/// Writes a fresh self-signed certificate for `localhost` and returns it.
fn write_certificate(directory: &Path) -> CertificateDer<'static> {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(directory.join("certificate.pem"), certified.cert.pem()).unwrap();
    fs::write(directory.join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    certified.cert.der().clone()
}

fn options(directory: &Path) -> TlsOptions {
    TlsOptions {
        certificates: directory.join("certificate.pem"),
        key: directory.join("key.pem"),
        client_authorities: None,
    }
}

struct Secure {
    server: Running,
    tls: Tls,
    directory: TempDir,
    root: CertificateDer<'static>,
}

fn secure() -> Secure {
    let directory = TempDir::new().unwrap();
    let root = write_certificate(directory.path());
    let tls = Tls::load(options(directory.path())).unwrap();
    let server = Running::start(Some(tls.clone()), |limits| limits.tls_handshake_timeout_ms = 500);
    Secure { server, tls, directory, root }
}

impl Secure {
    async fn connect(
        &self,
        root: &CertificateDer<'static>,
        version: &'static SupportedProtocolVersion,
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(self.server.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
    }
}

#[tokio::test]
async fn http2_with_prior_knowledge_and_http1_share_a_plain_port() {
    let server = Running::plain(|_| {});
    let mut sender = server.connect_http2().await;
    let response = sender.send_request(get(server.address, "/scheme")).await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    assert_eq!(response.headers()["docker-distribution-api-version"], "registry/2.0");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "http");
    assert_eq!(server.connect().await.get("/scheme").await.body, b"http");
    server.shows("orlop_connections_total{protocol=\"http2\",tls=\"false\"} 1").await;
    server.shows("orlop_connections_total{protocol=\"http1\",tls=\"false\"} 1").await;
}

#[tokio::test]
async fn many_http2_streams_carry_large_answers_at_once() {
    let server = Running::plain(|_| {});
    let mut sender = server.connect_http2().await;
    let mut answers = Vec::new();
    for _ in 0..4 {
        sender.ready().await.unwrap();
        answers.push(sender.send_request(get(server.address, "/large")));
    }
    let mut tasks = tokio::task::JoinSet::new();
    for answer in answers {
        tasks.spawn(async move {
            let mut body = answer.await.unwrap().into_body();
            let mut received = 0;
            while let Some(frame) = body.frame().await {
                received += frame.unwrap().data_ref().map_or(0, |data| data.len()) as u64;
            }
            received
        });
    }
    assert_eq!(within(tasks.join_all()).await, [crate::toy::LARGE_BYTES; 4]);
    server.shows("orlop_http_in_flight 0").await;
    assert!(!server.metrics.encode().contains("orlop_http_aborted_total{"));
}

#[tokio::test]
async fn tls_negotiates_http2_and_http1_in_both_versions() {
    let secure = secure();
    for version in [&TLS12, &TLS13] {
        let stream = secure.connect(&secure.root, version, &["h2", "http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut sender = speak_http2(stream).await;
        let response = sender.send_request(get(secure.server.address, "/scheme")).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "https");

        for alpn in [&["http/1.1"][..], &[]] {
            let stream = secure.connect(&secure.root, version, alpn).await.unwrap();
            assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
            assert_eq!(Client::new(stream).get("/scheme").await.body, b"https");
        }
    }
    secure.server.shows("orlop_connections_total{protocol=\"http2\",tls=\"true\"} 2").await;
    secure.server.shows("orlop_connections_total{protocol=\"http1\",tls=\"true\"} 4").await;
}

#[tokio::test]
async fn a_foreign_alpn_and_plain_http_fail_the_handshake() {
    let secure = secure();
    assert!(secure.connect(&secure.root, &TLS13, &["spdy/3"]).await.is_err());
    let mut plain = secure.server.connect().await;
    plain.send("GET /hello HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert!(!plain.rest().await.starts_with(b"HTTP"));
    secure.server.shows("orlop_connection_ends_total{cause=\"tls\"} 2").await;
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_cut() {
    let secure = secure();
    let begin = Instant::now();
    let mut client = secure.server.connect().await;
    // The beginning of a TLS record, and nothing more.
    client.send([22, 3, 1]).await;
    assert!(client.rest().await.is_empty());
    assert!(begin.elapsed() >= Duration::from_millis(500));
    secure.server.shows("orlop_connection_ends_total{cause=\"tls\"} 1").await;
}

#[tokio::test]
async fn a_reloaded_certificate_serves_new_connections_and_a_bad_one_changes_nothing() {
    let secure = secure();
    let old = secure.connect(&secure.root, &TLS13, &[]).await.unwrap();
    let renewed = write_certificate(secure.directory.path());
    secure.tls.reload().unwrap();
    assert!(secure.connect(&secure.root, &TLS13, &[]).await.is_err());
    secure.connect(&renewed, &TLS13, &[]).await.unwrap();
    assert_eq!(Client::new(old).get("/hello").await.body, b"hello");

    fs::write(secure.directory.path().join("certificate.pem"), "not a certificate").unwrap();
    let error = secure.tls.reload().unwrap_err();
    assert!(error.to_string().contains("certificate.pem"), "{error}");
    secure.connect(&renewed, &TLS13, &[]).await.unwrap();
}

#[test]
fn a_key_of_another_certificate_is_refused_with_its_file_name() {
    let (one, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write_certificate(one.path());
    write_certificate(other.path());
    let mixed = TlsOptions { key: options(other.path()).key, ..options(one.path()) };
    let error = Tls::load(mixed).unwrap_err();
    assert!(error.to_string().contains("key.pem"), "{error}");
    let missing = TlsOptions { key: one.path().join("missing.pem"), ..options(one.path()) };
    assert!(Tls::load(missing).unwrap_err().to_string().contains("missing.pem"));
}

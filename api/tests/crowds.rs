//! Pulls beside so many others that each has little in memory: every connection gives each piece back before the next,
//! and nobody waits for ever.

mod support;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use orlop_api::{
    Policy,
    limits::Limits,
    server::{Tls, TlsOptions},
};
use orlop_engine::{Blob, Namespace, Options, Reader};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName};
use support::TestRegistry;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(20);

/// What readers hold together in the two states of a crowd, in bytes; see `engine/src/read/reader.rs`.
const CROWDED: usize = 65 << 20;
const FULL: usize = 129 << 20;

/// Long enough for many pieces, and no multiple of a chunk.
const CONTENT_BYTES: usize = 5_000_001;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// Pieces of content that nobody takes.
async fn hold(blob: &Blob, bytes: usize) -> Vec<(Reader, Bytes)> {
    let (mut held, mut total) = (Vec::new(), 0);
    while total < bytes {
        let mut reader = blob.read(0..blob.size());
        let piece = reader.next().await.expect("there is more").expect("it is right");
        total += piece.len().max(64 << 10);
        held.push((reader, piece));
    }
    held
}

/// The whole twice over one connection, which makes the second an answer given again, and a part of it.
async fn pull(stream: Box<dyn Stream>, is_http2: bool, path: &str, content: &[u8]) {
    let io = TokioIo::new(stream);
    let request = |range: Option<&str>| {
        let mut request = Request::builder().method(Method::GET).uri(format!("http://localhost{path}"));
        if !is_http2 {
            request = Request::builder().method(Method::GET).uri(path).header("host", "localhost");
        }
        if let Some(range) = range {
            request = request.header("range", range);
        }
        request.body(Empty::<Bytes>::new()).expect("a request")
    };
    let read = async |body: Incoming| body.collect().await.expect("all of it").to_bytes();
    let cases = [(None, content), (None, content), (Some("bytes=70000-4000000"), &content[70_000..=4_000_000])];
    if is_http2 {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.expect("a connection");
        tokio::spawn(connection);
        for (range, expected) in cases {
            let answer = sender.send_request(request(range)).await.expect("an answer");
            assert!(read(answer.into_body()).await == expected, "HTTP/2, {range:?}");
        }
    } else {
        let (mut sender, connection) = http1::handshake(io).await.expect("a connection");
        tokio::spawn(connection);
        for (range, expected) in cases {
            sender.ready().await.expect("it is kept");
            let answer = sender.send_request(request(range)).await.expect("an answer");
            assert!(read(answer.into_body()).await == expected, "HTTP/1.1, {range:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_in_a_crowd_get_every_byte_over_every_protocol() {
    let options = Options { hot_bytes_max: 0, ..Options::default() };
    let test = TestRegistry::over(options, Limits::default(), Policy::default()).await;
    let content: Vec<u8> = (0..CONTENT_BYTES as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let digest = test.push_blob("app", &content).await;
    let path = format!("/v2/app/blobs/{digest}");

    let directory = tempfile::tempdir().expect("a directory");
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificates, key) = (directory.path().join("certificate.pem"), directory.path().join("key.pem"));
    std::fs::write(&certificates, certified.cert.pem()).expect("written");
    std::fs::write(&key, certified.signing_key.serialize_pem()).expect("written");
    let tls = Tls::load(TlsOptions { certificates, key, client_authorities: None }).expect("a pair");
    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone()).expect("a root");
    let connect = async |address, alpn: Option<&str>| {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let Some(alpn) = alpn else { return Box::new(stream) as Box<dyn Stream> };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.expect("versions").with_root_certificates(roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake");
        Box::new(stream) as Box<dyn Stream>
    };

    let mut addresses = Vec::new();
    for tls in [None, Some(tls)] {
        let server = test.registry.bind("127.0.0.1:0".parse().expect("an address"), tls).expect("a port");
        addresses.push(server.local_addr().expect("it is bound"));
        tokio::spawn(server.run(std::future::pending()));
    }
    let [plain, secure] = addresses[..] else { unreachable!("two were bound") };
    let namespace = Namespace::new("app").expect("a name");
    let blob = test.engine.open_blob(&namespace, &digest).await.expect("it is there");
    for bytes in [0, CROWDED, FULL] {
        let held = hold(&blob, bytes).await;
        assert_eq!(blob.is_crowded(), bytes > 0);
        for (address, alpn, is_http2) in
            [(plain, None, false), (plain, None, true), (secure, Some("http/1.1"), false), (secure, Some("h2"), true)]
        {
            let pulled = async { pull(connect(address, alpn).await, is_http2, &path, &content).await };
            timeout(PATIENCE, pulled)
                .await
                .unwrap_or_else(|_| panic!("{alpn:?}, HTTP/2 {is_http2}, {bytes}: it waits"));
        }
        drop(held);
    }
}

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
    metrics::Metrics,
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

/// What readers may hold together, in bytes.
const READERS: usize = 4 << 20;

/// Long enough for many pieces, and no multiple of a chunk.
const CONTENT_BYTES: usize = 2_000_001;

fn repeated(metrics: &Metrics) -> u64 {
    let text = metrics.encode();
    let line = text.lines().find_map(|line| line.strip_prefix("orlop_http_repeated_total "));
    line.expect("a counter").parse().expect("a number")
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Alone,
    /// Readers get a chunk at a time.
    Crowded,
    /// They get a part of one.
    Full,
}

/// Pieces of content that nobody takes, from a place each of its own, so that none becomes hot by it.
async fn hold(blob: &Blob, places: &mut impl Iterator<Item = u64>, state: State) -> Vec<(Reader, Bytes)> {
    let mut held = Vec::new();
    let mut is_reached = state == State::Alone;
    while !is_reached {
        let place = places.next().expect("it is large enough for a crowd");
        let mut reader = blob.read(place..blob.size());
        let piece = reader.next().await.expect("there is more").expect("it is right");
        is_reached = match state {
            State::Alone | State::Crowded => blob.is_crowded(),
            State::Full => piece.len() < 64 << 10,
        };
        held.push((reader, piece));
    }
    held
}

/// The whole four times over one connection, which makes the last ones answers given again where it is hot, and a part.
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
    let cases = [
        (None, content),
        (None, content),
        (None, content),
        (None, content),
        (Some("bytes=70000-1900000"), &content[70_000..=1_900_000]),
    ];
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
    for hot_bytes_max in [0, 8 << 20] {
        pulls_in_a_crowd(hot_bytes_max).await;
    }
}

async fn pulls_in_a_crowd(hot_bytes_max: usize) {
    let options = Options { hot_bytes_max, reader_memory_bytes_max: READERS, ..Options::default() };
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
    let others = test.push_blob("app", &vec![1; 80 << 20]).await;
    let others = test.engine.open_blob(&namespace, &others).await.expect("it is there");
    let mut places = (0..others.size()).step_by(1 << 20);
    for state in [State::Alone, State::Crowded, State::Full] {
        let held = hold(&others, &mut places, state).await;
        assert_eq!(others.is_crowded(), state != State::Alone);
        for (address, alpn, is_http2) in
            [(plain, None, false), (plain, None, true), (secure, Some("http/1.1"), false), (secure, Some("h2"), true)]
        {
            let before = repeated(test.registry.metrics());
            let pulled = async { pull(connect(address, alpn).await, is_http2, &path, &content).await };
            timeout(PATIENCE, pulled)
                .await
                .unwrap_or_else(|_| panic!("{alpn:?}, HTTP/2 {is_http2}, {state:?}: it waits"));
            let again = repeated(test.registry.metrics()) - before;
            let is_kept = hot_bytes_max > 0 && address == plain && !is_http2 && state != State::Alone;
            assert!(again > 0 || !is_kept, "hot content is sent in answers that are given again");
        }
        drop(held);
    }
}

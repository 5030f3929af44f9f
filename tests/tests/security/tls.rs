//! Handshakes that do not end, bytes that are no TLS, and ends that are no ends.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use orlop_tests::{
    Options, Registry,
    repository::with_query,
    stream::{Random, bytes, sha256},
};
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::common::{CONNECTIONS_DEFAULT, Wire, connections, metric, until, within};

const HANDSHAKE_TIME: Duration = Duration::from_millis(1_000);

async fn start() -> Registry {
    let handshake = u64::try_from(HANDSHAKE_TIME.as_millis()).expect("a second");
    let limits = json!({ "tlsHandshakeTimeoutMs": handshake, "connectionsMax": 12_000 });
    Registry::start(Options { config: Some(json!({ "http": { "limits": limits } })), ..Options::tls() }).await
}

/// The beginning of a ClientHello that announces more than comes (RFC 8446 section 5.1).
const HALF_HELLO: &[u8] = &[22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3, 0, 0, 0, 0];

/// Handshakes that stop half-way are cut, and others get through.
#[tokio::test(flavor = "multi_thread")]
async fn half_handshakes_are_cut_however_many() {
    let registry = start().await;
    let attackers = connections(CONNECTIONS_DEFAULT);
    let mut tasks = JoinSet::new();
    for number in 0..attackers {
        let mut wire = Wire::open(&registry).await;
        tasks.spawn(async move {
            let begin = Instant::now();
            wire.send(&HALF_HELLO[..number % (HALF_HELLO.len() + 1)]).await;
            wire.rest().await;
            begin.elapsed()
        });
    }
    let mut served = 0;
    let mut last = Duration::ZERO;
    while !tasks.is_empty() {
        registry.client().get("/v2/").await.expect(200);
        served += 1;
        while let Some(ended) = tasks.try_join_next() {
            last = last.max(ended.expect("no panic"));
        }
    }
    println!("{attackers} half handshakes: all cut, the last after {last:?}; {served} handshakes served meanwhile");
    metric(&registry, "orlop_connection_ends_total{cause=\"tls\"}", |ended| ended == attackers as u64).await;
    registry.finish();
}

/// What is no TLS ends at once and harms nothing.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_tls_end_the_connection() {
    let registry = start().await;
    let mut random = Random(7);
    let mut samples: Vec<Vec<u8>> =
        (0..60).map(|seed| bytes(seed, 1 + random.below(2_000) as usize).to_vec()).collect();
    samples.extend([
        b"GET /v2/ HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        // An alert, application data before any handshake, a record longer than any may be.
        vec![21, 3, 3, 0, 2, 2, 40],
        vec![23, 3, 3, 0, 4, 1, 2, 3, 4],
        [&[22, 3, 1, 255, 255][..], &[1; 70_000]].concat(),
        // Records without content, again and again.
        [22, 3, 1, 0, 0].repeat(20_000),
        // A heartbeat that asks for more than it brings (CVE-2014-0160).
        vec![24, 3, 2, 0, 3, 1, 64, 0],
    ]);
    for sample in samples {
        let mut wire = Wire::open(&registry).await;
        wire.send(&sample).await;
        let answer = wire.rest().await;
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", answer.escape_ascii());
        assert!(answer.len() < 200, "{} bytes", answer.len());
    }
    registry.client().get("/v2/").await.expect(200);
    registry.finish();
}

async fn connect(registry: &Registry, config: &Arc<rustls::ClientConfig>) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(registry.address()).await.expect("the registry accepts connections");
    let name = ServerName::IpAddress(registry.address().ip().into());
    TlsConnector::from(config.clone()).connect(name, stream).await.expect("a handshake")
}

/// Early data can be replayed by whoever sees it: it is not taken, also from a client that comes again.
#[tokio::test(flavor = "multi_thread")]
async fn early_data_is_not_taken() {
    let registry = start().await;
    let mut config = registry.certificates().expect("TLS").client_config("http/1.1").as_ref().clone();
    config.enable_early_data = true;
    let config = Arc::new(config);
    for attempt in 0..3 {
        // What the ticket of the last connection would let a client send early.
        let name = ServerName::IpAddress(registry.address().ip().into());
        let mut next = rustls::ClientConnection::new(config.clone(), name).expect("a connection");
        assert!(next.early_data().is_none(), "attempt {attempt}");
        let mut stream = connect(&registry, &config).await;
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.expect("sent");
        let mut answer = Vec::new();
        // The end has to be said; without it this is an error.
        within(stream.read_to_end(&mut answer)).await.expect("the registry ends with close_notify");
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
        let session = stream.get_ref().1;
        if attempt > 0 {
            assert_eq!(session.handshake_kind(), Some(rustls::HandshakeKind::Resumed), "the control");
        }
    }
    registry.finish();
}

/// A connection that breaks off is not the end of a message, with `close_notify` or without.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_ends_no_upload() {
    let registry = start().await;
    let repository = registry.repository("broken");
    let content = bytes(1, 50_000);
    let digest = sha256(&content);
    let config = registry.certificates().expect("TLS").client_config("http/1.1");
    for polite in [true, false] {
        let session = repository.open_upload().await;
        let mut stream = connect(&registry, &config).await;
        let close = with_query(&session, &format!("digest={digest}"));
        let head =
            format!("PUT {close} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n", content.len());
        stream.write_all(head.as_bytes()).await.expect("sent");
        // All of the content, but not the end of the message.
        stream.write_all(&content).await.expect("sent");
        stream.flush().await.expect("sent");
        if polite {
            stream.shutdown().await.expect("close_notify is sent");
        }
        drop(stream);
        until("the session is free", async || {
            let answer = repository.client.patch(&session, "").await;
            assert!(matches!(answer.status.as_u16(), 202 | 416), "{answer:?}");
            answer.status == 202
        })
        .await;
        repository.blob(&digest).await.expect_error(404, "BLOB_UNKNOWN");
        repository.client.delete(&session).await.expect(204);
    }
    registry.finish();
}

//! A process whose memory is nearly used up takes less and less, says so, and recovers. One test in a process of its
//! own: memory is the process's.

mod support;

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use orlop_api::{Policy, limits::Limits, metrics::Metrics};
use orlop_engine::Options;
use support::{INDEX, TestRegistry, sha256};
use tokio::{net::TcpStream, time::sleep};

const MIB: u64 = 1 << 20;

/// What the process may use before pushes are refused, beyond what it has at the start, in bytes.
const ROOM: u64 = 96 * MIB;

/// Longer than the time between two looks at the memory.
const A_LOOK: Duration = Duration::from_millis(30);

fn used_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") << 10
}

/// Memory that is really used.
fn take(bytes: u64) -> Vec<u8> {
    vec![1; usize::try_from(bytes).expect("it fits")]
}

fn repeated(metrics: &Metrics) -> u64 {
    let text = metrics.encode();
    let line = text.lines().find_map(|line| line.strip_prefix("orlop_http_repeated_total "));
    line.expect("a counter").parse().expect("a number")
}

struct Client {
    address: SocketAddr,
    sender: http1::SendRequest<Full<Bytes>>,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a connection");
        tokio::spawn(connection);
        Client { address, sender }
    }

    /// Over the same connection as before, if it was kept.
    async fn ask(&mut self, method: Method, path: &str, body: Vec<u8>) -> (StatusCode, HeaderMap, Bytes) {
        let request = Request::builder().method(method).uri(path).header("host", "a");
        if self.sender.ready().await.is_err() {
            *self = Client::connect(self.address).await;
        }
        let answer =
            self.sender.send_request(request.body(Full::from(body)).expect("a request")).await.expect("an answer");
        let (head, body) = answer.into_parts();
        (head.status, head.headers, body.collect().await.expect("all of it").to_bytes())
    }

    async fn status(&mut self, method: Method, path: &str) -> u16 {
        self.ask(method, path, Vec::new()).await.0.as_u16()
    }

    async fn push(&mut self, content: &[u8]) -> (StatusCode, HeaderMap, Bytes) {
        let path = format!("/v2/app/blobs/uploads/?digest={}", sha256(content));
        self.ask(Method::POST, &path, content.to_vec()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_are_refused_first_then_pulls_and_nothing_once_there_is_room() {
    let room = used_bytes() + ROOM;
    let policy = Policy { memory_bytes_max: Some(room), ..Policy::default() };
    let test = TestRegistry::over(Options::default(), Limits::default(), policy).await;
    let content: Vec<u8> = (0..300_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let blob = format!("/v2/app/blobs/{}", test.push_blob("app", &content).await);
    let small = format!("/v2/app/blobs/{}", test.push_blob("app", b"small").await);
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[]}}"#);
    test.push_manifest("app", "v1", INDEX, &index).await;
    let manifest = "/v2/app/manifests/v1";

    let server = test.registry.bind("127.0.0.1:0".parse().expect("an address"), None).expect("a port");
    let address = server.local_addr().expect("it is bound");
    tokio::spawn(server.run(std::future::pending()));
    let mut client = Client::connect(address).await;
    // Until they are answers that are given again.
    for _ in 0..4 {
        for path in [&blob, &small, manifest] {
            assert_eq!(client.status(Method::GET, path).await, 200);
        }
    }
    assert!(repeated(test.registry.metrics()) > 0, "answers are given again");

    let refused = |(status, headers, body): (StatusCode, HeaderMap, Bytes), what: &str| {
        assert_eq!(status, 503, "{what}");
        assert!(headers.contains_key("retry-after"), "{what}");
        assert_eq!(headers.get("connection").map(HeaderValue::as_bytes), Some(&b"close"[..]), "{what}");
        assert!(body.windows(11).any(|window| window == b"UNAVAILABLE"), "{what}: {body:?}");
    };
    let taken = take(room - used_bytes() + 8 * MIB);
    sleep(A_LOOK).await;
    refused(client.push(b"another").await, "a push");
    assert!(client.ask(Method::GET, &blob, Vec::new()).await.2 == content, "pulls go on");
    assert_eq!(client.status(Method::GET, manifest).await, 200);

    let more = take(room / 3);
    sleep(A_LOOK).await;
    refused(client.push(b"another").await, "a push");
    refused(client.ask(Method::GET, &blob, Vec::new()).await, "a pull, in an answer that would be given again");
    for (method, path, status) in [
        (Method::HEAD, blob.as_str(), 200),
        (Method::HEAD, manifest, 200),
        (Method::GET, "/v2/app/tags/list", 200),
        (Method::GET, "/readyz", 200),
        (Method::DELETE, manifest, 202),
    ] {
        assert_eq!(client.status(method.clone(), path).await, status, "{method} {path}");
    }
    drop((taken, more));
    sleep(A_LOOK).await;
    assert_eq!(client.push(b"another").await.0, 201);
    assert!(client.ask(Method::GET, &blob, Vec::new()).await.2 == content, "pulled again");
}

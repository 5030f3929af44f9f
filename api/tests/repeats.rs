//! A registry whose answers are given again, beside one whose every answer is made anew, over the same engine:
//! nobody can tell them apart, whatever he sends and whatever changes meanwhile.

mod support;

use std::{net::SocketAddr, time::Duration};

use orlop_api::{Policy, Registry, limits::Limits, metrics::Metrics};
use orlop_engine::Digest;
use support::{CONFIG, LAYER, MANIFEST, TestRegistry, image};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A registry on a socket.
struct Served {
    address: SocketAddr,
    registry: Registry,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Served {
    fn start(registry: &Registry) -> Self {
        let registry = registry.clone();
        let server = registry.bind("127.0.0.1:0".parse().unwrap(), None).unwrap();
        let address = server.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(async { drop(stopped.await) }));
        Served { address, registry, stop, task }
    }

    async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends each part once the one before it was read, and gives all that comes back, without the date.
    async fn exchange(&self, parts: &[&[u8]]) -> String {
        let mut stream = self.connect().await;
        for part in parts {
            let before = read_bytes(self.registry.metrics());
            // The server may have closed already; what it said is what counts.
            let _ = stream.write_all(part).await;
            let read = async {
                while read_bytes(self.registry.metrics()) < before + part.len() as u64 {
                    tokio::task::yield_now().await;
                }
            };
            if parts.len() > 1 {
                timeout(PATIENCE, read).await.expect("the server reads");
            }
        }
        let mut received = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut received)).await.expect("the server closes");
        let text = String::from_utf8_lossy(&received).into_owned();
        let lines = text.split_inclusive("\r\n").map(|line| if line.starts_with("date: ") { "date\r\n" } else { line });
        lines.collect()
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap();
    }
}

fn counter(metrics: &Metrics, name: &str) -> u64 {
    let text = metrics.encode();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).expect("the metric");
    line.parse().unwrap()
}

fn read_bytes(metrics: &Metrics) -> u64 {
    counter(metrics, "orlop_network_in_bytes_total")
}

fn repeated(served: &Served) -> u64 {
    counter(served.registry.metrics(), "orlop_http_repeated_total")
}

fn request(method: &str, target: &str, fields: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

const LAST: &str = "GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Two registries over one store, which has an image, a large blob in a file, and an empty one.
struct Pair {
    store: TestRegistry,
    again: Served,
    anew: Served,
    targets: Vec<String>,
    manifest: Digest,
}

impl Pair {
    async fn new() -> Self {
        let limits = Limits { header_timeout_ms: 1_000, ..Limits::default() };
        let store = TestRegistry::with(limits.clone(), Policy::default()).await;
        let (manifest, _) = store.push_image("a/b", "latest").await;
        let large = store.push_blob("a/b", &vec![b'x'; 3 << 20]).await;
        let empty = store.push_blob("a/b", b"").await;
        let registry =
            |repeats| Registry::new(store.engine.clone(), limits.clone(), Policy::default()).with_repeats(repeats);
        let (again, anew) = (Served::start(&registry(true)), Served::start(&registry(false)));
        let targets = vec![
            "/v2/a/b/manifests/latest".to_owned(),
            format!("/v2/a/b/manifests/{manifest}"),
            format!("/v2/a/b/blobs/{large}"),
            format!("/v2/a/b/blobs/{empty}"),
            format!("/v2/a/b/blobs/{manifest}"),
        ];
        Pair { store, again, anew, targets, manifest }
    }

    /// Asks for everything until its answer is kept.
    async fn prime(&self) {
        for target in &self.targets {
            for method in ["GET", "HEAD"] {
                let tag = format!("If-None-Match: \"{}\"\r\n", self.manifest);
                for fields in [String::new(), tag, "Authorization: Basic eDp5\r\n".to_owned()] {
                    // A file is kept in memory from its second reading on.
                    let all = request(method, target, &fields).repeat(4) + LAST;
                    self.again.exchange(&[all.as_bytes()]).await;
                }
            }
        }
    }

    async fn assert_alike(&self, parts: &[&[u8]]) {
        let (again, anew) = (self.again.exchange(parts).await, self.anew.exchange(parts).await);
        assert!(again == anew, "{:?}: {}", String::from_utf8_lossy(&parts.concat()), difference(&again, &anew));
    }

    async fn stop(self) {
        assert_eq!(repeated(&self.anew), 0);
        self.again.stop().await;
        self.anew.stop().await;
    }
}

fn difference(again: &str, anew: &str) -> String {
    let at =
        again.bytes().zip(anew.bytes()).position(|(one, other)| one != other).unwrap_or(again.len().min(anew.len()));
    let around = |text: &str| {
        String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(80)..text.len().min(at + 80)]).into_owned()
    };
    format!("at byte {at} of {} and {}: {:?} and {:?}", again.len(), anew.len(), around(again), around(anew))
}

#[tokio::test]
async fn everything_that_can_repeat_does_and_is_the_same() {
    let pair = Pair::new().await;
    pair.prime().await;
    for target in &pair.targets {
        for method in ["GET", "HEAD"] {
            for fields in [
                String::new(),
                "User-Agent: test\r\nAccept: */*\r\naccept-encoding: gzip\r\nCONNECTION: keep-alive\r\n".to_owned(),
                format!("If-None-Match: \"{}\"\r\n", pair.manifest),
                format!("if-none-match:  \"{}\" \r\n", pair.manifest),
                "Authorization: Basic eDp5\r\n".to_owned(),
            ] {
                let before = repeated(&pair.again);
                let one = request(method, target, &fields);
                pair.assert_alike(&[(one.repeat(2) + LAST).as_bytes()]).await;
                assert_eq!(repeated(&pair.again), before + 2, "{one}");
            }
        }
    }
    pair.stop().await;
}

#[tokio::test]
async fn odd_and_hostile_requests_are_answered_alike() {
    let pair = Pair::new().await;
    pair.prime().await;
    let target = &pair.targets[0];
    let of_fields = |fields: &str| request("GET", target, fields);
    let plain = of_fields("");
    let cases = [
        plain.replace("\r\n", "\n"),
        plain.replace("\r\n\r\n", "\r\n\n"),
        plain.replace("\r\n\r\n", "\n\r\n"),
        format!("\r\n{plain}"),
        format!("\n{plain}"),
        format!("\r{plain}"),
        plain.replace("GET", "get"),
        plain.replace("GET ", "GET  "),
        plain.replace("GET ", "GET\t"),
        plain.replace("GET", "GETS"),
        plain.replace(" HTTP/1.1", " HTTP/1.1 "),
        plain.replace(" HTTP/1.1", "  HTTP/1.1"),
        plain.replace("HTTP/1.1", "HTTP/1.0"),
        plain.replace("HTTP/1.1", "HTTP/1.2"),
        plain.replace("HTTP/1.1", "HTTP/2.0"),
        plain.replace(" HTTP/1.1", ""),
        plain.replace("/v2", "http://a/v2"),
        plain.replace("/v2", "//a/v2"),
        plain.replace("latest", "latest#x"),
        plain.replace("latest", "latest?"),
        plain.replace("latest", "latest?x=y"),
        plain.replace("latest", "%6catest"),
        plain.replace("latest", "lat\0est"),
        plain.replace("latest", "lat\u{e9}st"),
        plain.replace("latest", "../manifests/latest"),
        plain.replace("latest", "absent"),
        plain.replace("Host: a", "Host: "),
        plain.replace("Host: a", "host:a"),
        plain.replace("Host: a", "Host : a"),
        plain.replace("Host: a", " Host: a"),
        plain.replace("Host: a\r\n", ""),
        plain.replace("Host: a", "Host: a\0"),
        plain.replace("Host: a", "Host: \u{e9}"),
        of_fields("Host: a\r\n"),
        of_fields("Host: b\r\n"),
        of_fields("Accept: a\r\n b\r\n"),
        of_fields("Accept: a\rContent-Length: 5\r\n"),
        of_fields("Accept: a\0\r\n"),
        of_fields("Accept\0: a\r\n"),
        of_fields("Accept\r\n"),
        of_fields(": a\r\n"),
        of_fields("Content-Length: 0\r\n"),
        of_fields("Content-Length: 5\r\n") + "hello",
        of_fields("Content-Length: 5\r\nContent-Length: 0\r\n") + "hello",
        of_fields("Content-Length: 0\r\nContent-Length: 5\r\n") + "hello",
        of_fields("Content-Length: 5, 5\r\n") + "hello",
        of_fields("Content-Length: -1\r\n"),
        of_fields("Content-Length : 5\r\n") + "hello",
        of_fields("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n",
        of_fields("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n") + "0\r\n\r\n",
        of_fields("Transfer-Encoding: identity\r\n"),
        of_fields("Transfer-Encoding : chunked\r\n") + "0\r\n\r\n",
        of_fields("Connection: close\r\n"),
        of_fields("Connection: keep-alive\r\nConnection: close\r\n"),
        of_fields("Connection: keep-alive, close\r\n"),
        of_fields("Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
        of_fields("Expect: 100-continue\r\n"),
        of_fields("Range: bytes=0-1\r\n"),
        of_fields("Range: bytes=0-1\r\nIf-Range: \"x\"\r\n"),
        of_fields("Authorization: Basic eA==\r\n"),
        of_fields("Authorization: Basic eDp5\r\nAuthorization: Basic eDp5\r\n"),
        of_fields("Authorization: Bearer eA==\r\n"),
        of_fields("Authorization: Basic \u{e9}\r\n"),
        of_fields(&format!("Authorization: Basic {}\r\n", "a".repeat(2_000))),
        of_fields("If-None-Match: \r\n"),
        of_fields("If-None-Match: *\r\n"),
        of_fields("If-None-Match: \"x\"\r\nIf-None-Match: *\r\n"),
        of_fields(&format!("If-None-Match: W/\"{}\"\r\n", pair.manifest)),
        of_fields(&format!("If-None-Match: \"x\", \"{}\"\r\n", pair.manifest)),
        of_fields(&format!("X-Long: {}\r\n", "a".repeat(5_000))),
        of_fields(&format!("Accept: {}\r\n", "a".repeat(5_000))),
        of_fields(&format!("Accept: {}\r\n", "a".repeat(70_000))),
        of_fields(&"Accept: a\r\n".repeat(40)),
        of_fields(&"Accept: a\r\n".repeat(120)),
        request("POST", target, "Content-Length: 0\r\n"),
        request("OPTIONS", "*", ""),
        request("CONNECT", "a:80", ""),
        request("DELETE", "/v2/a/b/manifests/absent", ""),
        "PRI * HTTP/2.0\r\n\r\nSM".to_owned(),
        "GET".to_owned(),
        plain[..plain.len() - 2].to_owned(),
    ];
    for case in &cases {
        // Alone, behind a request that repeats, before one, and a second time: each is a request of its own.
        for sent in [format!("{case}{LAST}"), format!("{plain}{case}{plain}{LAST}"), format!("{case}{case}{LAST}")] {
            pair.assert_alike(&[sent.as_bytes()]).await;
        }
    }
    assert!(repeated(&pair.again) > cases.len() as u64, "the plain ones repeat");
    pair.stop().await;
}

#[tokio::test]
async fn where_a_request_is_torn_makes_no_difference() {
    let pair = Pair::new().await;
    pair.prime().await;
    let all = request("GET", &pair.targets[0], "Accept: a\r\n")
        + &request("HEAD", &pair.targets[3], "")
        + &request("GET", &pair.targets[0], "Content-Length: 2\r\n")
        + "ab"
        + LAST;
    let expected = pair.anew.exchange(&[all.as_bytes()]).await;
    for at in 1..all.len() {
        let torn = pair.again.exchange(&[&all.as_bytes()[..at], &all.as_bytes()[at..]]).await;
        assert!(torn == expected, "torn at {at}: {}", difference(&torn, &expected));
    }
    pair.stop().await;
}

/// Sends one request on a connection and reads the answer; gives status and body.
async fn ask(stream: &mut TcpStream, target: &str) -> (u16, Vec<u8>) {
    stream.write_all(request("GET", target, "").as_bytes()).await.unwrap();
    let mut received = Vec::new();
    loop {
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&received[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if received.len() == end + 4 + length.parse::<usize>().unwrap() {
                return (head[9..12].parse().unwrap(), received.split_off(end + 4));
            }
        }
        let bytes = timeout(PATIENCE, stream.read_buf(&mut received)).await.expect("an answer").unwrap();
        assert!(bytes > 0, "the server closed");
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_never_answered_as_it_was_before() {
    let pair = Pair::new().await;
    let target = &pair.targets[0];
    let config = pair.store.push_blob("a/b", b"{\"config\":1}").await;
    let layer = pair.store.push_blob("a/b", b"layer").await;
    let mut stream = pair.again.connect().await;
    for round in 0..50 {
        let more = format!(",\"annotations\":{{\"round\":\"{round}\"}}");
        let manifest = image(&[(CONFIG, &config, 12), (LAYER, &layer, 5)], &more);
        pair.store.push_manifest("a/b", "latest", MANIFEST, &manifest).await;
        for _ in 0..4 {
            assert_eq!(ask(&mut stream, target).await, (200, manifest.clone().into_bytes()), "round {round}");
        }
    }
    assert_eq!(pair.store.delete(target).await.status, 202);
    assert_eq!(ask(&mut stream, target).await.0, 404);
    let blob = &pair.targets[2];
    for _ in 0..4 {
        assert_eq!(ask(&mut stream, blob).await.0, 200);
    }
    assert_eq!(pair.store.delete(blob).await.status, 202);
    assert_eq!(ask(&mut stream, blob).await.0, 404);
    assert!(repeated(&pair.again) >= 50, "{} answers were given again", repeated(&pair.again));
    pair.stop().await;
}

#[tokio::test]
async fn readers_never_see_a_change_undone() {
    let pair = Pair::new().await;
    let target = pair.targets[0].clone();
    let config = pair.store.push_blob("a/b", b"{\"config\":1}").await;
    let layer = pair.store.push_blob("a/b", b"layer").await;
    let (pushed, seen) = tokio::sync::watch::channel(0u64);
    let readers = (0..3).map(|_| {
        let (seen, target, address) = (seen.clone(), target.clone(), pair.again.address);
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut last = 0;
            while last < 200 {
                let acknowledged = *seen.borrow();
                let (status, body) = ask(&mut stream, &target).await;
                let text = String::from_utf8(body).unwrap();
                let round = text
                    .split("\"round\":\"")
                    .nth(1)
                    .map_or(0, |rest| rest.split('"').next().unwrap().parse().unwrap());
                assert!(status == 200 && round >= acknowledged.max(last), "{round} after {acknowledged} and {last}");
                last = round;
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    for round in 1..=200u64 {
        let more = format!(",\"annotations\":{{\"round\":\"{round}\"}}");
        let manifest = image(&[(CONFIG, &config, 12), (LAYER, &layer, 5)], &more);
        pair.store.push_manifest("a/b", "latest", MANIFEST, &manifest).await;
        pushed.send_replace(round);
        tokio::task::yield_now().await;
    }
    for reader in readers {
        timeout(PATIENCE, reader).await.expect("in time").unwrap();
    }
    pair.stop().await;
}

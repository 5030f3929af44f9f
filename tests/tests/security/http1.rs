//! Requests of HTTP/1 that are too large, encoded, or meant for a log or a proxy.

use http::Method;
use orlop_tests::{
    Registry,
    http::{empty, full, request, request_with},
    repository::IMAGE_MANIFEST,
    stream::{bytes, sha256},
};
use serde_json::{Value, json};

use crate::common::{Wire, connections, resident_bytes, start, status_of};

/// Heads beyond their limits are refused, whatever part of them is large.
#[tokio::test(flavor = "multi_thread")]
async fn heads_have_limits() {
    const GROWTH_BYTES_MAX: u64 = 32 << 20;
    let registry = start().await;
    status_of(&registry, "GET /v2/ HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let before = resident_bytes(registry.process_id());
    let head = |target: &str, more: &str| format!("GET {target} HTTP/1.1\r\nhost: a\r\n{more}\r\n");
    let fields = |count: usize| (0..count).map(|number| format!("x-{number}: 1\r\n")).collect::<String>();
    let parameters = |count: usize| (0..count).map(|number| format!("&p{number}=1")).collect::<String>();
    for (what, request, allowed) in [
        ("99 fields", head("/v2/", &fields(99)), &[200][..]),
        ("101 fields", head("/v2/", &fields(101)), &[431]),
        ("a field of 60 KiB", head("/v2/", &format!("x: {}\r\n", "x".repeat(60 << 10))), &[200]),
        ("a field of 64 KiB", head("/v2/", &format!("x: {}\r\n", "x".repeat(64 << 10))), &[431]),
        ("a cookie of 1 MiB", head("/v2/", &format!("cookie: {}\r\n", "x".repeat(1 << 20))), &[431]),
        ("a line of 16 KiB", head(&format!("/v2/{}", "a".repeat(16 << 10)), ""), &[400, 404, 414]),
        ("a line of 64 KiB", head(&format!("/v2/{}", "a".repeat(64 << 10)), ""), &[414, 431]),
        ("101 parameters", head(&format!("/v2/_catalog?n=1{}", parameters(100)), ""), &[200]),
        ("130 parameters", head(&format!("/v2/_catalog?n=1{}", parameters(129)), ""), &[400, 414]),
        ("10,000 parameters", head(&format!("/v2/_catalog?n=1{}", parameters(10_000)), ""), &[400, 414, 431]),
        ("a field name of 60 KiB", head("/v2/", &format!("{}: x\r\n", "x".repeat(60 << 10))), &[200, 400, 431]),
        ("empty lines", format!("{}{}", "\r\n".repeat(40 << 10), head("/v2/", "")), &[200, 400, 431]),
    ] {
        let mut wire = Wire::open(&registry).await;
        wire.send(&request).await;
        // An answer can be lost to the reset that follows it; then there must not be a second one.
        let status = wire.reply().await.map(|reply| reply.status);
        let lost = status.is_none() && !allowed.contains(&200);
        assert!(lost || allowed.contains(&status.unwrap_or(0)), "{what}: {status:?}");
    }
    let growth = resident_bytes(registry.process_id()).saturating_sub(before);
    assert!(growth < GROWTH_BYTES_MAX, "{growth} bytes");
    registry.finish();
}

/// CVE-2011-3192 and its kin: many ranges of one blob cost no more than the blob.
#[tokio::test(flavor = "multi_thread")]
async fn ranges_send_no_byte_twice() {
    let registry = start().await;
    let repository = registry.repository("ranges");
    let content = bytes(1, 1 << 20);
    let digest = repository.push(content.clone()).await;
    let spaced =
        |count: usize| (0..count).map(|at| format!("{}-{}", at * 100, at * 100 + 9)).collect::<Vec<_>>().join(",");
    let overlapping = |count: usize| (0..count).map(|at| format!("{at}-")).collect::<Vec<_>>().join(",");
    for (range, status) in [
        (spaced(16), 206),
        (spaced(17), 200),
        (spaced(1_000), 200),
        (overlapping(16), 206),
        (overlapping(1_000), 200),
        ("0-,0-,0-,0-".to_owned(), 206),
        ("-0".to_owned(), 416),
        ("-".to_owned(), 200),
        ("5-2".to_owned(), 416),
        (format!("{}-", content.len()), 416),
        ("18446744073709551615-".to_owned(), 416),
        ("18446744073709551616-".to_owned(), 416),
        ("0-18446744073709551616".to_owned(), 206),
        ("-18446744073709551616".to_owned(), 206),
        ("0-0".to_owned(), 206),
    ] {
        let shown: String = range.chars().take(40).collect();
        let range = format!("bytes={range}");
        let get = request_with(Method::GET, &repository.blob_path(&digest), ("range", &range), empty());
        let answer = repository.client.send(get).await;
        assert_eq!(answer.status.as_u16(), status, "{shown}");
        // With several parts there are their heads as well.
        let most = content.len() + 16 * 200;
        assert!(answer.body.len() <= most, "{shown}: {} bytes", answer.body.len());
    }
    registry.finish();
}

/// Rekor CVE-2023-30551, CVE-2026-48702: the registry decodes nothing that could swell.
#[tokio::test(flavor = "multi_thread")]
async fn encoded_requests_are_refused() {
    let registry = start().await;
    let repository = registry.repository("encoded");
    let image = repository.push_image("v1", "layer").await;
    let digest = sha256(b"content");
    let whole = format!("{}?digest={digest}", repository.path("blobs/uploads/"));
    let session = repository.open_upload().await;
    for coding in ["gzip", "x-gzip", "deflate", "br", "zstd", "GZIP", "identity, gzip", "gzip, identity", "nonsense"] {
        for (method, path, body) in [
            (Method::PUT, repository.manifest_path("v2"), image.bytes.clone()),
            (Method::POST, whole.clone(), "content".into()),
            (Method::PATCH, session.clone(), "content".into()),
            (Method::PUT, format!("{session}?digest={digest}"), "content".into()),
        ] {
            let mut sent = request_with(method, &path, ("content-encoding", coding), full(body));
            sent.headers_mut().insert("content-type", IMAGE_MANIFEST.parse().expect("a header value"));
            repository.client.send(sent).await.expect_error(415, "UNSUPPORTED");
        }
    }
    assert_eq!(repository.client.get(&session).await.expect(204).header("range"), "0-0", "nothing was taken");
    let plain = request_with(Method::POST, &whole, ("content-encoding", "identity"), full("content"));
    repository.client.send(plain).await.expect(201);
    // What is stored compressed is served as it is, whatever the client would take.
    let layer = b"\x1f\x8b\x08\x00 not really compressed".as_slice();
    let stored = repository.push(layer).await;
    let get =
        request_with(Method::GET, &repository.blob_path(&stored), ("accept-encoding", "identity;q=0, br"), empty());
    let answer = repository.client.send(get).await.expect(200);
    assert_eq!((answer.body.as_ref(), answer.header("content-encoding")), (layer, ""));
    registry.finish();
}

/// timestamp-authority CVE-2026-49835: labels that clients choose make metrics without end.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_a_bounded_set_of_labels() {
    const GROWTH_BYTES_MAX: u64 = 8 << 20;
    let registry = start().await;
    let client = registry.client();
    let mut wire = Wire::open(&registry).await;
    let mut ask = async |number: usize| {
        for (method, path) in [
            ("GET".to_owned(), format!("/v2/repository-{number}/manifests/tag-{number}")),
            ("HEAD".to_owned(), format!("/v2/repository-{number}/blobs/{}", sha256(&number.to_le_bytes()))),
            ("GET".to_owned(), format!("/bogus-{number}")),
            (format!("METHOD{number}"), "/v2/".to_owned()),
        ] {
            wire.send(format!("{method} {path} HTTP/1.1\r\nhost: h{number}\r\nuser-agent: agent-{number}\r\n\r\n"))
                .await;
            // The answers to HEAD announce a length without a body.
            if method == "HEAD" {
                let found = wire.head().await;
                assert!(found.starts_with("HTTP/1.1 404"), "{found}");
            } else {
                wire.reply().await.expect("an answer");
            }
        }
    };
    let names = async || {
        let text = client.get("/metrics").await.expect(200);
        let text = String::from_utf8(text.body.to_vec()).expect("metrics are text");
        let series = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        series.map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
    };
    for number in 0..50 {
        ask(number).await;
    }
    names().await;
    let (before, memory) = (names().await, resident_bytes(registry.process_id()));
    for number in 0..connections(1_500) {
        ask(50 + number).await;
    }
    let after = names().await;
    assert_eq!(after, before);
    let chosen = ["repository-", "tag-", "bogus-", "METHOD", "agent-", "sha256"];
    assert!(!after.iter().any(|name| chosen.iter().any(|part| name.contains(part))), "{after:?}");
    let growth = resident_bytes(registry.process_id()).saturating_sub(memory);
    assert!(growth < GROWTH_BYTES_MAX, "{growth} bytes");
    registry.finish();
}

/// What clients send cannot forge a line of the log, nor swell one.
#[tokio::test(flavor = "multi_thread")]
async fn log_lines_are_the_registrys_own() {
    const LINE_BYTES_MAX: usize = 4 << 10;
    let registry = start().await;
    let forged = "{\"level\":\"ERROR\",\"message\":\"forged\"}";
    for request in [
        format!("GET /v2/%0a{forged}%0d%0a/tags/list HTTP/1.1\r\nhost: a\r\n\r\n").replace('"', "%22"),
        format!("GET /v2/ HTTP/1.1\r\nhost: a\r\nuser-agent: x\u{1b}[2J{forged}\r\n\r\n"),
        format!("GET /v2/ HTTP/1.1\r\nhost: a\r\nuser-agent: x\n{forged}\r\n\r\n"),
        format!("GET /v2/ HTTP/1.1\r\nhost: a\r\nuser-agent: x\r{forged}\r\n\r\n"),
        format!("GET /v2/ HTTP/1.1\r\nhost: a\r\nuser-agent: {}\r\n\r\n", "forged".repeat(10_000)),
        format!("GET /v2/ HTTP/1.1\r\nhost: a\r\nuser-agent: {}\r\n\r\n", "forged".repeat(180_000)),
        format!("FORGED{} /v2/ HTTP/1.1\r\nhost: a\r\n\r\n", "X".repeat(1_000)),
        format!("PUT /v2/forged/manifests/{} HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n\n", "a".repeat(120)),
        format!("{forged}\r\n\r\n"),
    ] {
        let mut wire = Wire::open(&registry).await;
        wire.send(request).await;
        wire.reply().await;
    }
    registry.client().get("/v2/").await.expect(200);
    let log = registry.output();
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines.iter().any(|line| line.contains("\"request\"")), "requests are logged");
    for line in lines {
        let parsed: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert!(line.len() <= LINE_BYTES_MAX, "{} bytes", line.len());
        assert!(!line.bytes().any(|byte| byte < 0x20), "{line:?}");
        assert_ne!(parsed["message"], "forged");
    }
    registry.finish();
}

/// Gitea CVE-2026-20896: headers that a proxy would set count for nothing when a client sets them.
#[tokio::test(flavor = "multi_thread")]
async fn headers_of_proxies_are_not_believed() {
    let registry = start().await;
    let repository = registry.repository("proxied");
    for (name, value) in [
        ("x-forwarded-for", "10.9.8.7"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "gopher"),
        ("x-forwarded-user", "admin"),
        ("x-forwarded-uri", "/v2/_catalog"),
        ("x-real-ip", "10.9.8.7"),
        ("forwarded", "for=10.9.8.7;host=evil.example;proto=gopher"),
        ("x-original-url", "/v2/_catalog"),
        ("x-http-method-override", "DELETE"),
        ("x-remote-user", "admin"),
    ] {
        let post = request_with(Method::POST, &repository.path("blobs/uploads/"), (name, value), full(""));
        let answer = registry.client().send(post).await.expect(202);
        let location = answer.header("location").to_owned();
        assert!(!location.contains("evil") && !location.contains("gopher"), "{name}: {location}");
        registry.client().get(&answer.location()).await.expect(204);
        assert!(!format!("{:?}", answer.headers).contains("10.9.8.7"), "{name}: {answer:?}");
    }
    // Who comes through a proxy is not the machine itself.
    let asked = request_with(Method::GET, "/v2/_orlop/gc", ("x-forwarded-for", "127.0.0.1"), empty());
    registry.client().send(asked).await.expect(403);
    let other = request_with(Method::GET, "/v2/_orlop/gc", ("forwarded", "for=127.0.0.1"), empty());
    registry.client().send(other).await.expect(403);
    registry.client().send(request(Method::GET, "/v2/_orlop/gc", empty())).await.expect(200);
    assert!(!registry.output().contains("10.9.8.7"), "the log has the address of the peer");
    registry.finish();
}

/// A large body that is refused ends the connection instead of being read to its end.
#[tokio::test(flavor = "multi_thread")]
async fn refused_bodies_are_not_read_to_their_end() {
    let registry = start().await;
    for target in ["PUT /v2/a/manifests/v1", "POST /v2/A/blobs/uploads/", "PUT /v2/_catalog", "PATCH /nowhere"] {
        let mut wire = Wire::open(&registry).await;
        wire.send(format!("{target} HTTP/1.1\r\nhost: a\r\ncontent-length: 10737418240\r\n\r\n")).await;
        let reply = wire.reply().await.expect("an answer before the body");
        assert!(matches!(reply.status, 400 | 404 | 405 | 413), "{target}: {reply:?}");
        let mut sent = 0;
        while sent < 64 && wire.send(vec![b'x'; 1 << 20]).await {
            sent += 1;
        }
        assert!(sent < 64, "{target}: the registry took {sent} MiB");
    }
    registry.client().get("/v2/").await.expect(200);
    assert_eq!(registry.client().get("/v2/_catalog").await.expect(200).json()["repositories"], json!([]));
    registry.finish();
}

/// What is pushed is pulled: requests that only look odd are served as the specification says.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_on_a_reading_method_is_no_request() {
    let registry: Registry = start().await;
    let repository = registry.repository("bodies");
    let digest = repository.push("content").await;
    let path = repository.blob_path(&digest);
    for method in ["GET", "HEAD", "DELETE"] {
        // The body looks like a request; it must be taken as the body that its length says.
        let hidden = format!("DELETE {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        let target = if method == "DELETE" { "/v2/bodies/tags/list" } else { &path };
        let sent = format!("{method} {target} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{hidden}", hidden.len());
        let mut wire = Wire::open(&registry).await;
        wire.send(sent).await;
        assert!(wire.head().await.starts_with("HTTP/1.1 "));
        repository.blob(&digest).await.expect(200);
    }
    registry.finish();
}

//! What clients get wrong, by mistake or on purpose: each gets the specification's error code
//! ("Error Codes"), and nothing of it stays in the store.

use std::time::Instant;

use bytes::Bytes;
use http::Method;
use orlop_tests::{
    Options, Registry, Repository, disk,
    http::{full, request, request_with},
    process::PATIENCE,
    repository::{IMAGE_INDEX, IMAGE_MANIFEST, Manifest, descriptor, image_config, with_query},
    stream::{bytes, sha256},
};
use serde_json::{Value, json};

/// Asserts that the store holds nothing but what was put there on purpose: no file of a blob, no
/// file of an upload, no repository.
async fn assert_nothing_left(registry: &Registry) {
    let catalog = registry.client().get("/v2/_catalog").await.expect(200).json();
    assert_eq!(catalog["repositories"], json!([]));
    assert_eq!(disk::blob_files(&registry.root()), []);
    assert_eq!(disk::upload_files(&registry.root()), []);
}

/// The grammar of names, section "Pulling manifests".
#[tokio::test(flavor = "multi_thread")]
async fn malformed_names_are_refused() {
    let registry = Registry::start(Options::default()).await;
    let client = registry.client();
    let long = "a".repeat(256);
    let names =
        ["UPPER", "a--_b", "a..b", "-a", "a-", "_a", ".a", "a/-b", "a___b", "a%20b", "a%00b", "%C3%A4", "a:b", &long];
    for name in names {
        for path in ["manifests/latest", "tags/list", "blobs/uploads/"] {
            let answer = client.get(&format!("/v2/{name}/{path}")).await;
            assert!(matches!(answer.status.as_u16(), 400 | 404), "{name}: {answer:?}");
            let code = answer.json()["errors"][0]["code"].clone();
            assert!(code == "NAME_INVALID" || code == "NAME_UNKNOWN", "{name}: {answer:?}");
        }
        let answer = client.post(&format!("/v2/{name}/blobs/uploads/"), "").await;
        assert!(matches!(answer.status.as_u16(), 400 | 404), "{name}: {answer:?}");
    }
    assert_nothing_left(&registry).await;
    registry.finish();
}

/// Names that would leave the store's directory if they were ever taken for paths.
#[tokio::test(flavor = "multi_thread")]
async fn paths_do_not_climb() {
    let registry = Registry::start(Options::default()).await;
    let client = registry.client();
    for path in [
        "/v2/../etc/manifests/latest",
        "/v2/a/../../b/manifests/latest",
        "/v2/%2e%2e/%2e%2e/manifests/latest",
        "/v2/a%2f..%2fb/manifests/latest",
        "/v2/a/manifests/..%2f..%2fetc",
        "/v2/a/blobs/sha256:..%2f..%2f..%2fetc%2fpasswd",
        "/v2//a/manifests/latest",
        "/v2/a//b/manifests/latest",
    ] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let answer = client.send(request(method, path, full("x"))).await;
            assert!(matches!(answer.status.as_u16(), 400 | 404 | 405), "{path}: {answer:?}");
        }
    }
    assert_nothing_left(&registry).await;
    registry.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_digests_are_refused() {
    let registry = Registry::start(Options::default()).await;
    let repository = registry.repository("digests");
    let short = format!("sha256:{}", "0".repeat(63));
    let long = format!("sha256:{}", "0".repeat(65));
    let upper = format!("sha256:{}", "A".repeat(64));
    let unknown = format!("md5:{}", "0".repeat(32));
    let no_hex = format!("sha256:{}", "g".repeat(64));
    for digest in ["sha256:baddigeststring", "sha256:", "sha256", &short, &long, &upper, &unknown, &no_hex] {
        repository.blob(digest).await.expect_error(400, "DIGEST_INVALID");
        let whole = format!("{}?digest={digest}", repository.path("blobs/uploads/"));
        repository.client.post(&whole, "content").await.expect_error(400, "DIGEST_INVALID");
        repository
            .client
            .get(&repository.path(&format!("referrers/{digest}")))
            .await
            .expect_error(400, "DIGEST_INVALID");
        if digest.contains(':') {
            repository.put_manifest(digest, IMAGE_MANIFEST, "{}").await.expect_error(400, "DIGEST_INVALID");
            assert!(matches!(repository.manifest(digest).await.status.as_u16(), 400 | 404));
        }
    }
    assert_nothing_left(&registry).await;
    registry.finish();
}

/// Content that does not have the digest it is pushed under, in every way of pushing.
#[tokio::test(flavor = "multi_thread")]
async fn content_of_another_digest_is_refused() {
    let registry = Registry::start(Options::default()).await;
    let repository = registry.repository("mismatch");
    let client = &repository.client;
    let digest = sha256(b"what was meant");
    // One that would lie in the index, one that would get a file.
    for content in [Bytes::from_static(b"what was sent"), bytes(1, 2 << 20)] {
        let whole = format!("{}?digest={digest}", repository.path("blobs/uploads/"));
        client.post(&whole, content.clone()).await.expect_error(400, "DIGEST_INVALID");

        let session = repository.open_upload().await;
        let close = with_query(&session, &format!("digest={digest}"));
        client.put(&close, content.clone()).await.expect_error(400, "DIGEST_INVALID");
        client.get(&session).await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");

        let session = repository.open_upload().await;
        let session = client.patch(&session, content.clone()).await.expect(202).location();
        client.put(&with_query(&session, &format!("digest={digest}")), "").await.expect_error(400, "DIGEST_INVALID");
        repository.blob(&digest).await.expect_error(404, "BLOB_UNKNOWN");
        repository.blob(&sha256(&content)).await.expect_error(404, "BLOB_UNKNOWN");
    }
    let other = Manifest::image(&image_config("mismatch"), &[], &json!({}));
    repository.put_manifest(&digest, IMAGE_MANIFEST, other.bytes).await.expect_error(400, "DIGEST_INVALID");
    assert_nothing_left(&registry).await;
    registry.finish();
}

/// Sessions that do not exist, or belong to another repository.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_uploads_are_refused() {
    let registry = Registry::start(Options::default()).await;
    let repository = registry.repository("sessions/mine");
    let mine = repository.open_upload().await;
    let theirs = mine.replacen("sessions/mine", "sessions/theirs", 1);
    let invented = repository.path("blobs/uploads/00000000000000000000000000000000");
    let odd = repository.path("blobs/uploads/no-such-session");
    let digest = sha256(b"content");
    for session in [&theirs, &invented, &odd] {
        let client = &repository.client;
        client.get(session).await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
        client.patch(session, "content").await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
        let close = with_query(session, &format!("digest={digest}"));
        client.put(&close, "content").await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
        client.delete(session).await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    }
    // Mine was not touched by any of it.
    repository.client.put(&mine, "content").await.expect_error(400, "DIGEST_INVALID");
    repository.client.get(&mine).await.expect(204);
    repository.client.delete(&mine).await.expect(204);
    assert_nothing_left(&registry).await;
    registry.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_ranges_are_refused_or_ignored() {
    let registry = Registry::start(Options::default()).await;
    let repository = registry.repository("ranges");
    let session = repository.open_upload().await;
    for (range, status) in [
        ("nonsense", 400),
        ("0", 400),
        ("-5", 400),
        ("0-4294967296000000000000", 416),
        ("7-0", 416),
        ("1-7", 416),
        ("0-8", 416),
    ] {
        let patch = request_with(Method::PATCH, &session, ("content-range", range), full("content"));
        repository.client.send(patch).await.expect_error(status, "BLOB_UPLOAD_INVALID");
    }
    repository.client.delete(&session).await.expect(204);
    assert_nothing_left(&registry).await;

    // RFC 9110 section 14.2: a Range that is not understood is ignored.
    let digest = repository.push("content").await;
    for range in ["bytes", "bytes=", "bytes=a-b", "lines=1-2", "bytes=--1"] {
        let get = request_with(Method::GET, &repository.blob_path(&digest), ("range", range), full(""));
        assert_eq!(repository.client.send(get).await.expect(200).body, "content", "{range}");
    }
    registry.finish();
}

/// What is not a manifest, or one that says two things.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_manifests_are_refused() {
    let registry = Registry::start(Options::default()).await;
    let repository = registry.repository("manifests");
    let config = descriptor("application/vnd.oci.image.config.v1+json", b"{}");
    let image = |change: &dyn Fn(&mut Value)| {
        let mut value = json!({ "schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": config, "layers": [] });
        change(&mut value);
        value.to_string()
    };
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let twice = format!(r#"{{"schemaVersion":2,"schemaVersion":1,"config":{config},"layers":[]}}"#);
    let malformed = [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "{".to_owned(),
        "{}".to_owned(),
        "\u{feff}{}".to_owned(),
        deep,
        twice,
        image(&|value| value["schemaVersion"] = json!(1)),
        image(&|value| value["schemaVersion"] = json!("2")),
        image(&|value| value["mediaType"] = json!(IMAGE_INDEX)),
        image(&|value| value["manifests"] = json!([])),
        image(&|value| value["layers"] = json!("none")),
        image(&|value| value["config"] = json!(null)),
        image(&|value| value["config"]["digest"] = json!("sha256:short")),
        image(&|value| value["config"]["size"] = json!(-1)),
        image(&|value| value["subject"] = json!("not a descriptor")),
        image(&|value| value["annotations"] = json!({ "a": 1 })),
    ];
    for text in malformed {
        let shown: String = text.chars().take(80).collect();
        let answer = repository.put_manifest("v1", IMAGE_MANIFEST, text).await;
        assert_eq!(answer.status, 400, "{shown}: {answer:?}");
        assert_eq!(answer.json()["errors"][0]["code"], "MANIFEST_INVALID", "{shown}: {answer:?}");
    }
    let plain = image(&|_| {});
    repository.put_manifest("v1", "text/plain", plain.clone()).await.expect_error(400, "MANIFEST_INVALID");
    let long = "a".repeat(129);
    for tag in [".dot", "-dash", "a%20b", "%C3%A4", &long] {
        repository.put_manifest(tag, IMAGE_MANIFEST, plain.clone()).await.expect_error(400, "MANIFEST_INVALID");
    }
    repository.put_manifest("v1", IMAGE_MANIFEST, plain).await.expect_error(400, "MANIFEST_BLOB_UNKNOWN");
    assert_nothing_left(&registry).await;
    registry.finish();
}

/// Section "Pushing manifests": 413 beyond what the registry takes, whether the length was
/// announced or the body just does not end.
#[tokio::test(flavor = "multi_thread")]
async fn an_oversize_manifest_is_refused() {
    let registry = Registry::start(Options::default()).await;
    let repository = registry.repository("oversize");
    let large = json!({ "schemaVersion": 2, "annotations": { "a": "A".repeat(4 << 20) } }).to_string();
    repository.put_manifest("v1", IMAGE_MANIFEST, large.clone()).await.expect(413);

    let head = format!(
        "PUT {} HTTP/1.1\r\nhost: registry\r\nconnection: close\r\ncontent-type: {IMAGE_MANIFEST}\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        repository.manifest_path("v1"),
        large.len(),
    );
    let answer = repository.client.raw(head.as_bytes()).await;
    assert!(answer.starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&answer));
    assert_nothing_left(&registry).await;
    registry.finish();
}

/// Bodies that do not have the length they announce, and connections that end too early: no blob
/// and no session stays.
#[tokio::test(flavor = "multi_thread")]
async fn cut_and_mismeasured_bodies_leave_nothing() {
    let registry = Registry::start(Options::default()).await;
    let repository = registry.repository("lengths");
    let content = bytes(1, 1 << 20);
    let digest = sha256(&content);

    // The client goes away after half of what it announced.
    let whole = format!("{}?digest={digest}", repository.path("blobs/uploads/"));
    let head = format!("POST {whole} HTTP/1.1\r\nhost: registry\r\ncontent-length: {}\r\n\r\n", content.len());
    let mut cut = head.into_bytes();
    cut.extend_from_slice(&content[..content.len() / 2]);
    repository.client.cut(&cut).await;

    // A Content-Range that promises more than comes.
    let session = repository.open_upload().await;
    let patch = request_with(Method::PATCH, &session, ("content-range", "0-9"), full("short"));
    repository.client.send(patch).await.expect_error(416, "BLOB_UPLOAD_INVALID");
    repository.client.delete(&session).await.expect(204);

    repository.blob(&digest).await.expect_error(404, "BLOB_UNKNOWN");
    settle(&registry, &repository).await;
    registry.finish();
}

/// Asks the registry until it has noticed the cut connections and cleaned up behind them.
async fn settle(registry: &Registry, repository: &Repository) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = disk::upload_files(&registry.root());
        if left.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "left behind: {left:?}");
        repository.client.get("/v2/").await.expect(200);
    }
    assert_nothing_left(registry).await;
}

/// Bytes that are no HTTP, and heads beyond every limit.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_http_is_answered_or_cut() {
    let registry = Registry::start(Options::default()).await;
    let client = registry.client();
    let long = "a".repeat(1 << 20);
    let whole = format!("/v2/a/blobs/uploads/?digest={}", sha256(b"content"));
    for request in [
        "\u{0}\u{1}\u{2}\r\n\r\n".to_owned(),
        "GET /v2/ HTTP/9.9\r\n\r\n".to_owned(),
        format!("GET /v2/ HTTP/1.1\r\nhost: registry\r\nx-long: {long}\r\n\r\n"),
        format!("GET /v2/{long} HTTP/1.1\r\nhost: registry\r\n\r\n"),
        "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n".to_owned(),
        "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx".to_owned(),
        format!("POST {whole} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
    ] {
        let answer = client.raw(request.as_bytes()).await;
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    }
    client.get("/v2/").await.expect(200);
    assert_nothing_left(&registry).await;
    registry.finish();
}

//! Uploading blobs: every way the specification knows, and every way it can go wrong.

mod support;

use std::sync::Arc;

use orlop_api::{Policy, limits::Limits};
use orlop_engine::{Algorithm, Digest, Engine, Options, index::MemoryIndex, io::SimDisk};
use support::{Chunks, TestRegistry, error, sha256};

#[tokio::test]
async fn one_request_stores_a_blob() {
    let registry = TestRegistry::new().await;
    let digest = sha256(b"hello");
    let answer = registry.send("POST", &format!("/v2/a/b/blobs/uploads/?digest={digest}"), &[], "hello").await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("location"), format!("/v2/a/b/blobs/{digest}"));
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    assert_eq!(registry.get(answer.header("location")).await.text(), "hello");
}

#[tokio::test]
async fn one_request_may_stream_and_may_be_empty() {
    let registry = TestRegistry::new().await;
    let digest = sha256(b"hello");
    let target = format!("/v2/a/blobs/uploads/?digest={digest}");
    assert_eq!(registry.stream("POST", &target, &[], Chunks::of(["he", "llo"])).await.status, 201);
    let empty = sha256(b"");
    assert_eq!(registry.send("POST", &format!("/v2/a/blobs/uploads/?digest={empty}"), &[], "").await.status, 201);
    let answer = registry.get(&format!("/v2/a/blobs/{empty}")).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-length"), answer.body.len()), (200, "0", 0));
}

#[tokio::test]
async fn one_request_that_fails_leaves_nothing() {
    let registry = TestRegistry::new().await;
    let digest = sha256(b"hello");
    let target = format!("/v2/a/blobs/uploads/?digest={digest}");
    assert_eq!(registry.send("POST", &target, &[], "other").await.error(), error(400, "DIGEST_INVALID"));
    assert_eq!(registry.stream("POST", &target, &[], Chunks::of(["hel"]).broken()).await.status, 408);
    let short = registry.stream("POST", &target, &[("content-length", "9")], Chunks::of(["hello"])).await;
    assert_eq!(short.error(), error(400, "SIZE_INVALID"));
    assert_eq!(registry.get(&format!("/v2/a/blobs/{digest}")).await.status, 404);
    assert_eq!(registry.get("/v2/_catalog").await.text(), r#"{"repositories":[]}"#);
}

#[tokio::test]
async fn a_session_tells_where_it_is() {
    let registry = TestRegistry::new().await;
    let answer = registry.send("POST", "/v2/a/blobs/uploads/", &[], "").await;
    assert_eq!(answer.status, 202);
    let id = answer.header("docker-upload-uuid");
    assert!(id.len() >= 32, "{id}");
    let location = answer.header("location");
    assert_eq!(location, format!("/v2/a/blobs/uploads/{id}"));
    assert_eq!(answer.header("range"), "0-0");

    let answer = registry.stream("PATCH", location, &[], Chunks::of(["hel", "lo"])).await;
    assert_eq!((answer.status.as_u16(), answer.header("range")), (202, "0-4"));
    let answer = registry.stream("PATCH", location, &[], Chunks::of([" world"])).await;
    assert_eq!((answer.status.as_u16(), answer.header("range")), (202, "0-10"));
    let answer = registry.get(location).await;
    assert_eq!((answer.status.as_u16(), answer.header("range"), answer.header("location")), (204, "0-10", location));
    assert_eq!(registry.head(location).await.header("range"), "0-10");

    let digest = sha256(b"hello world");
    let answer = registry.send("PUT", &format!("{location}?digest={digest}"), &[], "").await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    assert_eq!(registry.get(answer.header("location")).await.text(), "hello world");
    assert_eq!(registry.get(location).await.error(), error(404, "BLOB_UPLOAD_UNKNOWN"));
}

#[tokio::test]
async fn the_last_request_may_carry_bytes_with_and_without_a_range() {
    let registry = TestRegistry::new().await;
    let digest = sha256(b"hello world");
    for headers in [&[("content-range", "5-10")][..], &[]] {
        let location = registry.begin("a").await;
        assert_eq!(registry.send("PATCH", &location, &[("content-range", "0-4")], "hello").await.status, 202);
        let answer = registry.send("PUT", &format!("{location}?digest={digest}"), headers, " world").await;
        assert_eq!(answer.status, 201, "{headers:?}");
    }
}

#[tokio::test]
async fn chunks_out_of_order_are_refused_and_change_nothing() {
    let registry = TestRegistry::new().await;
    let location = registry.begin("a").await;
    for (range, body) in [("1-5", "hello"), ("5-9", "hello")] {
        let answer = registry.send("PATCH", &location, &[("content-range", range)], body).await;
        assert_eq!(answer.error(), error(416, "BLOB_UPLOAD_INVALID"));
        assert_eq!((answer.header("location"), answer.header("range")), (location.as_str(), "0-0"));
    }
    assert_eq!(registry.send("PATCH", &location, &[("content-range", "0-4")], "hello").await.status, 202);
    let repeated = registry.send("PATCH", &location, &[("content-range", "0-4")], "hello").await;
    assert_eq!((repeated.status.as_u16(), repeated.header("range")), (416, "0-4"));
    let digest = sha256(b"hello world");
    let ahead =
        registry.send("PUT", &format!("{location}?digest={digest}"), &[("content-range", "6-10")], "world").await;
    assert_eq!((ahead.status.as_u16(), ahead.header("range")), (416, "0-4"));
    let right =
        registry.send("PUT", &format!("{location}?digest={digest}"), &[("content-range", "5-10")], " world").await;
    assert_eq!(right.status, 201);
}

#[tokio::test]
async fn lengths_that_disagree_keep_the_exact_prefix() {
    let registry = TestRegistry::new().await;
    let location = registry.begin("a").await;
    let answer = registry.send("PATCH", &location, &[("content-range", "0-9")], "hello").await;
    assert_eq!(answer.error(), error(416, "BLOB_UPLOAD_INVALID"));
    assert_eq!(answer.header("range"), "0-0");
    // Streamed: the announced range turns out longer than the body.
    let answer = registry.stream("PATCH", &location, &[("content-range", "0-9")], Chunks::of(["hello"])).await;
    assert_eq!(answer.error(), error(400, "SIZE_INVALID"));
    assert_eq!(answer.header("range"), "0-4");
    // And shorter: only whole frames within it are kept.
    let answer = registry.stream("PATCH", &location, &[("content-range", "5-6")], Chunks::of([" w", "orld"])).await;
    assert_eq!(answer.error(), error(400, "SIZE_INVALID"));
    assert_eq!(registry.get(&location).await.header("range"), "0-6");
    let digest = sha256(b"hello world");
    assert_eq!(registry.send("PUT", &format!("{location}?digest={digest}"), &[], "orld").await.status, 201);
}

#[tokio::test]
async fn an_upload_that_stops_can_be_resumed() {
    let registry = TestRegistry::new().await;
    let location = registry.begin("a").await;
    let answer = registry.stream("PATCH", &location, &[], Chunks::of(["hello", " w"]).broken()).await;
    assert_eq!((answer.status.as_u16(), answer.header("range")), (408, "0-6"));
    assert_eq!(registry.get(&location).await.header("range"), "0-6");
    let digest = sha256(b"hello world");
    let target = format!("{location}?digest={digest}");
    assert_eq!(registry.stream("PUT", &target, &[], Chunks::of(["or"]).broken()).await.status, 408);
    assert_eq!(registry.get(&location).await.header("range"), "0-8");
    assert_eq!(registry.send("PUT", &target, &[("content-range", "9-10")], "ld").await.status, 201);
}

#[tokio::test]
async fn any_algorithm_can_prove_an_upload() {
    let registry = TestRegistry::new().await;
    for (parameter, algorithm) in [
        ("", Algorithm::Sha256),
        ("", Algorithm::Sha512),
        ("?digest-algorithm=sha512", Algorithm::Sha512),
        ("?digest-algorithm=sha512", Algorithm::Sha256),
    ] {
        let answer = registry.send("POST", &format!("/v2/a/blobs/uploads/{parameter}"), &[], "").await;
        assert_eq!(answer.status, 202, "{parameter}");
        let digest = Digest::of(algorithm, b"hello");
        let answer =
            registry.send("PUT", &format!("{}?digest={digest}", answer.header("location")), &[], "hello").await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("docker-content-digest")),
            (201, digest.to_string().as_str())
        );
        assert_eq!(registry.get(answer.header("location")).await.text(), "hello");
    }
    let unknown = registry.send("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5", &[], "").await;
    assert_eq!(unknown.error(), error(400, "DIGEST_INVALID"));
}

#[tokio::test]
async fn a_wrong_digest_ends_the_upload() {
    let registry = TestRegistry::new().await;
    let location = registry.begin("a").await;
    let digest = sha256(b"other");
    let answer = registry.send("PUT", &format!("{location}?digest={digest}"), &[], "hello").await;
    assert_eq!(answer.error(), error(400, "DIGEST_INVALID"));
    assert_eq!(registry.get(&format!("/v2/a/blobs/{digest}")).await.error(), error(404, "BLOB_UNKNOWN"));
}

#[tokio::test]
async fn digests_must_be_there_once_and_well_formed() {
    let registry = TestRegistry::new().await;
    let location = registry.begin("a").await;
    let digest = sha256(b"hello");
    for query in [
        String::new(),
        "?digest=".to_owned(),
        "?digest=sha256:abc".to_owned(),
        format!("?digest={}", digest.to_string().to_uppercase()),
        "?digest=md5:d41d8cd98f00b204e9800998ecf8427e".to_owned(),
        format!("?digest={digest}&digest={digest}"),
    ] {
        let answer = registry.send("PUT", &format!("{location}{query}"), &[], "hello").await;
        assert_eq!(answer.status, 400, "{query}");
    }
    let encoded = digest.to_string().replace(':', "%3A");
    assert_eq!(registry.send("PUT", &format!("{location}?digest={encoded}"), &[], "hello").await.status, 201);
}

#[tokio::test]
async fn a_cancelled_upload_is_gone() {
    let registry = TestRegistry::new().await;
    let location = registry.begin("a").await;
    assert_eq!(registry.delete(&location).await.status, 204);
    for method in ["GET", "DELETE", "PATCH"] {
        let answer = registry.send(method, &location, &[], "").await;
        assert_eq!(answer.error(), error(404, "BLOB_UPLOAD_UNKNOWN"), "{method}");
    }
    let unknown = "/v2/a/blobs/uploads/not-an-upload";
    assert_eq!(registry.get(unknown).await.error(), error(404, "BLOB_UPLOAD_UNKNOWN"));
}

#[tokio::test]
async fn an_upload_belongs_to_its_repository() {
    let registry = TestRegistry::new().await;
    let location = registry.begin("a").await;
    let other = location.replace("/v2/a/", "/v2/b/");
    for method in ["GET", "PATCH", "DELETE"] {
        assert_eq!(registry.send(method, &other, &[], "").await.status, 404, "{method}");
    }
    assert_eq!(registry.get(&location).await.status, 204);
}

#[tokio::test]
async fn blobs_are_mounted_from_one_and_from_any_repository() {
    let registry = TestRegistry::new().await;
    let digest = registry.push_blob("source", b"hello").await;
    for (target, query) in [("one", "&from=source"), ("any", ""), ("source", "")] {
        let answer =
            registry.send("POST", &format!("/v2/{target}/blobs/uploads/?mount={digest}{query}"), &[], "").await;
        assert_eq!(answer.status, 201, "{target}");
        assert_eq!(answer.header("location"), format!("/v2/{target}/blobs/{digest}"));
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
        assert_eq!(registry.get(answer.header("location")).await.text(), "hello");
    }
}

#[tokio::test]
async fn what_cannot_be_mounted_becomes_an_upload() {
    let registry = TestRegistry::new().await;
    let stored = registry.push_blob("source", b"hello").await;
    let missing = sha256(b"missing");
    for query in
        [format!("mount={missing}&from=source"), format!("mount={missing}"), format!("mount={stored}&from=elsewhere")]
    {
        let answer = registry.send("POST", &format!("/v2/target/blobs/uploads/?{query}"), &[], "").await;
        assert_eq!(answer.status, 202, "{query}");
        assert_eq!(registry.get(answer.header("location")).await.status, 204);
    }
    assert_eq!(registry.get(&format!("/v2/target/blobs/{stored}")).await.status, 404);
    let broken = registry.send("POST", "/v2/target/blobs/uploads/?mount=sha256:abc", &[], "").await;
    assert_eq!(broken.error(), error(400, "DIGEST_INVALID"));
    let nobody = registry.send("POST", &format!("/v2/target/blobs/uploads/?mount={stored}&from=NO"), &[], "").await;
    assert_eq!(nobody.error(), error(400, "NAME_INVALID"));
}

#[tokio::test]
async fn of_two_writers_one_is_refused() {
    let registry = TestRegistry::new().await;
    let location = registry.begin("a").await;
    // The first writer has taken its bytes and waits for more; the second comes meanwhile.
    let mut first = Box::pin(registry.stream("PATCH", &location, &[], Chunks::of(["hello"]).pending()));
    assert!(poll_once(&mut first).await.is_pending());
    while registry.get(&location).await.header("range") != "0-4" {
        assert!(poll_once(&mut first).await.is_pending());
    }
    for (method, query) in [("PATCH", String::new()), ("PUT", format!("?digest={}", sha256(b"hello")))] {
        let second = registry.send(method, &format!("{location}{query}"), &[], "hello").await;
        assert_eq!(second.error(), error(416, "BLOB_UPLOAD_INVALID"), "{method}");
        assert_eq!(second.header("range"), "0-4");
    }
    assert_eq!(registry.delete(&location).await.error(), error(409, "BLOB_UPLOAD_INVALID"));
    // The first one's connection is lost: what it sent stays, and the next writer goes on.
    drop(first);
    let digest = sha256(b"hello world");
    assert_eq!(registry.send("PUT", &format!("{location}?digest={digest}"), &[], " world").await.status, 201);
}

#[tokio::test]
async fn one_request_whose_client_goes_away_leaves_nothing() {
    let registry = TestRegistry::new().await;
    let target = format!("/v2/a/blobs/uploads/?digest={}", sha256(b"hello world"));
    let mut request = Box::pin(registry.stream("POST", &target, &[], Chunks::of(["hello"]).pending()));
    while registry.engine.uploads_open() == 0 {
        assert!(poll_once(&mut request).await.is_pending());
    }
    drop(request);
    while registry.engine.uploads_open() > 0 {
        tokio::task::yield_now().await;
    }
}

/// Polls once, after giving other tasks a turn.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
    tokio::task::yield_now().await;
    std::future::poll_fn(|context| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context))).await
}

/// What it took cannot be had again, so that going on would fail for ever.
#[tokio::test]
async fn an_upload_that_lost_bytes_to_a_full_disk_is_over() {
    const ENOSPC: i32 = 28;
    // More than an upload alone on a registry has in memory: its answer waits for writes.
    const PIECE_BYTES: usize = 12 << 20;
    let disk = SimDisk::new(1);
    let engine = Engine::simulated(Arc::new(disk.clone()), Arc::new(MemoryIndex::default()), Options::default());
    let registry = TestRegistry::of(engine.await.expect("opens"), Limits::default(), Policy::default());
    let location = registry.begin("a").await;
    let piece = vec![7; PIECE_BYTES];
    assert_eq!(registry.send("PATCH", &location, &[], piece.clone()).await.status, 202);
    let next = disk.operations();
    (next..next + 64).for_each(|operation| disk.fail_at(operation, ENOSPC));
    let refused = registry.send("PATCH", &location, &[], piece.clone()).await;
    assert_eq!(refused.error(), error(507, "UNAVAILABLE"));
    assert_eq!(registry.get(&location).await.status, 404);
    assert_eq!(registry.send("PATCH", &location, &[], piece).await.status, 404);
}

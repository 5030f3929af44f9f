//! What does not fit is refused before it is sent, and nothing that fits is.

mod support;

use orlop_api::{Policy, limits::Limits};
use orlop_engine::{Options, Quota};
use support::{Chunks, TestRegistry, error, sha256};

const HELLO: &str = "hello";

/// Repositories below `small` have room for ten bytes, and there may be two repositories.
async fn registry() -> TestRegistry {
    let quotas = vec![Quota { prefix: "small".to_owned(), bytes: 10 }];
    let options = Options { quotas, namespaces_max: Some(2), ..Options::default() };
    TestRegistry::over(options, Limits::default(), Policy::default()).await
}

impl TestRegistry {
    async fn whole(&self, repository: &str, content: &str) -> support::Answer {
        let target = format!("/v2/{repository}/blobs/uploads/?digest={}", sha256(content.as_bytes()));
        self.send("POST", &target, &[], content.to_owned()).await
    }

    fn received(&self) -> u64 {
        self.engine.statistics().bytes_received
    }
}

#[tokio::test]
async fn a_full_repository_begins_no_session() {
    let registry = registry().await;
    assert_eq!(registry.whole("small/a", "0123456789").await.status, 201);
    let refused = registry.send("POST", "/v2/small/a/blobs/uploads/", &[], "").await;
    assert_eq!(refused.error(), error(403, "DENIED"));
    assert!(refused.text().contains("used=10 added=1 limit=10"), "{}", refused.text());
    assert_eq!(registry.engine.uploads_open(), 0);
    // What is there already takes nothing, whatever says so.
    assert_eq!(registry.whole("small/a", "0123456789").await.status, 201);
    let mount = format!("/v2/small/a/blobs/uploads/?mount={}&from=small/a", sha256(b"0123456789"));
    assert_eq!(registry.send("POST", &mount, &[], "").await.status, 201);
    assert_eq!(registry.whole("small/a", "").await.status, 201, "nothing always fits");
    registry.begin("other").await;
}

#[tokio::test]
async fn an_announced_length_that_cannot_fit_is_refused_before_its_body() {
    let registry = registry().await;
    assert_eq!(registry.whole("small/a", HELLO).await.status, 201);
    let before = registry.received();

    assert_eq!(registry.whole("small/a", "sixbyt").await.error(), error(403, "DENIED"));
    let session = registry.begin("small/a").await;
    let refused = registry.send("PATCH", &session, &[], "sixbyt").await;
    assert_eq!(refused.error(), error(403, "DENIED"));
    assert_eq!((refused.header("location"), refused.header("range")), (session.as_str(), "0-0"));
    let finish = format!("{session}?digest={}", sha256(b"sixbyt"));
    assert_eq!(registry.send("PUT", &finish, &[], "sixbyt").await.error(), error(403, "DENIED"));
    assert_eq!(registry.get(&session).await.error(), error(404, "BLOB_UPLOAD_UNKNOWN"));
    assert_eq!(registry.received(), before, "no body was read");
    assert_eq!(registry.engine.uploads_open(), 0);

    // The same number of bytes that are there already, and one byte less.
    let again = format!("{}?digest={}", registry.begin("small/a").await, sha256(HELLO.as_bytes()));
    assert_eq!(registry.send("PUT", &again, &[], HELLO).await.status, 201);
    assert_eq!(registry.whole("small/a", "fiveb").await.status, 201);
}

/// The sum of several requests counts, also of those whose length nobody told.
#[tokio::test]
async fn what_a_session_has_counts() {
    let registry = registry().await;
    let session = registry.begin("small/a").await;
    assert_eq!(registry.send("PATCH", &session, &[], "1234567").await.status, 202);
    let refused = registry.send("PATCH", &session, &[], "4567").await;
    assert_eq!(refused.error(), error(403, "DENIED"));
    assert_eq!(refused.header("range"), "0-6");
    assert_eq!(registry.stream("PATCH", &session, &[], Chunks::of(["8", "9", "0"])).await.status, 202);
    let refused = registry.stream("PATCH", &session, &[], Chunks::of(["more"])).await;
    assert_eq!(refused.error(), error(403, "DENIED"));
    let finish = format!("{session}?digest={}", sha256(b"1234567890"));
    assert_eq!(registry.send("PUT", &finish, &[], "").await.status, 201);
}

/// A stream that says nothing beforehand is refused when it is over, by the commit.
#[tokio::test]
async fn the_commit_decides() {
    let registry = registry().await;
    let session = registry.begin("small/a").await;
    let content = "twelve bytes";
    assert_eq!(registry.stream("PATCH", &session, &[], Chunks::of([content])).await.status, 202);
    let finish = format!("{session}?digest={}", sha256(content.as_bytes()));
    assert_eq!(registry.send("PUT", &finish, &[], "").await.error(), error(403, "DENIED"));
    assert_eq!(registry.engine.uploads_open(), 0, "its space is free again");
}

/// A stream without an end is cut one look after the quota, and gives its space back.
#[tokio::test]
async fn a_stream_of_unknown_length_is_cut_early() {
    const CHUNK: &str = "0123456789abcdef";
    const STEP_BYTES: u64 = 1 << 20;
    let registry = registry().await;
    let endless = || Chunks::repeated(CHUNK.repeat(4 << 10), 1 << 10);
    let whole = format!("/v2/small/a/blobs/uploads/?digest={}", sha256(HELLO.as_bytes()));
    for (method, target) in [
        ("PATCH", registry.begin("small/a").await),
        ("PUT", format!("{}?digest={}", registry.begin("small/a").await, sha256(HELLO.as_bytes()))),
        ("POST", whole),
    ] {
        let before = registry.received();
        let refused = registry.stream(method, &target, &[], endless()).await;
        assert_eq!(refused.error(), error(403, "DENIED"), "{method}");
        let taken = registry.received() - before;
        assert!(taken <= STEP_BYTES + (64 << 10), "{method}: {taken} bytes were taken");
        if method != "POST" {
            let path = target.split('?').next().expect("a path");
            assert_eq!(registry.get(path).await.error(), error(404, "BLOB_UPLOAD_UNKNOWN"), "{method}");
        }
    }
    // Where there is room, length does not matter.
    let session = registry.begin("other").await;
    let sent = Chunks::repeated(CHUNK.repeat(4 << 10), 48);
    assert_eq!(registry.stream("PATCH", &session, &[], sent).await.status, 202);
    assert_eq!(registry.get(&session).await.header("range"), format!("0-{}", 3 * STEP_BYTES - 1));
}

#[tokio::test]
async fn a_repository_too_many_begins_no_session() {
    let registry = registry().await;
    for repository in ["a", "b"] {
        assert_eq!(registry.whole(repository, HELLO).await.status, 201);
    }
    let refused = registry.send("POST", "/v2/c/blobs/uploads/", &[], "").await;
    assert_eq!(refused.error(), error(429, "TOOMANYREQUESTS"));
    let before = registry.received();
    assert_eq!(registry.whole("c", HELLO).await.error(), error(429, "TOOMANYREQUESTS"));
    assert_eq!((registry.received(), registry.engine.uploads_open()), (before, 0));
    registry.begin("a").await;
}

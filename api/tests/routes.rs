//! What every path answers: methods, unknown paths, probes, and bodies nobody asked for.

mod support;

use support::{Chunks, TestRegistry, error, sha256};

#[tokio::test]
async fn the_base_says_that_this_is_a_registry() {
    let registry = TestRegistry::new().await;
    for target in ["/v2/", "/v2"] {
        let answer = registry.get(target).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "{}"));
        assert_eq!(answer.header("content-type"), "application/json");
    }
    assert_eq!(registry.head("/v2/").await.header("content-length"), "2");
}

#[tokio::test]
async fn paths_that_name_nothing_are_not_found() {
    let registry = TestRegistry::new().await;
    for (target, expected) in [
        ("/", error(404, "NAME_UNKNOWN")),
        ("/v1/", error(404, "NAME_UNKNOWN")),
        ("/v2/a", error(404, "NAME_UNKNOWN")),
        ("/v2/a/tags", error(404, "NAME_UNKNOWN")),
        ("/v2/A/tags/list", error(400, "NAME_INVALID")),
        ("/v2/a/manifests/-bad", error(400, "MANIFEST_INVALID")),
        ("/v2/a/manifests/md5:abc", error(400, "DIGEST_INVALID")),
    ] {
        assert_eq!(registry.get(target).await.error(), expected, "{target}");
    }
}

#[tokio::test]
async fn methods_a_path_does_not_know_are_told_which_it_does() {
    let registry = TestRegistry::new().await;
    let digest = sha256(b"x");
    for (method, target, allow) in [
        ("POST", "/v2/".to_owned(), "GET, HEAD"),
        ("DELETE", "/v2/_catalog".to_owned(), "GET, HEAD"),
        ("PUT", "/v2/a/tags/list".to_owned(), "GET, HEAD"),
        ("POST", "/v2/a/manifests/latest".to_owned(), "GET, HEAD, PUT, DELETE"),
        ("PUT", format!("/v2/a/blobs/{digest}"), "GET, HEAD, DELETE"),
        ("GET", "/v2/a/blobs/uploads/".to_owned(), "POST"),
        ("POST", "/v2/a/blobs/uploads/1234".to_owned(), "GET, HEAD, PATCH, PUT, DELETE"),
        ("DELETE", format!("/v2/a/referrers/{digest}"), "GET, HEAD"),
        ("POST", "/livez".to_owned(), "GET, HEAD"),
    ] {
        let answer = registry.send(method, &target, &[], "").await;
        assert_eq!(answer.error(), error(405, "UNSUPPORTED"), "{method} {target}");
        assert_eq!(answer.header("allow"), allow, "{method} {target}");
    }
}

/// Browsers ask so before a request to another origin, without credentials (WHATWG Fetch, "CORS-preflight fetch").
#[tokio::test]
async fn every_path_says_which_methods_it_knows() {
    let registry = TestRegistry::new().await;
    for (target, allow) in [
        ("/v2/", "GET, HEAD"),
        ("/v2/a/manifests/none", "GET, HEAD, PUT, DELETE"),
        ("/v2/_zot/ext/mgmt", "GET, HEAD"),
        ("/zot/auth/logout", "POST"),
        ("/metrics", "GET, HEAD"),
    ] {
        let answer = registry.send("OPTIONS", target, &[], "").await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (204, allow), "{target}");
    }
    assert_eq!(registry.send("OPTIONS", "/nowhere", &[], "").await.status, 404);
}

#[tokio::test]
async fn what_clients_of_zot_ask_for_is_there() {
    let registry = TestRegistry::new().await;
    let document = |text: String| serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
    let extensions = document(registry.get("/v2/_oci/ext/discover").await.text().to_owned());
    assert_eq!(extensions["extensions"][0]["name"], "_zot");
    assert_eq!(extensions["extensions"][0]["endpoints"], serde_json::json!(["/v2/_zot/ext/mgmt"]));
    let management = document(registry.get("/v2/_zot/ext/mgmt").await.text().to_owned());
    assert_eq!(management["distSpecVersion"], "1.1.1");
    assert_eq!(management["http"], serde_json::json!({}), "nobody can log in here");
}

#[tokio::test]
async fn bodies_nobody_asked_for_are_read_away() {
    let registry = TestRegistry::new().await;
    assert_eq!(registry.send("GET", "/v2/", &[], "a body").await.text(), "{}");
    assert_eq!(registry.send("POST", "/v2/a/blobs/uploads/", &[], "a body").await.status, 202);
    assert_eq!(registry.stream("GET", "/v2/", &[], Chunks::of(["a body"]).broken()).await.status, 200);
    // A client that waits for leave to send is answered without it.
    let waiting = Chunks::of([]).pending();
    assert_eq!(registry.stream("PUT", "/v2/", &[("expect", "100-continue")], waiting).await.status, 405);
}

#[tokio::test]
async fn probes_and_metrics_answer() {
    let registry = TestRegistry::new().await;
    assert_eq!(registry.get("/livez").await.text(), "ok\n");
    assert_eq!(registry.get("/readyz").await.status, 503);
    registry.registry.health().advance(orlop_api::health::Phase::Serving);
    for target in ["/readyz", "/startupz"] {
        let answer = registry.get(target).await;
        assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "no-store"), "{target}");
    }
    registry.push_blob("a", b"x").await;
    registry.begin("a").await;
    let metrics = registry.get("/metrics").await;
    assert!(metrics.text().contains("orlop_uploads_begun_total 2\n"), "{}", metrics.text());
    assert!(metrics.text().contains("orlop_uploads_open 1\n"), "{}", metrics.text());
}

//! Manifests: pushed, pulled, checked and deleted.

mod support;

use orlop_api::{Policy, limits::Limits};
use orlop_engine::{Algorithm, Digest};
use support::{Answer, CONFIG, Chunks, INDEX, LAYER, MANIFEST, TestRegistry, error, image, index, sha256};

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

#[tokio::test]
async fn what_was_pushed_is_served_byte_for_byte() {
    let registry = TestRegistry::new().await;
    let (digest, manifest) = registry.push_image("a/b", "latest").await;
    assert_eq!(digest, sha256(manifest.as_bytes()));
    for (reference, cache) in
        [("latest", "private, no-cache"), (&digest.to_string(), "private, max-age=31536000, immutable")]
    {
        let target = format!("/v2/a/b/manifests/{reference}");
        let (get, head) = (registry.get(&target).await, registry.head(&target).await);
        assert_eq!((get.text(), head.body.len()), (manifest.as_str(), 0));
        for answer in [get, head] {
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("content-type"), MANIFEST);
            assert_eq!(answer.header("content-length"), manifest.len().to_string());
            assert_eq!(answer.header("docker-content-digest"), digest.to_string());
            assert_eq!(answer.header("etag"), format!("\"{digest}\""));
            assert_eq!(answer.header("cache-control"), cache);
        }
        for method in ["GET", "HEAD"] {
            let answer = registry.send(method, &target, &[("if-none-match", &format!("\"{digest}\""))], "").await;
            assert_eq!((answer.status.as_u16(), answer.body.len()), (304, 0));
        }
        // A client that accepts something else gets what there is.
        assert_eq!(registry.send("GET", &target, &[("accept", INDEX)], "").await.header("content-type"), MANIFEST);
    }
}

#[tokio::test]
async fn a_pull_is_a_get_of_a_manifest() {
    let registry = TestRegistry::new().await;
    let (digest, _) = registry.push_image("a", "latest").await;
    let etag = format!("\"{digest}\"");
    for target in ["/v2/a/manifests/latest".to_owned(), format!("/v2/a/manifests/{digest}")] {
        assert_eq!(registry.head(&target).await.status, 200);
        assert_eq!(registry.get(&target).await.status, 200);
        // It is unchanged, and about to be used.
        assert_eq!(registry.send("GET", &target, &[("if-none-match", &etag)], "").await.status, 304);
    }
    assert_eq!(registry.get(&format!("/v2/a/blobs/{}", sha256(b"layer"))).await.status, 200);
    assert_eq!(registry.get(&format!("/v2/b/manifests/{digest}")).await.status, 404);
    assert_eq!(registry.get("/v2/a/manifests/other").await.status, 404);
    registry.engine.record_pulls().await.expect("recorded");
    let statistics = registry.engine.statistics();
    assert_eq!((statistics.pulls_noted, statistics.pulls_recorded), (4, 4));
    let namespace = orlop_engine::Namespace::new("a").expect("valid");
    let used = registry.engine.document_use(&namespace, &digest).await.expect("a document");
    assert_eq!(used.usage.pulls, 4);
}

#[tokio::test]
async fn a_push_says_what_became_of_it() {
    let registry = TestRegistry::new().await;
    let (subject, _) = registry.push_image("a", "subject").await;
    let manifest = index(&[], &format!(r#","subject":{}"#, support::descriptor(MANIFEST, &subject, 363)));
    let digest = sha256(manifest.as_bytes());
    let target = format!("/v2/a/manifests/{digest}?tag=one&tag=two&tag=one");
    let answer = registry.send("PUT", &target, &[("content-type", INDEX)], manifest.clone()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("location"), format!("/v2/a/manifests/{digest}"));
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    assert_eq!(answer.header("oci-subject"), subject.to_string());
    let tags: Vec<_> = answer.headers.get_all("oci-tag").iter().map(|tag| tag.to_str().expect("text")).collect();
    assert_eq!(tags, ["one", "two"]);
    for tag in ["one", "two"] {
        assert_eq!(registry.get(&format!("/v2/a/manifests/{tag}")).await.text(), manifest);
    }
}

#[tokio::test]
async fn tags_in_the_query_go_with_a_digest_and_have_limits() {
    let registry = TestRegistry::new().await;
    let manifest = index(&[], "");
    let digest = sha256(manifest.as_bytes());
    let many: String = (0..70).map(|at| format!("&tag=t{at}")).collect();
    for (target, status) in [
        ("/v2/a/manifests/latest?tag=one".to_owned(), 400),
        (format!("/v2/a/manifests/{digest}?tag=-bad"), 400),
        (format!("/v2/a/manifests/{digest}?tag="), 400),
        (format!("/v2/a/manifests/{digest}?{many}"), 414),
    ] {
        let answer = registry.send("PUT", &target, &[("content-type", INDEX)], manifest.clone()).await;
        assert_eq!(answer.status, status, "{target}");
    }
    assert_eq!(registry.get(&format!("/v2/a/manifests/{digest}")).await.status, 404);
}

#[tokio::test]
async fn a_tag_moves_and_the_old_manifest_stays() {
    let registry = TestRegistry::new().await;
    let (old, manifest) = registry.push_image("a", "latest").await;
    let index = index(&[(MANIFEST, &old, manifest.len())], "");
    let new = registry.push_manifest("a", "latest", INDEX, &index).await;
    assert_eq!(registry.head("/v2/a/manifests/latest").await.header("docker-content-digest"), new.to_string());
    assert_eq!(registry.get(&format!("/v2/a/manifests/{old}")).await.status, 200);
}

#[tokio::test]
async fn other_algorithms_name_manifests_too() {
    let registry = TestRegistry::new().await;
    let manifest = index(&[], "");
    let digest = Digest::of(Algorithm::Sha512, manifest.as_bytes());
    let target = format!("/v2/a/manifests/{digest}?tag=latest");
    let answer = registry.send("PUT", &target, &[("content-type", INDEX)], manifest).await;
    assert_eq!((answer.status.as_u16(), answer.header("docker-content-digest")), (201, digest.to_string().as_str()));
    let answer = registry.head("/v2/a/manifests/latest").await;
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
}

#[tokio::test]
async fn docker_manifests_and_lists_are_manifests() {
    let registry = TestRegistry::new().await;
    let config = registry.push_blob("a", b"{}").await;
    let image = image(&[(CONFIG, &config, 2)], "").replace(MANIFEST, DOCKER_MANIFEST);
    let digest = registry.push_manifest("a", "image", DOCKER_MANIFEST, &image).await;
    let list = index(&[(DOCKER_MANIFEST, &digest, image.len())], "").replace(INDEX, DOCKER_LIST);
    registry.push_manifest("a", "list", DOCKER_LIST, &list).await;
    assert_eq!(registry.get("/v2/a/manifests/image").await.header("content-type"), DOCKER_MANIFEST);
    assert_eq!(registry.get("/v2/a/manifests/list").await.header("content-type"), DOCKER_LIST);
}

#[tokio::test]
async fn documents_that_are_no_manifests_are_refused() {
    let registry = TestRegistry::new().await;
    for (media_type, content) in [
        (MANIFEST, "not json"),
        (MANIFEST, "{}"),
        (MANIFEST, r#"{"schemaVersion":1}"#),
        (INDEX, r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","manifests":[]}"#),
        ("application/json", r#"{"schemaVersion":2,"manifests":[]}"#),
    ] {
        let answer = registry.put_manifest("a", "latest", media_type, content).await;
        assert_eq!(answer.error(), error(400, "MANIFEST_INVALID"), "{content}");
    }
    let untyped = registry.send("PUT", "/v2/a/manifests/latest", &[], index(&[], "")).await;
    assert_eq!(untyped.status, 201, "the document says what it is");
}

#[tokio::test]
async fn digests_of_the_path_must_match_the_document() {
    let registry = TestRegistry::new().await;
    let manifest = index(&[], "");
    let other = sha256(b"other").to_string();
    for reference in [other.as_str(), "sha256:baddigeststring"] {
        let answer = registry.put_manifest("a", reference, INDEX, &manifest).await;
        assert_eq!(answer.error(), error(400, "DIGEST_INVALID"), "{reference}");
    }
    assert_eq!(registry.get(&format!("/v2/a/manifests/{}", sha256(manifest.as_bytes()))).await.status, 404);
}

#[tokio::test]
async fn manifests_have_a_size_limit() {
    let mut limits = Limits::default();
    limits.set("manifest_bytes_max", 1024).expect("a valid limit");
    let registry = TestRegistry::with(limits, Policy::default()).await;
    let fits = index(&[], &format!(r#","annotations":{{"a":"{}"}}"#, "x".repeat(800)));
    assert_eq!(registry.put_manifest("a", "latest", INDEX, &fits).await.status, 201);
    let large = index(&[], &format!(r#","annotations":{{"a":"{}"}}"#, "x".repeat(1024)));
    assert_eq!(registry.put_manifest("a", "latest", INDEX, &large).await.error(), error(413, "SIZE_INVALID"));
    let chunks: Vec<String> = large.as_bytes().chunks(100).map(|part| String::from_utf8_lossy(part).into()).collect();
    let streamed =
        registry.stream("PUT", "/v2/a/manifests/latest", &[("content-type", INDEX)], Chunks::from(chunks)).await;
    assert_eq!(streamed.error(), error(413, "SIZE_INVALID"));
    assert_eq!(registry.get("/v2/a/manifests/latest").await.text(), fits);
}

#[tokio::test]
async fn a_document_in_many_frames_is_one_document() {
    let registry = TestRegistry::new().await;
    let manifest = index(&[], "");
    let chunks: Vec<String> = manifest.as_bytes().chunks(7).map(|part| String::from_utf8_lossy(part).into()).collect();
    let answer =
        registry.stream("PUT", "/v2/a/manifests/latest", &[("content-type", INDEX)], Chunks::from(chunks)).await;
    assert_eq!(answer.status, 201);
    assert_eq!(registry.get("/v2/a/manifests/latest").await.text(), manifest);
}

fn detail(answer: &Answer) -> String {
    answer.json()["errors"][0]["detail"].as_str().expect("a detail").to_owned()
}

#[tokio::test]
async fn everything_a_manifest_needs_must_be_there() {
    let registry = TestRegistry::new().await;
    let config = registry.push_blob("a", b"{}").await;
    let layer = registry.push_blob("elsewhere", b"layer").await;
    let answer =
        registry.put_manifest("a", "latest", MANIFEST, &image(&[(CONFIG, &config, 2), (LAYER, &layer, 5)], "")).await;
    assert_eq!(answer.error(), error(400, "MANIFEST_BLOB_UNKNOWN"));
    assert_eq!(detail(&answer), layer.to_string());
    let answer = registry.put_manifest("a", "latest", INDEX, &index(&[(MANIFEST, &layer, 5)], "")).await;
    assert_eq!(answer.error(), error(400, "MANIFEST_BLOB_UNKNOWN"));
    // The size of a descriptor is a promise to whoever pulls.
    let answer = registry.put_manifest("a", "latest", MANIFEST, &image(&[(CONFIG, &config, 3)], "")).await;
    assert_eq!(answer.error(), error(400, "MANIFEST_INVALID"));
    assert_eq!(detail(&answer), config.to_string());
    // A blob is no manifest, even if its bytes are.
    let answer = registry.put_manifest("a", "latest", INDEX, &index(&[(MANIFEST, &config, 2)], "")).await;
    assert_eq!(answer.error(), error(400, "MANIFEST_BLOB_UNKNOWN"));
    assert_eq!(registry.get("/v2/a/manifests/latest").await.status, 404);
}

#[tokio::test]
async fn layers_that_are_not_distributable_may_be_absent() {
    let registry = TestRegistry::new().await;
    let config = registry.push_blob("a", b"{}").await;
    let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    let manifest = image(&[(CONFIG, &config, 2), (foreign, &sha256(b"elsewhere"), 123_456)], "");
    registry.push_manifest("a", "latest", MANIFEST, &manifest).await;
    let there = registry.push_blob("a", b"there").await;
    let wrong = image(&[(CONFIG, &config, 2), (foreign, &there, 9)], "");
    assert_eq!(registry.put_manifest("a", "latest", MANIFEST, &wrong).await.error(), error(400, "MANIFEST_INVALID"));
}

#[tokio::test]
async fn a_mirror_may_hold_a_part_of_an_index() {
    let registry = TestRegistry::with(Limits::default(), Policy { sparse_manifests: true, ..Policy::default() }).await;
    let (there, manifest) = registry.push_image("a", "amd64").await;
    let sparse = index(&[(MANIFEST, &there, manifest.len()), (MANIFEST, &sha256(b"absent"), 99)], "");
    registry.push_manifest("a", "latest", INDEX, &sparse).await;
    let image = image(&[(CONFIG, &sha256(b"absent config"), 2)], "");
    registry.push_manifest("a", "image", MANIFEST, &image).await;
    // What is there is still protected.
    let answer = registry.delete(&format!("/v2/a/manifests/{there}")).await;
    assert_eq!(answer.error(), error(405, "DENIED"));
}

#[tokio::test]
async fn deleting_a_tag_removes_the_name_only() {
    let registry = TestRegistry::new().await;
    let (digest, _) = registry.push_image("a", "latest").await;
    assert_eq!(registry.delete("/v2/a/manifests/latest").await.status, 202);
    assert_eq!(registry.get("/v2/a/manifests/latest").await.error(), error(404, "MANIFEST_UNKNOWN"));
    assert_eq!(registry.delete("/v2/a/manifests/latest").await.error(), error(404, "MANIFEST_UNKNOWN"));
    assert_eq!(registry.get(&format!("/v2/a/manifests/{digest}")).await.status, 200);
}

#[tokio::test]
async fn deleting_a_manifest_removes_its_tags() {
    let registry = TestRegistry::new().await;
    let (digest, manifest) = registry.push_image("a", "one").await;
    registry.push_manifest("a", "two", MANIFEST, &manifest).await;
    let target = format!("/v2/a/manifests/{digest}");
    assert_eq!(registry.delete(&target).await.status, 202);
    for reference in ["one", "two", &digest.to_string()] {
        let answer = registry.get(&format!("/v2/a/manifests/{reference}")).await;
        assert_eq!(answer.error(), error(404, "MANIFEST_UNKNOWN"), "{reference}");
    }
    assert_eq!(registry.delete(&target).await.error(), error(404, "MANIFEST_UNKNOWN"));
    assert_eq!(registry.get("/v2/a/tags/list").await.text(), r#"{"name":"a","tags":[]}"#);
}

#[tokio::test]
async fn a_manifest_of_an_index_is_deleted_after_it() {
    let registry = TestRegistry::new().await;
    let (child, manifest) = registry.push_image("a", "child").await;
    let parent = registry.push_manifest("a", "parent", INDEX, &index(&[(MANIFEST, &child, manifest.len())], "")).await;
    let answer = registry.delete(&format!("/v2/a/manifests/{child}")).await;
    assert_eq!(answer.error(), error(405, "DENIED"));
    assert_eq!(registry.delete(&format!("/v2/a/manifests/{parent}")).await.status, 202);
    assert_eq!(registry.delete(&format!("/v2/a/manifests/{child}")).await.status, 202);
}

#[tokio::test]
async fn blobs_are_not_manifests() {
    let registry = TestRegistry::new().await;
    let manifest = index(&[], "");
    let digest = registry.push_blob("a", manifest.as_bytes()).await;
    let target = format!("/v2/a/manifests/{digest}");
    for method in ["GET", "DELETE"] {
        assert_eq!(registry.send(method, &target, &[], "").await.error(), error(404, "MANIFEST_UNKNOWN"), "{method}");
    }
    assert_eq!(registry.head(&target).await.status, 404);
    registry.push_manifest("a", "latest", INDEX, &manifest).await;
    assert_eq!(registry.get(&target).await.header("content-type"), INDEX);
}

#[tokio::test]
async fn unknown_repositories_tags_and_digests_are_told_apart() {
    let registry = TestRegistry::new().await;
    registry.push_image("a", "latest").await;
    assert_eq!(registry.get("/v2/none/manifests/latest").await.error(), error(404, "NAME_UNKNOWN"));
    assert_eq!(registry.get("/v2/a/manifests/none").await.error(), error(404, "MANIFEST_UNKNOWN"));
    let digest = sha256(b"none");
    assert_eq!(registry.get(&format!("/v2/a/manifests/{digest}")).await.error(), error(404, "MANIFEST_UNKNOWN"));
    assert_eq!(registry.delete(&format!("/v2/none/manifests/{digest}")).await.error(), error(404, "MANIFEST_UNKNOWN"));
}

//! Answers as another implementation of the specifications reads them: the types of `oci-spec`.

mod support;

use oci_spec::{
    distribution::{ErrorResponse, RepositoryList, TagList},
    image::{ImageIndex, ImageManifest, MediaType},
};
use support::{CONFIG, MANIFEST, TestRegistry, descriptor, image};

#[tokio::test]
async fn lists_are_read() {
    let registry = TestRegistry::new().await;
    registry.push_image("a/b", "v1").await;
    registry.push_image("a/b", "v2").await;
    registry.push_image("c", "v1").await;
    let tags: TagList = serde_json::from_slice(&registry.get("/v2/a/b/tags/list").await.body).expect("a tag list");
    assert_eq!((tags.name().as_str(), tags.tags().as_slice()), ("a/b", &["v1".to_owned(), "v2".to_owned()][..]));
    let catalog: RepositoryList = serde_json::from_slice(&registry.get("/v2/_catalog").await.body).expect("a catalog");
    assert_eq!(catalog.repositories().as_slice(), ["a/b", "c"]);
}

#[tokio::test]
async fn manifests_and_referrers_are_read() {
    let registry = TestRegistry::new().await;
    let (subject, _) = registry.push_image("a", "v1").await;
    let manifest: ImageManifest =
        serde_json::from_slice(&registry.get("/v2/a/manifests/v1").await.body).expect("an image manifest");
    assert_eq!(manifest.schema_version(), 2);

    let config = registry.push_blob("a", b"{}").await;
    let about = format!(r#","artifactType":"text/x-note","subject":{}"#, descriptor(MANIFEST, &subject, 99));
    let note = registry.push_manifest("a", "note", MANIFEST, &image(&[(CONFIG, &config, 2)], &about)).await;
    let answer = registry.get(&format!("/v2/a/referrers/{subject}")).await;
    let referrers: ImageIndex = serde_json::from_slice(&answer.body).expect("an image index");
    let [entry] = referrers.manifests().as_slice() else { panic!("one referrer, not {referrers:?}") };
    assert_eq!((entry.digest().to_string(), entry.media_type()), (note.to_string(), &MediaType::ImageManifest));
    assert_eq!(entry.artifact_type(), &Some(MediaType::from("text/x-note")));
}

#[tokio::test]
async fn errors_are_read() {
    let registry = TestRegistry::new().await;
    let absent = support::sha256(b"absent");
    for (target, code) in [
        (format!("/v2/a/blobs/{absent}"), "BLOB_UNKNOWN"),
        (format!("/v2/a/manifests/{absent}"), "MANIFEST_UNKNOWN"),
        ("/v2/a/tags/list".to_owned(), "NAME_UNKNOWN"),
        ("/v2/A/tags/list".to_owned(), "NAME_INVALID"),
        ("/v2/a/blobs/sha256:0".to_owned(), "DIGEST_INVALID"),
    ] {
        let answer = registry.get(&target).await;
        let response: ErrorResponse = serde_json::from_slice(&answer.body).expect("an error body");
        let [info] = response.detail() else { panic!("one error for {target}") };
        assert_eq!(serde_json::to_value(info.code()).expect("a code"), code, "{target}");
    }
}

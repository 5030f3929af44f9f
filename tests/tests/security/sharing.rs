//! Reading and linking through the store that all repositories share.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::Method;
use orlop_tests::{
    Options, Registry, Repository,
    http::{empty, request},
    repository::{IMAGE_CONFIG, IMAGE_LAYER, IMAGE_MANIFEST, descriptor, with_query},
    stream::{bytes, sha256},
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::common::{start, within};

/// Mounts that succeed against deletion and collection.
const MOUNTS_MIN: usize = 30;

/// Content of both kinds of placement: in the index, and in a file.
fn contents() -> [Bytes; 2] {
    [Bytes::from_static(b"a secret"), bytes(1, 1 << 20)]
}

async fn mount(to: &Repository, digest: &str, from: &str) -> u16 {
    let path = format!("{}?mount={digest}{from}", to.path("blobs/uploads/"));
    to.client.post(&path, "").await.status.as_u16()
}

/// zot CVE-2024-39897: HEAD took a blob from the shared store into the asker's repository.
#[tokio::test(flavor = "multi_thread")]
async fn looking_for_a_blob_links_nothing() {
    let registry = start().await;
    let (secret, other) = (registry.repository("team-a/secret"), registry.repository("team-b/x"));
    for content in contents() {
        let digest = secret.push(content).await;
        for _ in 0..2 {
            other.blob_head(&digest).await.expect(404);
            other.blob(&digest).await.expect_error(404, "BLOB_UNKNOWN");
            other.manifest(&digest).await.expect(404);
        }
    }
    let catalog = registry.client().get("/v2/_catalog").await.expect(200).json();
    assert_eq!(catalog["repositories"], json!(["team-a/secret"]));
    registry.finish();
}

/// zot CVE-2024-39897: a mount from a repository that does not have the blob, although the disk has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_mount_needs_a_source_that_has_the_blob() {
    let registry = start().await;
    let (secret, target) = (registry.repository("team-a/secret"), registry.repository("team-b/x"));
    registry.repository("team-a/other").push("something else").await;
    for content in contents() {
        let digest = secret.push(content).await;
        for from in ["&from=team-a/other", "&from=team-a/nowhere", "&from=team-b/x"] {
            assert_eq!(mount(&target, &digest, from).await, 202, "{from}");
            target.blob(&digest).await.expect_error(404, "BLOB_UNKNOWN");
        }
        assert_eq!(mount(&target, &digest, "&from=team-a/secret").await, 201, "the control");
        target.blob(&digest).await.expect(200);
    }
    registry.finish();
}

/// Whoever is told that a mount succeeded can read the blob, whatever deletes and collects meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_mount_that_succeeds_can_be_read() {
    let config = json!({ "storage": { "gcDelay": "0s", "gcInterval": "1ms", "gcLease": "5s" } });
    let registry = Registry::start(Options { config: Some(config), ..Options::default() }).await;
    let source = registry.repository("source");
    let content = bytes(2, 200_000);
    let digest = sha256(&content);
    let mounted = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    let (own, own_digest, own_content, enough) = (source.clone(), digest.clone(), content.clone(), mounted.clone());
    tasks.spawn(async move {
        while enough.load(Ordering::SeqCst) < MOUNTS_MIN {
            own.push_as(&own_digest, own_content.clone()).await;
            let deleted = own.client.delete(&own.blob_path(&own_digest)).await;
            assert_eq!(deleted.status, 202, "{deleted:?}");
        }
    });
    for number in 0..2 {
        let (client, digest, content, mounted) = (registry.client(), digest.clone(), content.clone(), mounted.clone());
        tasks.spawn(async move {
            let mut round = 0;
            while mounted.load(Ordering::SeqCst) < MOUNTS_MIN {
                round += 1;
                let target = Repository::new(client.clone(), &format!("target-{number}-{round}"));
                match mount(&target, &digest, "&from=source").await {
                    201 => {
                        assert!(target.blob(&digest).await.expect(200).body == content);
                        mounted.fetch_add(1, Ordering::SeqCst);
                    }
                    status => assert_eq!(status, 202),
                }
            }
        });
    }
    within(tasks.join_all()).await;
    registry.finish();
}

/// A manifest that names content the repository does not have would be a mount without a question.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_mounts_nothing() {
    let registry = start().await;
    let (secret, other) = (registry.repository("team-a/secret"), registry.repository("team-b/x"));
    let image = secret.push_image("v1", bytes(3, 1 << 20)).await;
    let refused = other.put_manifest("v1", IMAGE_MANIFEST, image.bytes.clone()).await;
    refused.expect_error(400, "MANIFEST_BLOB_UNKNOWN");
    let manifest: serde_json::Value = serde_json::from_slice(&image.bytes).expect("JSON");
    for part in [&manifest["config"], &manifest["layers"][0]] {
        let digest = part["digest"].as_str().expect("a digest");
        other.blob(digest).await.expect_error(404, "BLOB_UNKNOWN");
    }
    other.manifest("v1").await.expect(404);
    registry.finish();
}

/// Gitea CVE-2026-28740, MinIO CVE-2026-41145: the hash of stored content was enough to get it.
#[tokio::test(flavor = "multi_thread")]
async fn knowing_a_digest_is_not_having_the_bytes() {
    let registry = start().await;
    let (secret, other) = (registry.repository("team-a/secret"), registry.repository("team-b/x"));
    for content in contents() {
        let digest = secret.push(content.clone()).await;
        let mut wrong = content.to_vec();
        *wrong.last_mut().expect("content has bytes") ^= 1;
        let pieces = [Bytes::new(), content.slice(..1), content.slice(..content.len() - 1), wrong.into()];
        for repository in [&other, &secret] {
            for piece in &pieces {
                let whole = format!("{}?digest={digest}", repository.path("blobs/uploads/"));
                repository.client.post(&whole, piece.clone()).await.expect_error(400, "DIGEST_INVALID");
                let session = repository.open_upload().await;
                let close = with_query(&session, &format!("digest={digest}"));
                repository.client.put(&close, piece.clone()).await.expect_error(400, "DIGEST_INVALID");
            }
        }
        other.blob(&digest).await.expect_error(404, "BLOB_UNKNOWN");
        assert!(secret.blob(&digest).await.expect(200).body == content, "the owner's blob is unharmed");
    }
    registry.finish();
}

/// distribution CVE-2026-35172: a deleted blob was readable again once another repository touched it.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_of_one_repository_and_for_good() {
    let mut registry = start().await;
    for content in contents() {
        let (p, q) = (registry.repository("team-a/p"), registry.repository("team-a/q"));
        let digest = p.push(content.clone()).await;
        q.push_as(&digest, content.clone()).await;
        // Twice, so that whatever caches there are have it.
        for _ in 0..2 {
            p.blob(&digest).await.expect(200);
            q.blob(&digest).await.expect(200);
        }
        p.client.delete(&p.blob_path(&digest)).await.expect(202);
        for _ in 0..2 {
            assert!(q.blob(&digest).await.expect(200).body == content);
            q.blob_head(&digest).await.expect(200);
            p.blob(&digest).await.expect_error(404, "BLOB_UNKNOWN");
            p.blob_head(&digest).await.expect(404);
        }
        registry.stop();
        registry.restart().await;
        let (p, q) = (registry.repository("team-a/p"), registry.repository("team-a/q"));
        assert!(q.blob(&digest).await.expect(200).body == content);
        p.blob(&digest).await.expect_error(404, "BLOB_UNKNOWN");
    }
    registry.finish();
}

/// After the deletion of a manifest no route serves it, whichever is asked first.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_manifest_is_served_by_no_route() {
    const ROUTES: usize = 6;
    let registry = start().await;
    for first in 0..ROUTES {
        let repository = registry.repository(&format!("deleted/{first}"));
        let subject = repository.push_image("subject", "layer").await;
        let config = repository.push("{}").await;
        let parts = json!({ "schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "artifactType": "text/x-note",
            "config": { "mediaType": IMAGE_CONFIG, "digest": config, "size": 2 },
            "layers": [descriptor(IMAGE_LAYER, b"layer")], "subject": subject.descriptor(IMAGE_MANIFEST) });
        let note = parts.to_string();
        let digest = sha256(note.as_bytes());
        repository.put_manifest("note", IMAGE_MANIFEST, note).await.expect(201);
        for route in 0..ROUTES {
            assert!(serves(&repository, route, &digest, &subject.digest).await, "route {route} before");
        }
        repository.client.delete(&repository.manifest_path(&digest)).await.expect(202);
        for route in (first..ROUTES).chain(0..first) {
            assert!(!serves(&repository, route, &digest, &subject.digest).await, "route {route}, first {first}");
        }
    }
    registry.finish();
}

async fn serves(repository: &Repository, route: usize, digest: &str, subject: &str) -> bool {
    let client = &repository.client;
    let answer = match route {
        0 => repository.manifest("note").await,
        1 => repository.manifest(digest).await,
        2 => client.head(&repository.manifest_path("note")).await,
        3 => client.send(request(Method::HEAD, &repository.manifest_path(digest), empty())).await,
        4 => client.get(&repository.path("tags/list")).await.expect(200),
        _ => client.get(&repository.path(&format!("referrers/{subject}"))).await.expect(200),
    };
    match route {
        0..=3 => answer.status == 200,
        4 => answer.json()["tags"].as_array().expect("tags").contains(&json!("note")),
        _ => answer.json()["manifests"].as_array().expect("manifests").iter().any(|entry| entry["digest"] == digest),
    }
}

//! Reading and deleting blobs: whole, in parts, on conditions, and damaged.

mod support;

use orlop_engine::{Algorithm, Digest};
use support::{CONFIG, LAYER, MANIFEST, TestRegistry, error, image, sha256};

const CONTENT: &[u8] = b"0123456789abcdefghij";

async fn stored() -> (TestRegistry, Digest, String) {
    let registry = TestRegistry::new().await;
    let digest = registry.push_blob("a", CONTENT).await;
    let target = format!("/v2/a/blobs/{digest}");
    (registry, digest, target)
}

#[tokio::test]
async fn get_and_head_describe_the_same_content() {
    let (registry, digest, target) = stored().await;
    let get = registry.get(&target).await;
    let head = registry.head(&target).await;
    assert_eq!(get.body, CONTENT);
    assert!(head.body.is_empty());
    for answer in [&get, &head] {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-length"), "20");
        assert_eq!(answer.header("content-type"), "application/octet-stream");
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
        assert_eq!(answer.header("etag"), format!("\"{digest}\""));
        assert_eq!(answer.header("accept-ranges"), "bytes");
        assert_eq!(answer.header("cache-control"), "private, max-age=31536000, immutable");
    }
}

#[tokio::test]
async fn unknown_blobs_are_not_found() {
    let (registry, digest, _) = stored().await;
    let unknown = sha256(b"unknown");
    for method in ["GET", "DELETE"] {
        let answer = registry.send(method, &format!("/v2/a/blobs/{unknown}"), &[], "").await;
        assert_eq!(answer.error(), error(404, "BLOB_UNKNOWN"));
    }
    // There is no way from one repository into another.
    assert_eq!(registry.get(&format!("/v2/b/blobs/{digest}")).await.error(), error(404, "BLOB_UNKNOWN"));
    let head = registry.head(&format!("/v2/b/blobs/{digest}")).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (404, 0));
    assert_eq!(registry.get("/v2/a/blobs/sha256:abc").await.error(), error(400, "DIGEST_INVALID"));
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let (registry, digest, target) = stored().await;
    for method in ["GET", "HEAD"] {
        let answer = registry.send(method, &target, &[("if-none-match", &format!("\"{digest}\""))], "").await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (304, 0));
        assert_eq!(answer.header("etag"), format!("\"{digest}\""));
        assert!(!answer.headers.contains_key("content-length"));
    }
    assert_eq!(registry.send("GET", &target, &[("if-none-match", "\"other\"")], "").await.status, 200);
}

#[tokio::test]
async fn one_range_is_one_part() {
    let (registry, _, target) = stored().await;
    for (range, body, place) in [
        ("bytes=5-9", "56789", "bytes 5-9/20"),
        ("bytes=15-", "fghij", "bytes 15-19/20"),
        ("bytes=-3", "hij", "bytes 17-19/20"),
        ("bytes=18-99", "ij", "bytes 18-19/20"),
        ("bytes=0-4,5-9", "0123456789", "bytes 0-9/20"),
    ] {
        let answer = registry.send("GET", &target, &[("range", range)], "").await;
        assert_eq!((answer.status.as_u16(), answer.text()), (206, body), "{range}");
        assert_eq!(answer.header("content-range"), place);
        assert_eq!(answer.header("content-length"), body.len().to_string());
    }
}

#[tokio::test]
async fn several_ranges_are_parts_with_an_exact_length() {
    let (registry, _, target) = stored().await;
    let answer = registry.send("GET", &target, &[("range", "bytes=0-1,10-11,-1")], "").await;
    assert_eq!(answer.status, 206);
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    let boundary = answer.header("content-type").strip_prefix("multipart/byteranges; boundary=").expect("a boundary");
    let part = |range: &str, content: &str| {
        let head = "Content-Type: application/octet-stream";
        format!("--{boundary}\r\n{head}\r\nContent-Range: bytes {range}/20\r\n\r\n{content}\r\n")
    };
    let expected = part("0-1", "01") + &part("10-11", "ab") + &part("19-19", "j") + &format!("--{boundary}--\r\n");
    assert_eq!(answer.text(), expected);
}

#[tokio::test]
async fn ranges_outside_are_refused_and_unknown_ones_ignored() {
    let (registry, digest, target) = stored().await;
    for range in ["bytes=20-", "bytes=50-60", "bytes=5-0"] {
        let answer = registry.send("GET", &target, &[("range", range)], "").await;
        assert_eq!((answer.status.as_u16(), answer.header("content-range")), (416, "bytes */20"), "{range}");
    }
    for range in ["lines=1-2", "bytes=x"] {
        assert_eq!(registry.send("GET", &target, &[("range", range)], "").await.status, 200, "{range}");
    }
    let (matching, other) = (format!("\"{digest}\""), format!("\"{}\"", sha256(b"other")));
    for (tag, status) in [(&matching, 206), (&other, 200)] {
        let answer = registry.send("GET", &target, &[("range", "bytes=0-0"), ("if-range", tag)], "").await;
        assert_eq!(answer.status, status, "{tag}");
    }
    let head = registry.send("HEAD", &target, &[("range", "bytes=0-0")], "").await;
    assert_eq!((head.status.as_u16(), head.header("content-length")), (200, "20"));
}

#[tokio::test]
async fn a_deleted_blob_is_gone_here_only() {
    let (registry, digest, target) = stored().await;
    registry.push_blob("b", CONTENT).await;
    assert_eq!(registry.delete(&target).await.status, 202);
    assert_eq!(registry.get(&target).await.error(), error(404, "BLOB_UNKNOWN"));
    assert_eq!(registry.delete(&target).await.error(), error(404, "BLOB_UNKNOWN"));
    assert_eq!(registry.get(&format!("/v2/b/blobs/{digest}")).await.body, CONTENT);
}

#[tokio::test]
async fn needed_blobs_and_manifests_cannot_be_deleted_as_blobs() {
    let (registry, layer, target) = stored().await;
    let config = registry.push_blob("a", b"{}").await;
    let manifest = image(&[(CONFIG, &config, 2), (LAYER, &layer, CONTENT.len())], "");
    let digest = registry.push_manifest("a", "latest", MANIFEST, &manifest).await;
    for needed in [target.clone(), format!("/v2/a/blobs/{config}"), format!("/v2/a/blobs/{digest}")] {
        let answer = registry.delete(&needed).await;
        assert_eq!(answer.error(), error(405, "DENIED"), "{needed}");
        assert_eq!(answer.header("allow"), "GET, HEAD");
        assert_eq!(registry.get(&needed).await.status, 200);
    }
    assert_eq!(registry.delete(&format!("/v2/a/manifests/{digest}")).await.status, 202);
    assert_eq!(registry.delete(&target).await.status, 202);
}

/// More than the engine keeps inline, so that it is a file, and more than one read of it.
fn large() -> Vec<u8> {
    (0..3_000_000_u32).map(|at| (at % 251) as u8).collect()
}

#[tokio::test]
async fn large_blobs_come_back_whole_and_in_parts() {
    let registry = TestRegistry::new().await;
    let content = large();
    let target = format!("/v2/a/blobs/{}", registry.push_blob("a", &content).await);
    let answer = registry.get(&target).await;
    assert!(!answer.cut && answer.body == content);
    let answer = registry.send("GET", &target, &[("range", "bytes=99999-2500000")], "").await;
    assert!(!answer.cut && answer.body == content[99_999..=2_500_000]);
}

#[tokio::test]
async fn damage_cuts_the_answer_and_is_not_found_afterwards() {
    let registry = TestRegistry::new().await;
    let content = large();
    let digest = Digest::of(Algorithm::Sha256, &content);
    let target = format!("/v2/a/blobs/{}", registry.push_blob("a", &content).await);
    damage(registry.root.path(), &content, 2_900_000);
    let answer = registry.get(&target).await;
    assert_eq!((answer.status.as_u16(), answer.cut), (200, true));
    assert!(content.starts_with(&answer.body) && answer.body.len() <= 2_900_000, "no damaged byte is sent");
    assert_eq!(registry.get(&target).await.error(), error(404, "BLOB_UNKNOWN"));
    // A new push heals it.
    assert_eq!(registry.push_blob("a", &content).await, digest);
    assert!(registry.get(&target).await.body == content);
}

#[tokio::test]
async fn damage_at_the_front_is_not_found_at_once() {
    let registry = TestRegistry::new().await;
    let content = large();
    let target = format!("/v2/a/blobs/{}", registry.push_blob("a", &content).await);
    damage(registry.root.path(), &content, 7);
    assert_eq!(registry.get(&target).await.error(), error(404, "BLOB_UNKNOWN"));
}

/// Flips a bit of the one file below `blobs/` that holds `content`.
fn damage(root: &std::path::Path, content: &[u8], at: usize) {
    let mut directories = vec![root.join("blobs")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("a readable directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if std::fs::metadata(&path).expect("a file").len() >= content.len() as u64 {
                let mut bytes = std::fs::read(&path).expect("a readable file");
                assert!(bytes.starts_with(content));
                bytes[at] ^= 1;
                std::fs::remove_file(&path).expect("a removable file");
                std::fs::write(&path, bytes).expect("a writable file");
                return;
            }
        }
    }
    panic!("no file holds the content");
}

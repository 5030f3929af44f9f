//! Names of repositories and tags, and paths that would lead elsewhere.

use orlop_tests::{Registry, disk, repository::IMAGE_MANIFEST, stream::sha256};
use serde_json::json;

use crate::common::{Wire, start, status_of};

async fn ask(registry: &Registry, method: &str, path: &str) -> Option<u16> {
    status_of(registry, format!("{method} {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")).await
}

async fn assert_no_repository(registry: &Registry) {
    let catalog = registry.client().get("/v2/_catalog").await.expect(200).json();
    assert_eq!(catalog["repositories"], json!([]));
    assert_eq!(disk::blob_files(&registry.root()), []);
    assert_eq!(disk::upload_files(&registry.root()), []);
}

/// Nexus CVE-2024-4956, SeaweedFS CVE-2026-54917: segments that climb out of where they belong.
#[tokio::test(flavor = "multi_thread")]
async fn segments_that_climb_name_nothing() {
    let registry = start().await;
    let before = disk::files(&registry.scratch("."));
    for segment in [
        "..",
        ".",
        "%2e%2e",
        "%252e%252e",
        ".%2e",
        "%2e%2e%2f",
        "..\\",
        "%5c",
        "..%5c",
        "%00",
        "a%00b",
        "%c0%ae",
        "%c0%ae%c0%ae",
        "",
        "-a",
        ".a",
        "_a",
        "a-",
        "a.",
        "a_",
        "~",
        "a%2fb",
        "a;b",
        "%",
        "%zz",
        "a%0d%0ab",
    ] {
        for path in [
            format!("/v2/{segment}/manifests/latest"),
            format!("/v2/a/{segment}/b/manifests/latest"),
            format!("/v2/a/{segment}/tags/list"),
            format!("/v2/{segment}/blobs/uploads/"),
            format!("/v2/a/{segment}/blobs/{}", sha256(b"x")),
        ] {
            for method in ["GET", "PUT", "POST", "DELETE"] {
                let status = ask(&registry, method, &path).await;
                assert!(matches!(status, Some(400 | 404 | 405)), "{method} {path}: {status:?}");
            }
        }
    }
    assert_no_repository(&registry).await;
    let of_the_index = |file: &disk::File| file.path.starts_with(registry.root().join("index"));
    let after = disk::files(&registry.scratch("."));
    let new = after.iter().filter(|file| !of_the_index(file) && !before.iter().any(|old| old.path == file.path));
    assert_eq!(new.count(), 0, "files appeared: {after:?}");
    registry.finish();
}

/// Nexus CVE-2024-4956: no route leads to a file.
#[tokio::test(flavor = "multi_thread")]
async fn no_route_serves_files() {
    let registry = start().await;
    for path in [
        "/%2F%2F%2F%2F%2F%2F%2F..%2F..%2F..%2F..%2F..%2F..%2F..%2Fetc%2Fpasswd",
        "//etc/passwd",
        "/../../../../etc/passwd",
        "/etc/passwd",
        "/static/../../etc/passwd",
        "/docs/%2e%2e/%2e%2e/etc/passwd",
        "/v2/../../etc/passwd",
        "/v2/..%2f..%2fetc%2fpasswd",
        "/FORMAT",
        "/index/CURRENT",
        "/favicon.ico",
        "/debug/pprof/",
        "/.env",
    ] {
        for method in ["GET", "HEAD"] {
            let mut wire = Wire::open(&registry).await;
            wire.send(format!("{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
            let head = wire.head().await;
            assert!(matches!(head.get(9..12), Some("400" | "404")), "{method} {path}: {head}");
        }
    }
    registry.finish();
}

/// Harbor CVE-2020-29662: the catalog behind another spelling of its path.
#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_has_one_path() {
    let registry = start().await;
    registry.repository("hidden").push("content").await;
    for path in [
        "//v2/_catalog",
        "/v2//_catalog",
        "/v2/./_catalog",
        "/V2/_catalog",
        "/v2/_catalog/",
        "/v2/%2e/_catalog",
        "/v2/_Catalog",
        "/v2/x/../_catalog",
        "/v2;/_catalog",
        "/v2/_catalog%2f",
        "/v2/_catalog%00",
    ] {
        let mut wire = Wire::open(&registry).await;
        wire.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let reply = wire.reply().await.expect("an answer");
        assert!(matches!(reply.status, 400 | 404), "{path}: {reply:?}");
        assert!(!String::from_utf8_lossy(&reply.body).contains("hidden"), "{path}: {reply:?}");
    }
    for header in ["x-original-url", "x-rewrite-url"] {
        let mut wire = Wire::open(&registry).await;
        wire.send(format!("GET /v2/ HTTP/1.1\r\nhost: a\r\n{header}: /v2/_catalog\r\n\r\n")).await;
        assert_eq!(wire.reply().await.expect("an answer").body, b"{}", "{header}");
    }
    registry.finish();
}

/// Names up to 255 bytes and nothing longer, however it is divided.
#[tokio::test(flavor = "multi_thread")]
async fn names_have_a_length() {
    let registry = start().await;
    let parts = |count: usize| vec!["a"; count].join("/");
    for (name, statuses) in [
        ("a".to_owned(), &[202][..]),
        ("a".repeat(255), &[202]),
        (parts(32), &[202]),
        (parts(128), &[202]),
        ("a".repeat(256), &[400]),
        (parts(129), &[400]),
        (parts(1_000), &[400]),
        ("a".repeat(64 << 10), &[400, 414, 431]),
        (format!("{}A", "a-".repeat(20_000)), &[400, 414, 431]),
    ] {
        let status = ask(&registry, "POST", &format!("/v2/{name}/blobs/uploads/")).await.expect("an answer");
        assert!(statuses.contains(&status), "{} bytes: {status}", name.len());
    }
    registry.finish();
}

/// Names that look alike are one name or no name.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_look_alike_are_refused() {
    let registry = start().await;
    for name in [
        "Team",
        "tEAM",
        "t%D0%B5am",
        "%D1%82eam",
        "caf%C3%A9",
        "cafe%CC%81",
        "te%E2%80%8Bam",
        "te%C2%ADam",
        "%EF%BD%94eam",
        "team%E2%80%AE",
        "te%EF%BB%BFam",
        "team%20",
        "te%09am",
        "%F0%9D%93%BDeam",
    ] {
        for path in ["blobs/uploads/", "manifests/v1", "tags/list"] {
            let method = if path.ends_with('/') { "POST" } else { "GET" };
            let status = ask(&registry, method, &format!("/v2/{name}/{path}")).await;
            assert!(matches!(status, Some(400 | 404)), "{name}/{path}: {status:?}");
        }
    }
    assert_no_repository(&registry).await;
    registry.finish();
}

/// Tags have 128 characters of a few kinds, and bring no header of their own into an answer.
#[tokio::test(flavor = "multi_thread")]
async fn tags_are_plain_and_put_no_header_into_answers() {
    let registry = start().await;
    let repository = registry.repository("tags");
    let image = repository.push_image("v1", "layer").await;
    let (longest, longer) = ("a".repeat(128), "a".repeat(129));
    for tag in [&longest, "_a", "0", "A.b-c_d"] {
        repository.put_manifest(tag, IMAGE_MANIFEST, image.bytes.clone()).await.expect(201);
    }
    let digest = sha256(b"another");
    for tag in [
        &longer,
        "-x",
        ".x",
        "a:b",
        "a%20b",
        "a%0D%0AX-Evil:%201",
        "latest%0d%0aSet-Cookie:%20a=b",
        "a%00",
        "%C3%A4",
        &digest,
        "sha256:short",
        "a%2Fb",
    ] {
        let body = &image.bytes;
        let head = |target: &str| {
            let length = body.len();
            let mut sent = format!(
                "PUT {target} HTTP/1.1\r\nhost: a\r\ncontent-type: {IMAGE_MANIFEST}\r\ncontent-length: {length}\r\n\r\n"
            )
            .into_bytes();
            sent.extend_from_slice(body);
            sent
        };
        let by_query = format!("/v2/tags/manifests/{}?tag={tag}", image.digest);
        for target in [format!("/v2/tags/manifests/{tag}"), by_query] {
            let mut wire = Wire::open(&registry).await;
            wire.send(head(&target)).await;
            let reply = wire.reply().await.expect("an answer");
            assert!(matches!(reply.status, 400 | 404), "{target}: {reply:?}");
            let names = reply.head.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name);
            assert!(!names.clone().any(|name| ["x-evil", "set-cookie"].contains(&name.trim())), "{reply:?}");
        }
    }
    let tags = repository.client.get(&repository.path("tags/list")).await.expect(200).json();
    assert_eq!(tags["tags"], json!(["0", "A.b-c_d", "_a", longest, "v1"]));
    registry.finish();
}

//! What the OCI distribution specification (1.1, and what its main branch adds) promises to
//! clients, asked of the running registry one rule at a time.
//!
//! Each test names the section it reads. Blobs are asked for with both registered digest
//! algorithms, and one run goes over HTTP/2.

use bytes::Bytes;
use http::Method;
use orlop_tests::{
    Answer, Options, Registry, Repository,
    http::{Client, empty, full, request, request_with},
    repository::{
        EMPTY_JSON, IMAGE_INDEX, IMAGE_LAYER, IMAGE_MANIFEST, Manifest, descriptor, image_config, with_query,
    },
    stream::{bytes, sha256, sha512},
};
use serde_json::{Value, json};

type DigestOf = fn(&[u8]) -> String;

/// The algorithms that the specification registers.
const ALGORITHMS: [DigestOf; 2] = [sha256, sha512];

/// A size that is stored in the index, and one that gets a file.
const SIZES: [usize; 2] = [3_067, 300_000];

/// Asserts that a blob is served whole under its digest, by GET and by HEAD.
async fn assert_blob(repository: &Repository, digest: &str, content: &[u8]) {
    let got = repository.blob(digest).await.expect(200);
    assert_eq!(got.body, content);
    let head = repository.blob_head(digest).await.expect(200);
    assert!(head.body.is_empty());
    for answer in [got, head] {
        assert_eq!(answer.header("docker-content-digest"), digest);
        assert_eq!(answer.header("content-length"), content.len().to_string());
    }
}

/// Asserts a 201 for a blob, that its Location leads to the blob, and that the blob is served.
async fn assert_created(repository: &Repository, answer: Answer, digest: &str, content: &[u8]) {
    let answer = answer.expect(201);
    assert_eq!(answer.header("docker-content-digest"), digest);
    assert_eq!(repository.client.get(&answer.location()).await.expect(200).body, content);
    assert_blob(repository, digest, content).await;
}

/// PATCH with a Content-Range, inclusive as the specification has it.
async fn patch(client: &Client, session: &str, first: usize, chunk: &[u8]) -> Answer {
    let range = format!("{first}-{}", first + chunk.len() - 1);
    let body = full(Bytes::copy_from_slice(chunk));
    client.send(request_with(Method::PATCH, session, ("content-range", &range), body)).await
}

fn closing(session: &str, digest: &str) -> String {
    with_query(session, &format!("digest={digest}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_base_says_that_it_speaks_the_protocol() {
    let registry = Registry::start(Options::default()).await;
    registry.client().get("/v2/").await.expect(200);
    for probe in ["/livez", "/readyz", "/startupz"] {
        registry.client().get(probe).await.expect(200);
    }
    registry.finish();
}

/// Section "Pushing blobs": every way, each with content of either placement and either algorithm,
/// of which nothing was announced when the session was opened.
#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_pushed_in_every_way() {
    let registry = Registry::start(Options::default()).await;
    let client = registry.client();
    push_in_every_way(&registry.repository("push/http1")).await;
    assert_eq!(client.get("/v2/").await.version, http::Version::HTTP_11);
    registry.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_pushed_in_every_way_over_http2() {
    let registry = Registry::start(Options::tls()).await;
    let client = registry.client_http2();
    assert_eq!(client.get("/v2/").await.expect(200).version, http::Version::HTTP_2);
    push_in_every_way(&Repository::new(client, "push/http2")).await;
    registry.finish();
}

async fn push_in_every_way(repository: &Repository) {
    let client = &repository.client;
    let mut seed = 0;
    let mut fresh = |size| {
        seed += 1;
        bytes(seed, size)
    };
    for digest_of in ALGORITHMS {
        for size in SIZES {
            let content = fresh(size);
            let digest = digest_of(&content);
            repository.blob(&digest).await.expect_error(404, "BLOB_UNKNOWN");
            let whole = format!("{}?digest={digest}", repository.path("blobs/uploads/"));
            assert_created(repository, client.post(&whole, content.clone()).await, &digest, &content).await;

            let content = fresh(size);
            let digest = digest_of(&content);
            let session = repository.open_upload().await;
            let answer = client.put(&closing(&session, &digest), content.clone()).await;
            assert_created(repository, answer, &digest, &content).await;

            // Chunks, the last of them with the PUT or before it.
            for chunk_in_put in [false, true] {
                let content = fresh(size);
                let digest = digest_of(&content);
                let mut session = repository.open_upload().await;
                let chunk = size / 3 + 1;
                for first in [0, chunk, 2 * chunk] {
                    let part = &content[first..size.min(first + chunk)];
                    let last = first + part.len() == size;
                    if last && chunk_in_put {
                        let range = format!("{first}-{}", size - 1);
                        let body = full(Bytes::copy_from_slice(part));
                        let put =
                            request_with(Method::PUT, &closing(&session, &digest), ("content-range", &range), body);
                        assert_created(repository, client.send(put).await, &digest, &content).await;
                    } else {
                        let answer = patch(client, &session, first, part).await.expect(202);
                        assert_eq!(answer.header("range"), format!("0-{}", first + part.len() - 1));
                        session = answer.location();
                    }
                }
                if !chunk_in_put {
                    let answer = client.put(&closing(&session, &digest), "").await;
                    assert_created(repository, answer, &digest, &content).await;
                }
            }

            // A stream: one PATCH without a Content-Range.
            let content = fresh(size);
            let digest = digest_of(&content);
            let session = repository.open_upload().await;
            let session = client.patch(&session, content.clone()).await.expect(202).location();
            let answer = client.put(&closing(&session, &digest), "").await;
            assert_created(repository, answer, &digest, &content).await;
        }
    }
}

/// The empty blob and `{}` are blobs like any other.
#[tokio::test(flavor = "multi_thread")]
async fn well_known_blobs_are_pushed_and_pulled() {
    let registry = Registry::start(Options::default()).await;
    let repository = registry.repository("known");
    for content in ["", "{}"] {
        for digest_of in ALGORITHMS {
            let digest = digest_of(content.as_bytes());
            let session = repository.open_upload().await;
            let answer = repository.client.put(&closing(&session, &digest), content).await;
            assert_created(&repository, answer, &digest, content.as_bytes()).await;
        }
    }
    registry.finish();
}

/// Section "Pushing a blob in chunks": chunks out of order are 416 and leave the session as it was.
#[tokio::test(flavor = "multi_thread")]
async fn chunks_out_of_order_are_refused_and_the_session_goes_on() {
    let registry = Registry::start(Options::default()).await;
    let repository = registry.repository("chunks");
    let client = &repository.client;
    for (seed, digest_of) in (1..).zip(ALGORITHMS) {
        let content = bytes(seed, 3 * 1024 - 5);
        let digest = digest_of(&content);
        let mut session = repository.open_upload().await;
        for (first, ahead) in [(0, 1024), (1024, 2048), (2048, 0)] {
            let wrong = &content[ahead..content.len().min(ahead + 1024)];
            patch(client, &session, ahead, wrong).await.expect(416);
            let range = format!("{ahead}-{}", ahead + wrong.len() - 1);
            let put = request_with(
                Method::PUT,
                &closing(&session, &digest),
                ("content-range", &range),
                full(Bytes::copy_from_slice(wrong)),
            );
            client.send(put).await.expect(416);
            // The status is asked for under the path that was refused, query included.
            let status = client.get(&closing(&session, &digest)).await.expect(204);
            let last = if first == 0 { 0 } else { first - 1 };
            assert_eq!(status.header("range"), format!("0-{last}"));
            session = status.location();
            let right = &content[first..content.len().min(first + 1024)];
            session = patch(client, &session, first, right).await.expect(202).location();
        }
        let answer = client.put(&closing(&session, &digest), "").await;
        assert_created(&repository, answer, &digest, &content).await;
    }
    registry.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_upload_is_gone() {
    let registry = Registry::start(Options::default()).await;
    let repository = registry.repository("cancel");
    let session = repository.open_upload().await;
    let session = repository.client.patch(&session, bytes(1, 100_000)).await.expect(202).location();
    repository.client.delete(&session).await.expect(204);
    repository.client.get(&session).await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    registry.finish();
}

/// Section "Mounting a blob from another repository".
#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_mounted_from_a_named_and_from_any_repository() {
    let registry = Registry::start(Options::default()).await;
    let (source, target) = (registry.repository("mount/source"), registry.repository("mount/target"));
    for (seed, from) in [(1, "&from=mount%2Fsource"), (2, "")] {
        let content = bytes(seed, 200_000);
        let digest = source.push(content.clone()).await;
        target.blob(&digest).await.expect_error(404, "BLOB_UNKNOWN");
        let mount = format!("{}?mount={digest}{from}", target.path("blobs/uploads/"));
        assert_created(&target, target.client.post(&mount, "").await, &digest, &content).await;
        // What was mounted stays when the source lets go of it.
        source.client.delete(&source.blob_path(&digest)).await.expect(202);
        source.blob(&digest).await.expect_error(404, "BLOB_UNKNOWN");
        assert_blob(&target, &digest, &content).await;
    }

    let content = bytes(3, 1000);
    let digest = sha256(&content);
    let mount = format!("{}?mount={digest}&from=mount%2Fsource", target.path("blobs/uploads/"));
    let session = target.client.post(&mount, "").await.expect(202).location();
    let answer = target.client.put(&closing(&session, &digest), content.clone()).await;
    assert_created(&target, answer, &digest, &content).await;
    registry.finish();
}

/// Section "Pulling blobs", and RFC 9110 section 14: ranges.
#[tokio::test(flavor = "multi_thread")]
async fn ranges_of_blobs_are_served() {
    let registry = Registry::start(Options::default()).await;
    let repository = registry.repository("ranges");
    for size in [2048_usize, 3_000_000] {
        let content = bytes(size as u64, size);
        let digest = repository.push(content.clone()).await;
        let path = repository.blob_path(&digest);
        let ask = |range: &str| repository.client.send(request_with(Method::GET, &path, ("range", range), empty()));
        let served = [
            ("bytes=500-1499".to_owned(), 500, 1499),
            ("bytes=500-".to_owned(), 500, size - 1),
            ("bytes=-500".to_owned(), size - 500, size - 1),
            (format!("bytes=2000-{}", size + 3000), 2000, size - 1),
            ("bytes=0-0".to_owned(), 0, 0),
            (format!("bytes=-{}", size + 1), 0, size - 1),
        ];
        for (range, first, last) in served {
            let answer = ask(&range).await.expect(206);
            assert_eq!(answer.body, content[first..=last], "{range}");
            assert_eq!(answer.header("content-range"), format!("bytes {first}-{last}/{size}"));
            assert_eq!(answer.header("content-length"), (last - first + 1).to_string());
        }
        for range in ["bytes=500-0".to_owned(), format!("bytes={size}-"), format!("bytes={}-{}", size + 1, 2 * size)] {
            let answer = ask(&range).await.expect(416);
            assert_eq!(answer.header("content-range"), format!("bytes */{size}"), "{range}");
        }
    }
    registry.finish();
}

/// Section "Pushing manifests": what is accepted is served byte for byte under tag and digest.
#[tokio::test(flavor = "multi_thread")]
async fn manifests_of_every_shape_are_served_as_they_were_pushed() {
    let registry = Registry::start(Options::default()).await;
    let repository = registry.repository("shapes");
    let config = image_config("shapes");
    let layer = bytes(1, 70_000);
    for blob in [config.clone(), layer.clone(), Bytes::from_static(b"{}")] {
        repository.push(blob).await;
    }
    let plain = Manifest::image(&config, &[&layer], &json!({}));
    let other = Manifest::image(&config, &[], &json!({ "annotations": { "org.example.variant": "no layers" } }));
    let absent = json!({
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "digest": sha256(b"kept elsewhere"), "size": 14, "urls": ["https://store.example.com/layer"],
    });
    let index = Manifest::index(&[&plain, &other], &json!({}));
    let mut inline = descriptor(EMPTY_JSON, b"{}");
    inline["data"] = json!("e30=");
    let large: Value =
        (0..390).map(|n| (format!("large-{n}"), json!("A".repeat(10_000)))).collect::<serde_json::Map<_, _>>().into();
    let shapes = [
        ("plain", IMAGE_MANIFEST, plain.clone()),
        ("no-layers", IMAGE_MANIFEST, other.clone()),
        ("large", IMAGE_MANIFEST, Manifest::image(&config, &[&layer], &json!({ "annotations": large }))),
        ("unknown-field", IMAGE_MANIFEST, Manifest::image(&config, &[&layer], &json!({ "org.example.custom": 1 }))),
        ("foreign-layer", IMAGE_MANIFEST, Manifest::image(&config, &[], &json!({ "layers": [absent] }))),
        (
            "artifact",
            IMAGE_MANIFEST,
            Manifest::image(
                b"{}",
                &[],
                &json!({ "artifactType": "application/vnd.example", "config": inline, "layers": [inline] }),
            ),
        ),
        ("index", IMAGE_INDEX, index.clone()),
        ("empty-index", IMAGE_INDEX, Manifest::index(&[], &json!({}))),
        ("nested-index", IMAGE_INDEX, Manifest::index(&[], &json!({ "manifests": [index.descriptor(IMAGE_INDEX)] }))),
    ];
    for (tag, media_type, manifest) in &shapes {
        for reference in [&manifest.digest, *tag] {
            let answer = repository.put_manifest(reference, media_type, manifest.bytes.clone()).await.expect(201);
            assert_eq!(repository.client.get(&answer.location()).await.expect(200).body, manifest.bytes);
        }
        assert_manifest(&repository, tag, media_type, manifest).await;
        assert_manifest(&repository, &manifest.digest, media_type, manifest).await;
    }

    // Tags come in byte order, and in pages on request.
    let mut tags: Vec<&str> = shapes.iter().map(|(tag, _, _)| *tag).collect();
    tags.sort_unstable();
    assert_eq!(list_tags(&repository, "").await, tags);
    assert_eq!(
        list_tags(&repository, "?last=index").await,
        ["large", "nested-index", "no-layers", "plain", "unknown-field"]
    );
    let page = repository.client.get(&repository.path("tags/list?n=2")).await.expect(200);
    assert_eq!(page.json()["tags"], json!(["artifact", "empty-index"]));
    assert!(page.header("link").contains(r#"rel="next""#), "{page:?}");
    delete_all(&repository, &shapes).await;
    registry.finish();
}

async fn assert_manifest(repository: &Repository, reference: &str, media_type: &str, manifest: &Manifest) {
    let got = repository.manifest(reference).await.expect(200);
    assert_eq!(got.body, manifest.bytes, "{reference}");
    let head = repository.client.head(&repository.manifest_path(reference)).await.expect(200);
    for answer in [got, head] {
        assert_eq!(answer.header("content-type"), media_type);
        assert_eq!(answer.header("content-length"), manifest.bytes.len().to_string());
        assert_eq!(answer.header("docker-content-digest"), manifest.digest);
    }
}

async fn list_tags(repository: &Repository, query: &str) -> Vec<String> {
    let answer = repository.client.get(&repository.path(&format!("tags/list{query}"))).await.expect(200);
    let tags = answer.json()["tags"].as_array().expect("a list of tags").clone();
    tags.iter().map(|tag| tag.as_str().expect("a tag is a string").to_owned()).collect()
}

/// Section "Content Management": tags, then manifests from the newest on, then blobs, each gone at
/// once and nothing else with it.
async fn delete_all(repository: &Repository, shapes: &[(&str, &str, Manifest)]) {
    let client = &repository.client;
    for (tag, _, manifest) in shapes {
        client.delete(&repository.manifest_path(tag)).await.expect(202);
        client.head(&repository.manifest_path(tag)).await.expect(404);
        repository.manifest(&manifest.digest).await.expect(200);
    }
    assert!(list_tags(repository, "").await.is_empty());
    for (_, _, manifest) in shapes.iter().rev() {
        client.delete(&repository.manifest_path(&manifest.digest)).await.expect(202);
        repository.manifest(&manifest.digest).await.expect_error(404, "MANIFEST_UNKNOWN");
        client.delete(&repository.manifest_path(&manifest.digest)).await.expect(404);
    }
    let layer = sha256(&bytes(1, 70_000));
    client.delete(&repository.blob_path(&layer)).await.expect(202);
    repository.blob_head(&layer).await.expect(404);
}

/// A blob that a manifest needs is not deleted from under it.
#[tokio::test(flavor = "multi_thread")]
async fn a_needed_blob_is_not_deleted() {
    let registry = Registry::start(Options::default()).await;
    let repository = registry.repository("needed");
    let layer = bytes(1, 100_000);
    let image = repository.push_image("v1", layer.clone()).await;
    let path = repository.blob_path(&sha256(&layer));
    repository.client.delete(&path).await.expect_error(405, "DENIED");
    assert_blob(&repository, &sha256(&layer), &layer).await;
    repository.client.delete(&repository.manifest_path(&image.digest)).await.expect(202);
    repository.client.delete(&path).await.expect(202);
    registry.finish();
}

/// The main branch's "Pushing manifests with tag parameters": one digest, several tags, one step;
/// the only way to a tag on a digest that is not canonical.
#[tokio::test(flavor = "multi_thread")]
async fn tag_parameters_name_a_pushed_digest() {
    let registry = Registry::start(Options::default()).await;
    let repository = registry.repository("tags");
    let config = image_config("tags");
    repository.push(config.clone()).await;
    for (variant, digest_of) in ALGORITHMS.into_iter().enumerate() {
        let bytes = Manifest::image(&config, &[], &json!({ "annotations": { "v": variant.to_string() } })).bytes;
        let manifest = Manifest { digest: digest_of(&bytes), bytes };
        let tags = [format!("a{variant}"), format!("b{variant}")];
        let reference = format!("{}?tag={}&tag={}", manifest.digest, tags[0], tags[1]);
        let answer = repository.put_manifest(&reference, IMAGE_MANIFEST, manifest.bytes.clone()).await.expect(201);
        assert_eq!(answer.header_list("oci-tag"), tags);
        for tag in &tags {
            assert_manifest(&repository, tag, IMAGE_MANIFEST, &manifest).await;
        }
    }
    registry.finish();
}

/// Section "Listing Referrers".
#[tokio::test(flavor = "multi_thread")]
async fn referrers_are_listed_and_filtered() {
    const TYPES: [&str; 2] = ["application/vnd.example.one", "application/vnd.example.two"];
    let registry = Registry::start(Options::default()).await;
    let repository = registry.repository("referrers");

    // A repository that does not exist and a subject that was never pushed have empty lists.
    let missing = sha256(b"never pushed");
    assert_eq!(referrers(&repository, &missing, "").await.1, json!([]));

    let subject = repository.push_image("v1", bytes(1, 1000)).await;
    repository.push("{}").await;
    let empty = descriptor(EMPTY_JSON, b"{}");
    let mut expected = Vec::new();
    for (number, (artifact_type, about)) in
        [(TYPES[0], &subject.digest), (TYPES[1], &subject.digest), (TYPES[0], &missing)].into_iter().enumerate()
    {
        let annotations = json!({ "org.example.number": number.to_string() });
        let subject = json!({ "mediaType": IMAGE_MANIFEST, "digest": about, "size": subject.bytes.len() });
        let further = json!({
            "artifactType": artifact_type, "config": empty, "layers": [empty],
            "subject": subject, "annotations": annotations,
        });
        let artifact = Manifest::image(b"{}", &[], &further);
        let answer =
            repository.put_manifest(&artifact.digest, IMAGE_MANIFEST, artifact.bytes.clone()).await.expect(201);
        assert_eq!(answer.header("oci-subject"), about);
        let mut listed = artifact.descriptor(IMAGE_MANIFEST);
        listed["artifactType"] = json!(artifact_type);
        listed["annotations"] = annotations;
        expected.push(listed);
    }
    let (_, all) = referrers(&repository, &subject.digest, "").await;
    let all = all.as_array().expect("a list");
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(expected[..2].iter().all(|listed| all.contains(listed)), "{all:?}");

    let (answer, filtered) = referrers(&repository, &subject.digest, &format!("?artifactType={}", TYPES[1])).await;
    assert_eq!(filtered, json!([expected[1]]));
    assert_eq!(answer.header("oci-filters-applied"), "artifactType");
    assert_eq!(referrers(&repository, &missing, "").await.1, json!([expected[2]]));

    // A deleted referrer is listed no more; the subject stays.
    let digest = expected[0]["digest"].as_str().expect("a descriptor has a digest");
    repository.client.delete(&repository.manifest_path(digest)).await.expect(202);
    assert_eq!(referrers(&repository, &subject.digest, "").await.1, json!([expected[1]]));
    repository.manifest("v1").await.expect(200);
    registry.finish();
}

async fn referrers(repository: &Repository, subject: &str, query: &str) -> (Answer, Value) {
    let answer = repository.client.get(&repository.path(&format!("referrers/{subject}{query}"))).await.expect(200);
    assert_eq!(answer.header("content-type"), IMAGE_INDEX);
    let index = answer.json();
    assert_eq!((&index["schemaVersion"], &index["mediaType"]), (&json!(2), &json!(IMAGE_INDEX)));
    let manifests = index["manifests"].clone();
    (answer, manifests)
}

/// A manifest whose parts are missing is refused, unless the operator allows it.
#[tokio::test(flavor = "multi_thread")]
async fn sparse_manifests_are_the_operators_choice() {
    let config = image_config("sparse");
    let image = Manifest::image(&config, &[b"never pushed"], &json!({}));
    let missing = Manifest::image(b"not there", &[], &json!({}));

    let registry = Registry::start(Options::default()).await;
    let repository = registry.repository("sparse");
    repository.push(config.clone()).await;
    repository.put_manifest("v1", IMAGE_MANIFEST, image.bytes.clone()).await.expect_error(400, "MANIFEST_BLOB_UNKNOWN");
    repository.manifest("v1").await.expect_error(404, "MANIFEST_UNKNOWN");
    registry.finish();

    let config_file = json!({ "storage": { "sparseManifests": true } });
    let registry = Registry::start(Options { config: Some(config_file), ..Options::default() }).await;
    let repository = registry.repository("sparse");
    repository.push(config).await;
    repository.put_manifest("v1", IMAGE_MANIFEST, image.bytes.clone()).await.expect(201);
    assert_manifest(&repository, "v1", IMAGE_MANIFEST, &image).await;
    let index = Manifest::index(&[&image, &missing], &json!({}));
    repository.put_manifest("multi", IMAGE_INDEX, index.bytes.clone()).await.expect(201);
    assert_manifest(&repository, "multi", IMAGE_INDEX, &index).await;
    registry.finish();
}

/// Two namespaces share bytes, never access: what one does not hold it does not serve.
#[tokio::test(flavor = "multi_thread")]
async fn a_repository_serves_only_its_own() {
    let registry = Registry::start(Options::default()).await;
    let (one, other) = (registry.repository("own/one"), registry.repository("own/other"));
    let layer = bytes(1, 100_000);
    let image = one.push_image("v1", layer.clone()).await;
    other.push("something").await;
    other.blob(&sha256(&layer)).await.expect_error(404, "BLOB_UNKNOWN");
    other.manifest(&image.digest).await.expect_error(404, "MANIFEST_UNKNOWN");
    // Nor does it take a manifest over what only the other holds.
    let stolen = Manifest::image(&image_config("v1"), &[&layer], &json!({}));
    other.put_manifest("v1", IMAGE_MANIFEST, stolen.bytes).await.expect_error(400, "MANIFEST_BLOB_UNKNOWN");
    let wrong = descriptor(IMAGE_LAYER, b"something");
    let odd = Manifest::image(b"something", &[], &json!({ "layers": [wrong] }));
    other.put_manifest("odd", IMAGE_MANIFEST, odd.bytes).await.expect(201);
    registry.finish();
}

/// RFC 9110 section 15.5.6: a method that a path does not have is 405 and says which it has.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_methods_are_refused_with_those_allowed() {
    let registry = Registry::start(Options::default()).await;
    let client = registry.client();
    for (method, path) in
        [(Method::POST, "/v2/"), (Method::PUT, "/v2/a/tags/list"), (Method::PATCH, "/v2/a/manifests/latest")]
    {
        let answer = client.send(request(method, path, empty())).await.expect(405);
        assert!(answer.header("allow").contains("GET"), "{answer:?}");
    }
    registry.finish();
}

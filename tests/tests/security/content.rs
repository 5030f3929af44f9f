//! What documents say, and what they could be taken for.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use orlop_tests::{
    Registry,
    http::{empty, full, request, request_with},
    repository::{IMAGE_CONFIG, IMAGE_INDEX, IMAGE_LAYER, IMAGE_MANIFEST, Manifest, descriptor, image_config},
    stream::sha256,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::common::{Wire, connections, limits, start};

const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// Time in which any document must be answered.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

fn image(config: &Value, layers: &Value) -> Value {
    json!({ "schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": config, "layers": layers })
}

/// CVE-2021-41190, GHSA-qq97-vm5h-rrhg: one digest, two meanings.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_has_one_meaning() {
    let registry = start().await;
    let repository = registry.repository("meanings");
    let child = repository.push_image("child", "layer").await;
    let config = descriptor(IMAGE_CONFIG, &image_config("child"));
    let layers = json!([descriptor(IMAGE_LAYER, b"layer")]);
    let index = json!({ "schemaVersion": 2, "manifests": [child.descriptor(IMAGE_MANIFEST)] });
    let with = |base: &Value, key: &str, field: &Value| {
        let mut value = base.clone();
        value[key] = field.clone();
        value.to_string()
    };
    let plain = image(&config, &layers);
    let untyped = {
        let mut value = plain.clone();
        value.as_object_mut().expect("an object").remove("mediaType");
        value
    };
    for (media_type, text) in [
        (IMAGE_MANIFEST, with(&plain, "manifests", &index["manifests"])),
        (IMAGE_MANIFEST, with(&plain, "manifests", &json!([]))),
        (IMAGE_MANIFEST, with(&untyped, "manifests", &index["manifests"])),
        (IMAGE_INDEX, with(&index, "config", &config)),
        (IMAGE_INDEX, with(&index, "layers", &layers)),
        (IMAGE_INDEX, untyped.to_string()),
        (IMAGE_MANIFEST, index.to_string()),
        (IMAGE_INDEX, plain.to_string()),
        (IMAGE_MANIFEST, with(&plain, "mediaType", &json!(IMAGE_INDEX))),
        // The same field twice: two readers could take different ones.
        (IMAGE_MANIFEST, format!("{{\"mediaType\":\"{IMAGE_INDEX}\",{}", &plain.to_string()[1..])),
        (IMAGE_MANIFEST, format!("{{\"config\":{config},{}", &plain.to_string()[1..])),
    ] {
        let answer = repository.put_manifest("two", media_type, text.clone()).await;
        assert_eq!(answer.status, 400, "{media_type} {text}: {answer:?}");
    }
    repository.manifest("two").await.expect(404);
    registry.finish();
}

/// The type is part of what was pushed: it is served as it was, and asking cannot change it.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_keeps_its_type_and_its_bytes() {
    let registry = start().await;
    let repository = registry.repository("types");
    let pushed = repository.push_image("v1", "layer").await;
    let text = String::from_utf8(pushed.bytes.to_vec()).expect("JSON is text");
    for media_type in
        ["text/html", "application/json", IMAGE_INDEX, "image/svg+xml", "", "application/vnd.oci.image.manifest.v1"]
    {
        repository.put_manifest("v2", media_type, text.clone()).await.expect_error(400, "MANIFEST_INVALID");
    }
    // Without the header the document says what it is; with parameters the type is the same type.
    let bare = request(Method::PUT, &repository.manifest_path("bare"), full(text.clone()));
    let bare = repository.client.send(bare).await;
    assert!(matches!(bare.status.as_u16(), 201 | 400), "{bare:?}");
    let parameters = repository.put_manifest("parameters", &format!("{IMAGE_MANIFEST}; charset=utf-8"), text).await;
    assert!(matches!(parameters.status.as_u16(), 201 | 400), "{parameters:?}");
    for accept in
        [IMAGE_MANIFEST, IMAGE_INDEX, "text/html", "application/vnd.docker.distribution.manifest.v2+json", "*/*;q=0"]
    {
        for reference in ["v1", &pushed.digest] {
            let get = request_with(Method::GET, &repository.manifest_path(reference), ("accept", accept), empty());
            let answer = repository.client.send(get).await.expect(200);
            assert_eq!((answer.header("content-type"), &answer.body), (IMAGE_MANIFEST, &pushed.bytes), "{accept}");
        }
    }
    registry.finish();
}

/// A document of exactly `length` bytes.
fn padded(length: usize) -> Bytes {
    let base = json!({ "schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [], "annotations": { "a": "" } });
    let mut text = base.to_string();
    let at = text.find("\"\"}").expect("the annotation is empty") + 1;
    text.insert_str(at, &"x".repeat(length - text.len()));
    assert_eq!(text.len(), length);
    text.into()
}

/// distribution CVE-2017-11468: manifests of any size were read into memory.
#[tokio::test(flavor = "multi_thread")]
async fn manifests_end_at_their_limit() {
    let registry = start().await;
    let repository = registry.repository("sizes");
    let (fits, exceeds) = (padded(MANIFEST_BYTES_MAX), padded(MANIFEST_BYTES_MAX + 1));
    repository.put_manifest("fits", IMAGE_INDEX, fits.clone()).await.expect(201);
    assert!(repository.manifest("fits").await.expect(200).body == fits);
    repository.put_manifest("exceeds", IMAGE_INDEX, exceeds.clone()).await.expect_error(413, "SIZE_INVALID");
    // Without an announced length, and with one beyond any disk: cut at the limit.
    let head = |framing: &str| {
        let path = repository.manifest_path("exceeds");
        format!("PUT {path} HTTP/1.1\r\nhost: a\r\ncontent-type: {IMAGE_INDEX}\r\n{framing}\r\n\r\n").into_bytes()
    };
    let mut wire = Wire::open(&registry).await;
    wire.send(head("content-length: 10737418240")).await;
    assert_eq!(wire.reply().await.expect("an answer before the body").status, 413);
    let mut wire = Wire::open(&registry).await;
    wire.send(head("transfer-encoding: chunked")).await;
    let chunk = [b"100000\r\n".as_slice(), &exceeds[..1 << 20], b"\r\n"].concat();
    let mut sent = 0;
    // Goes on until the registry has had enough.
    while sent < 64 && wire.send(&chunk).await {
        sent += 1;
    }
    assert!(sent < 64, "the registry took {sent} MiB of a manifest");
    repository.manifest("exceeds").await.expect(404);
    registry.finish();
}

/// A manifest that comes a byte at a time is given up like any other slow body.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_trickles_is_given_up() {
    let registry = Registry::start(limits(json!({ "progressWindowMs": 300, "progressBytesMin": 1024 }))).await;
    let repository = registry.repository("slow");
    let mut wire = Wire::open(&registry).await;
    let path = repository.manifest_path("slow");
    wire.send(format!("PUT {path} HTTP/1.1\r\nhost: a\r\ncontent-type: {IMAGE_INDEX}\r\ncontent-length: 1000\r\n\r\n"))
        .await;
    let begin = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    // Spaces may come before a document.
    while begin.elapsed() < ANSWER_TIME_MAX && wire.send(" ").await {
        pace.tick().await;
    }
    assert!(begin.elapsed() < ANSWER_TIME_MAX, "the registry still reads");
    repository.manifest("slow").await.expect(404);
    registry.finish();
}

/// A document full of descriptors: bounded time, and one that is missing is found.
#[tokio::test(flavor = "multi_thread")]
async fn many_descriptors_are_checked_in_bounded_time() {
    const LAYERS: usize = 30_000;
    let registry = start().await;
    let repository = registry.repository("many");
    let config = image_config("many");
    repository.push(config.clone()).await;
    let own = connections(300).min(LAYERS);
    let mut layers = Vec::with_capacity(LAYERS);
    for number in 0..own {
        let layer = format!("layer {number}");
        repository.push(layer.clone()).await;
        layers.push(json!({ "mediaType": "a/b", "digest": sha256(layer.as_bytes()), "size": layer.len() }));
    }
    let mut layers: Vec<Value> = layers.iter().cycle().take(LAYERS).cloned().collect();
    let config = descriptor(IMAGE_CONFIG, &config);
    let all = image(&config, &json!(layers)).to_string();
    assert!((3 << 20..MANIFEST_BYTES_MAX).contains(&all.len()), "{} bytes", all.len());
    let begin = Instant::now();
    repository.put_manifest("all", IMAGE_MANIFEST, all.clone()).await.expect(201);
    assert!(repository.manifest("all").await.expect(200).body == all);
    // As many different ones that are not there, and a single one at the end.
    fn absent(number: usize) -> Value {
        json!({ "mediaType": "a/b", "digest": sha256(&number.to_le_bytes()), "size": 8 })
    }
    layers[LAYERS - 1] = absent(0);
    let one = image(&config, &json!(layers)).to_string();
    repository.put_manifest("one", IMAGE_MANIFEST, one).await.expect_error(400, "MANIFEST_BLOB_UNKNOWN");
    let none = image(&config, &json!((0..LAYERS).map(absent).collect::<Vec<_>>())).to_string();
    repository.put_manifest("none", IMAGE_MANIFEST, none).await.expect_error(400, "MANIFEST_BLOB_UNKNOWN");
    assert!(begin.elapsed() < ANSWER_TIME_MAX, "{:?}", begin.elapsed());
    registry.finish();
}

/// Harbor CVE-2025-32019: what a browser could run comes back as data, and is never run.
#[tokio::test(flavor = "multi_thread")]
async fn content_is_never_a_page() {
    let registry = start().await;
    let repository = registry.repository("pages");
    let hostile = "</script><script>alert(1)</script><svg onload=alert(1)>\u{1b}[2J\u{202e}\u{7}";
    let blob = repository.push(hostile).await;
    let config = image_config("pages");
    repository.push(config.clone()).await;
    let annotated = json!({ "annotations": { hostile: hostile } });
    let manifest = Manifest::image(&config, &[], &annotated);
    repository.put_manifest("v1", IMAGE_MANIFEST, manifest.bytes.clone()).await.expect(201);
    let note = Manifest::image(
        &config,
        &[],
        &json!({ "annotations": { "note": hostile }, "artifactType": "text/html",
        "subject": manifest.descriptor(IMAGE_MANIFEST) }),
    );
    repository.put_manifest(&note.digest, IMAGE_MANIFEST, note.bytes.clone()).await.expect(201);
    let client = registry.client();
    let referrers = client.get(&repository.path(&format!("referrers/{}", manifest.digest))).await.expect(200);
    assert_eq!(referrers.json()["manifests"][0]["annotations"]["note"], hostile);
    for (answer, media_type) in [
        (repository.blob(&blob).await.expect(200), "application/octet-stream"),
        (repository.manifest("v1").await.expect(200), IMAGE_MANIFEST),
        (referrers, IMAGE_INDEX),
        (client.get("/v2/_catalog").await.expect(200), "application/json"),
        (client.get("/v2/%3Cscript%3E").await.expect(404), "application/json"),
    ] {
        assert_eq!(answer.header("content-type"), media_type);
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{answer:?}");
        assert_eq!(answer.header("content-security-policy"), "default-src 'none'; sandbox", "{answer:?}");
        assert!(!answer.headers.contains_key("set-cookie"), "{answer:?}");
    }
    // Errors repeat nothing that a terminal or a browser would act on.
    let error = client.get("/v2/%1b%5b2J%3Cscript%3E/tags/list").await.expect(400);
    assert!(!error.body.iter().any(|byte| *byte < 0x20), "{error:?}");
    registry.finish();
}

/// CVE-2020-15157, claircore CVE-2021-3762: addresses in documents are never visited.
#[tokio::test(flavor = "multi_thread")]
async fn addresses_in_documents_are_not_visited() {
    let registry = start().await;
    let repository = registry.repository("urls");
    let trap = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = trap.local_addr().expect("it is bound");
    let config = image_config("urls");
    repository.push(config.clone()).await;
    let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    let urls = json!([format!("http://{address}/layer"), "http://169.254.169.254/", "file:///etc/passwd"]);
    let layer = json!({ "mediaType": foreign, "digest": sha256(b"elsewhere"), "size": 9, "urls": urls });
    let config = descriptor(IMAGE_CONFIG, &config);
    let manifest = image(&config, &json!([layer])).to_string();
    repository.put_manifest("v1", IMAGE_MANIFEST, manifest).await.expect(201);
    repository.manifest("v1").await.expect(200);
    repository.blob(&sha256(b"elsewhere")).await.expect_error(404, "BLOB_UNKNOWN");
    // One that must be there is not fetched to be there.
    let urls = json!([format!("http://{address}/layer")]);
    let layer = json!({ "mediaType": IMAGE_LAYER, "digest": sha256(b"elsewhere"), "size": 9, "urls": urls });
    let manifest = image(&config, &json!([layer])).to_string();
    repository.put_manifest("v2", IMAGE_MANIFEST, manifest).await.expect_error(400, "MANIFEST_BLOB_UNKNOWN");
    registry.client().post("/v2/_orlop/gc", "").await.expect(202);
    repository.client.delete(&repository.manifest_path("v1")).await.expect(202);
    let visited = std::future::poll_fn(|context| std::task::Poll::Ready(trap.poll_accept(context).is_ready())).await;
    assert!(!visited, "somebody connected");
    registry.finish();
}

/// The size of a descriptor is what clients reserve and check: it is true or refused.
#[tokio::test(flavor = "multi_thread")]
async fn descriptors_have_true_sizes() {
    let registry = start().await;
    let repository = registry.repository("sizes");
    let (config, layer) = (image_config("sizes"), b"a layer".as_slice());
    repository.push(config.clone()).await;
    repository.push(layer).await;
    let config = descriptor(IMAGE_CONFIG, &config);
    let text = |sizes: &[&str]| {
        let layers = sizes
            .iter()
            .map(|size| format!(r#"{{"mediaType":"{IMAGE_LAYER}","digest":"{}","size":{size}}}"#, sha256(layer)));
        let layers: Vec<String> = layers.collect();
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{IMAGE_MANIFEST}","config":{config},"layers":[{}]}}"#,
            layers.join(",")
        )
    };
    for size in [
        "6",
        "8",
        "0",
        "-7",
        "-1",
        "9223372036854775808",
        "18446744073709551616",
        "7.0",
        "7.5",
        "7e0",
        "\"7\"",
        "null",
        "true",
        "[7]",
        "07",
        "+7",
        "1e400",
    ] {
        let answer = repository.put_manifest("v1", IMAGE_MANIFEST, text(&[size])).await;
        assert_eq!(answer.status, 400, "{size}: {answer:?}");
        assert_eq!(answer.json()["errors"][0]["code"], "MANIFEST_INVALID", "{size}: {answer:?}");
    }
    for sizes in [["7", "8"], ["8", "7"]] {
        repository.put_manifest("v1", IMAGE_MANIFEST, text(&sizes)).await.expect_error(400, "MANIFEST_INVALID");
    }
    repository.put_manifest("v1", IMAGE_MANIFEST, text(&["7", "7"])).await.expect(201);
    registry.finish();
}

/// A subject may be absent or no manifest; lists of referrers stay true in every order of pushes.
#[tokio::test(flavor = "multi_thread")]
async fn subjects_may_come_late_and_lists_stay_true() {
    let registry = start().await;
    let repository = registry.repository("subjects");
    let config = image_config("subjects");
    let blob = repository.push(config.clone()).await;
    let later = Manifest::image(&config, &[], &json!({ "annotations": { "a": "later" } }));
    let about =
        |subject: Value| Manifest::image(&config, &[], &json!({ "subject": subject, "artifactType": "text/x" }));
    let referrers = async |digest: &str| {
        let answer = repository.client.get(&repository.path(&format!("referrers/{digest}"))).await.expect(200).json();
        let list = answer["manifests"].as_array().expect("a list").iter().map(|entry| entry["digest"].clone());
        list.collect::<Vec<_>>()
    };
    // Absent yet, then there; and a blob that is no manifest.
    let early = about(later.descriptor(IMAGE_MANIFEST));
    let answer = repository.put_manifest(&early.digest, IMAGE_MANIFEST, early.bytes.clone()).await.expect(201);
    assert_eq!(answer.header("oci-subject"), later.digest);
    assert_eq!(referrers(&later.digest).await, [json!(early.digest)]);
    repository.put_manifest("later", IMAGE_MANIFEST, later.bytes.clone()).await.expect(201);
    assert_eq!(referrers(&later.digest).await, [json!(early.digest)]);
    let odd = about(descriptor(IMAGE_MANIFEST, &config));
    repository.put_manifest(&odd.digest, IMAGE_MANIFEST, odd.bytes.clone()).await.expect(201);
    assert_eq!(referrers(&blob).await, [json!(odd.digest)]);
    // A subject that is no descriptor is no subject.
    for subject in
        [json!("sha256:abc"), json!({ "digest": "sha256:abc", "size": 1, "mediaType": IMAGE_MANIFEST }), json!([])]
    {
        let wrong = about(subject);
        repository.put_manifest("wrong", IMAGE_MANIFEST, wrong.bytes).await.expect_error(400, "MANIFEST_INVALID");
    }
    repository.client.delete(&repository.manifest_path(&early.digest)).await.expect(202);
    assert_eq!(referrers(&later.digest).await, [json!(null); 0]);
    registry.finish();
}

//! Clients that people use, each pushing and pulling a real image and a multi-platform index,
//! compared byte for byte: over HTTP with both I/O backends, and over TLS.

use std::{fs, path::Path, process::Command};

use orlop_tests::{
    Io, Layout, Options, Registry,
    process::run_well,
    programs::{client, program},
    stream::sha256,
};
use serde_json::Value;

/// What the clients push: a single image, and an index over two platforms.
const TAGS: [&str; 2] = ["amd64", "multi"];

/// Each client's test on each kind of server.
macro_rules! on_every_server {
    ($($client:ident),+ $(,)?) => {$(
        mod $client {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn over_http_with_the_ring() {
                let registry = Registry::start(Options::io(Io::Ring)).await;
                super::$client(&registry);
                registry.finish();
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn over_http_with_threads() {
                let registry = Registry::start(Options::io(Io::Threads)).await;
                super::$client(&registry);
                registry.finish();
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn over_tls() {
                let registry = Registry::start(Options::tls()).await;
                super::$client(&registry);
                registry.finish();
            }
        }
    )+};
}

on_every_server!(skopeo, buildah, crane, oras, oras_attach, regctl);

/// `127.0.0.1:PORT/<client>/debian:<tag>`.
fn reference(registry: &Registry, client: &str, tag: &str) -> String {
    format!("{}/{client}/debian:{tag}", registry.address())
}

/// A layout as `oci:` and `ocidir://` references spell it.
fn tagged(layout: &Path, tag: &str) -> String {
    format!("{}:{tag}", layout.display())
}

/// skopeo's and buildah's way to say what kind of server it is: `prefix` is `--`, `--src-` or
/// `--dest-`.
fn trust(command: &mut Command, registry: &Registry, prefix: &str) {
    match registry.certificates() {
        Some(certificates) => command.arg(format!("{prefix}cert-dir")).arg(certificates.trust()),
        None => command.arg(format!("{prefix}tls-verify=false")),
    };
}

fn skopeo(registry: &Registry) {
    let fixture = Layout::fixture();
    for tag in TAGS {
        let remote = format!("docker://{}", reference(registry, "skopeo", tag));
        let mut push = program(registry, "skopeo");
        push.args(["copy", "--all", "--preserve-digests"]);
        trust(&mut push, registry, "--dest-");
        run_well(push.arg(format!("oci:{}", tagged(fixture.path(), tag))).arg(&remote));

        let pulled = registry.scratch(&format!("skopeo-{tag}"));
        let mut pull = program(registry, "skopeo");
        pull.args(["copy", "--all", "--preserve-digests"]);
        trust(&mut pull, registry, "--src-");
        run_well(pull.arg(&remote).arg(format!("oci:{}", tagged(&pulled, tag))));
        fixture.assert_same(tag, &Layout::at(&pulled), tag);
    }
    assert_unpacks(registry, &registry.scratch("skopeo-amd64"));
}

/// umoci reads what was pulled and applies every layer: the file system is the built one.
fn assert_unpacks(registry: &Registry, pulled: &Path) {
    let bundle = registry.scratch("umoci").join("bundle");
    let mut unpack = program(registry, "umoci");
    unpack.args(["unpack", "--image"]).arg(tagged(pulled, "amd64")).arg(&bundle);
    if !rustix::process::geteuid().is_root() {
        unpack.arg("--rootless");
    }
    run_well(&mut unpack);
    let rootfs = bundle.join("rootfs");
    let read = |path: &str| fs::read(rootfs.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(read("etc/fixture"), b"fixture\n");
    assert_eq!(read("etc/fixture-hard"), b"fixture\n");
    assert_eq!(read("opt/bash"), read("bin/bash"));
    assert!(String::from_utf8_lossy(&read("etc/debian_version")).starts_with("12."));
    assert!(!rootfs.join("usr/share/locale").exists(), "a whiteout hides the directory");
}

/// buildah stores images unpacked and compresses them anew on push, so the bytes are its own: what
/// it pushed is what it must be served, and the content must be the fixture's.
fn buildah(registry: &Registry) {
    let fixture = Layout::fixture();
    let mut seed = program(registry, "skopeo");
    seed.arg("copy");
    trust(&mut seed, registry, "--dest-");
    let original = reference(registry, "buildah", "amd64");
    run_well(seed.arg(format!("oci:{}", tagged(fixture.path(), "amd64"))).arg(format!("docker://{original}")));

    let storage = registry.scratch("storage");
    let buildah = |verb: &str| {
        let mut command = program(registry, "buildah");
        command.arg("--storage-driver=vfs").arg("--root").arg(storage.join("root"));
        command.arg("--runroot").arg(storage.join("run")).arg(verb);
        command
    };
    let mut pull = buildah("pull");
    trust(&mut pull, registry, "--");
    run_well(pull.arg(&original));

    let digest_file = storage.join("digest");
    let again = reference(registry, "buildah", "again");
    let mut push = buildah("push");
    trust(&mut push, registry, "--");
    push.arg("--digestfile").arg(&digest_file).arg("--format=oci").arg("--compression-format=gzip");
    run_well(push.arg(&original).arg(format!("docker://{again}")));

    let pushed = fs::read_to_string(&digest_file).expect("buildah wrote the digest");
    let mut inspect = program(registry, "skopeo");
    inspect.args(["inspect", "--raw"]);
    trust(&mut inspect, registry, "--");
    let manifest = run_well(inspect.arg(format!("docker://{again}"))).stdout;
    assert_eq!(sha256(manifest.as_bytes()), pushed.trim());
    assert_eq!(layer_contents(registry, &again), layer_contents(registry, &original));
}

/// The digests of an image's layers before compression.
fn layer_contents(registry: &Registry, image: &str) -> Value {
    let mut inspect = program(registry, "skopeo");
    inspect.args(["inspect", "--config"]);
    trust(&mut inspect, registry, "--");
    let config = run_well(inspect.arg(format!("docker://{image}"))).stdout;
    let config: Value = serde_json::from_str(&config).expect("an image config is JSON");
    config["rootfs"]["diff_ids"].clone()
}

fn crane(registry: &Registry) {
    let fixture = Layout::fixture();
    for tag in TAGS {
        let remote = reference(registry, "crane", tag);
        let single = fixture.only(tag, &registry.scratch(&format!("crane-from-{tag}")));
        run_well(client(registry, "crane").arg("push").arg(single.path()).arg(&remote));

        let pulled = registry.scratch("crane-pulled").join(tag);
        let pull = run_well(
            client(registry, "crane")
                .env("GODEBUG", "http2debug=1")
                .args(["pull", "--format=oci", &remote])
                .arg(&pulled),
        );
        fixture.assert_same(tag, &Layout::at(&pulled), tag);
        assert_http2(registry, &pull.stderr);
    }
    let tags = run_well(client(registry, "crane").args(["ls", &format!("{}/crane/debian", registry.address())])).stdout;
    assert_eq!(tags.lines().collect::<Vec<_>>(), TAGS);

    // A copy within the registry mounts the blobs instead of moving them.
    let copy = reference(registry, "crane-copy", "amd64");
    run_well(client(registry, "crane").args(["copy", &reference(registry, "crane", "amd64"), &copy]));
    let digest = run_well(client(registry, "crane").args(["digest", &copy])).stdout;
    assert_eq!(digest.trim(), fixture.digest_of("amd64"));
}

/// Go's HTTP client, told to, logs its HTTP/2 frames: with TLS there are some, without none.
fn assert_http2(registry: &Registry, log: &str) {
    assert_eq!(log.contains("http2: Transport received"), registry.certificates().is_some(), "{log}");
}

/// oras's way to say what kind of server it is.
fn oras_trust(command: &mut Command, registry: &Registry) {
    match registry.certificates() {
        Some(certificates) => command.arg("--ca-file").arg(certificates.ca()),
        None => command.arg("--plain-http"),
    };
}

fn oras(registry: &Registry) {
    let fixture = Layout::fixture();
    for tag in TAGS {
        let remote = reference(registry, "oras", tag);
        let mut push = client(registry, "oras");
        push.args(["copy", "--from-oci-layout"]);
        match registry.certificates() {
            Some(certificates) => push.arg("--to-ca-file").arg(certificates.ca()),
            None => push.arg("--to-plain-http"),
        };
        run_well(push.arg(tagged(fixture.path(), tag)).arg(&remote));

        let pulled = registry.scratch(&format!("oras-{tag}"));
        let mut pull = client(registry, "oras");
        pull.args(["copy", "--to-oci-layout"]).env("GODEBUG", "http2debug=1");
        match registry.certificates() {
            Some(certificates) => pull.arg("--from-ca-file").arg(certificates.ca()),
            None => pull.arg("--from-plain-http"),
        };
        let pull = run_well(pull.arg(&remote).arg(tagged(&pulled, tag)));
        fixture.assert_same(tag, &Layout::at(&pulled), tag);
        assert_http2(registry, &pull.stderr);
    }
}

/// An artifact that refers to an image is found through the referrers API and pulled back.
fn oras_attach(registry: &Registry) {
    const ARTIFACT_TYPE: &str = "application/vnd.orlop.test.report";
    let fixture = Layout::fixture();
    let image = reference(registry, "attach", "amd64");
    let mut push = client(registry, "oras");
    push.args(["copy", "--from-oci-layout"]);
    match registry.certificates() {
        Some(certificates) => push.arg("--to-ca-file").arg(certificates.ca()),
        None => push.arg("--to-plain-http"),
    };
    run_well(push.arg(tagged(fixture.path(), "amd64")).arg(&image));

    let written = registry.scratch("attach-from");
    fs::write(written.join("report.txt"), "nothing found\n").expect("the report can be written");
    let mut attach = client(registry, "oras");
    attach.arg("attach").current_dir(&written);
    oras_trust(&mut attach, registry);
    attach.args(["--artifact-type", ARTIFACT_TYPE, "--annotation", "org.example.result=clean"]);
    run_well(attach.arg(&image).arg("report.txt:text/plain"));

    let discover = |artifact_type: &str| -> Vec<Value> {
        let mut discover = client(registry, "oras");
        discover.arg("discover");
        oras_trust(&mut discover, registry);
        discover.args(["--format", "json", "--artifact-type", artifact_type]);
        let found: Value = serde_json::from_str(&run_well(discover.arg(&image)).stdout).expect("oras prints JSON");
        found["manifests"].as_array().cloned().unwrap_or_default()
    };
    let found = discover(ARTIFACT_TYPE);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["artifactType"], ARTIFACT_TYPE);
    assert_eq!(found[0]["annotations"]["org.example.result"], "clean");
    assert!(discover("application/vnd.orlop.test.other").is_empty());

    let digest = found[0]["digest"].as_str().expect("a descriptor has a digest");
    let read = registry.scratch("attach-to");
    let mut pull = client(registry, "oras");
    pull.arg("pull");
    oras_trust(&mut pull, registry);
    run_well(pull.arg("--output").arg(&read).arg(format!("{}/attach/debian@{digest}", registry.address())));
    assert_eq!(fs::read_to_string(read.join("report.txt")).expect("oras pulled it"), "nothing found\n");
}

fn regctl(registry: &Registry) {
    let fixture = Layout::fixture();
    let regctl = || {
        let mut command = client(registry, "regctl");
        let tls = if registry.certificates().is_some() { "enabled" } else { "disabled" };
        command.arg("--host").arg(format!("reg={},tls={tls}", registry.address()));
        command
    };
    for tag in TAGS {
        let remote = reference(registry, "regctl", tag);
        run_well(
            regctl().args(["image", "copy"]).arg(format!("ocidir://{}", tagged(fixture.path(), tag))).arg(&remote),
        );

        let pulled = registry.scratch(&format!("regctl-{tag}"));
        let to = format!("ocidir://{}", tagged(&pulled, tag));
        let pull = run_well(regctl().env("GODEBUG", "http2debug=1").args(["image", "copy", &remote, &to]));
        fixture.assert_same(tag, &Layout::at(&pulled), tag);
        assert_http2(registry, &pull.stderr);
    }

    // Deleting a tag leaves the image under its digest.
    run_well(regctl().args(["tag", "delete", &reference(registry, "regctl", "amd64")]));
    let repository = format!("{}/regctl/debian", registry.address());
    assert_eq!(run_well(regctl().args(["tag", "ls", &repository])).stdout.trim(), "multi");
    run_well(regctl().args(["manifest", "head", &format!("{repository}@{}", fixture.digest_of("amd64"))]));
}

//! Moving in from other registries and out again: hard links instead of copies, every digest the
//! same, and what is damaged named and left behind.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    process::Command,
    time::{Instant, UNIX_EPOCH},
};

use orlop_tests::{
    Io, Layout, Options, Registry, ZotRoot, disk,
    process::{Ended, PATIENCE, Process, run, run_well},
    programs::program,
    registry::binary,
    repository::{EMPTY_JSON, IMAGE_INDEX, IMAGE_MANIFEST, descriptor},
    stream::{bytes, sha256, sha512},
};
use rustix::process::Signal;
use serde_json::{Value, json};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const SIGNATURE: &str = "application/vnd.cncf.notary.signature";

/// A registry that was started once, so that its configuration is there, and stopped.
async fn stopped(io: Io) -> Registry {
    let mut registry = Registry::start(Options::io(io)).await;
    registry.stop();
    registry
}

/// `orlop VERB CONFIG ARGUMENTS...` on the registry's store.
fn orlop(registry: &Registry, verb: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg(verb).arg(registry.root().with_file_name("config.json")).args(arguments);
    command
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("scratch paths are UTF-8")
}

/// The report of an import, which ended with `code`.
#[track_caller]
fn import(registry: &Registry, source: &Path, further: &[&str], code: i32) -> Value {
    let arguments = [&[utf8(source), "--json"], further].concat();
    report(&run(&mut orlop(registry, "import", &arguments)), code)
}

#[track_caller]
fn report(ended: &Ended, code: i32) -> Value {
    assert_eq!(ended.status.code(), Some(code), "{}{}", ended.stdout, ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout))
}

/// 512-byte blocks of distinct files below a directory.
fn blocks(directory: &Path) -> u64 {
    let files = disk::files(directory).into_iter().map(|file| {
        let metadata = fs::metadata(&file.path).expect("it was just listed");
        (metadata.ino(), metadata.blocks())
    });
    files.collect::<BTreeSet<_>>().into_iter().map(|(_, blocks)| blocks).sum()
}

/// Every file of the store that holds a blob is one of another tree as well.
fn assert_all_linked(registry: &Registry) {
    let files = disk::blob_files(&registry.root());
    assert!(!files.is_empty(), "some content is in files");
    for file in files {
        assert!(fs::metadata(&file.path).expect("there").nlink() > 1, "{} is a copy", file.path.display());
    }
}

/// Pulls with skopeo and compares every digest and byte with the layout.
fn assert_pulls(registry: &Registry, repository: &str, layout: &Layout, tag: &str) {
    let pulled = registry.scratch(&format!("pulled-{}-{tag}", repository.replace('/', "-")));
    let mut pull = program(registry, "skopeo");
    pull.args(["copy", "--all", "--preserve-digests", "--src-tls-verify=false"]);
    pull.arg(format!("docker://{}/{repository}:{tag}", registry.address()));
    run_well(pull.arg(format!("oci:{}:{tag}", pulled.display())));
    layout.assert_same(tag, &Layout::at(&pulled), tag);
}

/// The same without skopeo, which does not know indexes of indexes.
async fn assert_serves(registry: &Registry, repository: &str, layout: &Layout, tag: &str) {
    let served = registry.repository(repository);
    let content = layout.load(tag);
    served.assert_serves(&content, tag).await;
    assert!(content.manifests.len() > 2, "the index leads to an index");
}

async fn tags(registry: &Registry, repository: &str) -> Vec<String> {
    let answer = registry.repository(repository).client.get(&format!("/v2/{repository}/tags/list")).await.expect(200);
    let tags = answer.json()["tags"].as_array().expect("a list").clone();
    tags.iter().map(|tag| tag.as_str().expect("a text").to_owned()).collect()
}

/// What the tests ask about afterwards.
struct Sound {
    root: ZotRoot,
    image: String,
    untagged: String,
    signature: String,
    report: String,
    sha512_layer: String,
}

/// Nested repositories, links between them, indexes of indexes, untagged manifests, signatures of
/// cosign and notation, and SHA-512.
fn sound_zot(registry: &Registry) -> Sound {
    let mut root = ZotRoot::new(registry.scratch("zot"));
    root.push_content("team/app", &Layout::fixture().load("multi"), "multi");
    root.push_content("team", &Layout::fixture().load("amd64"), "amd64");
    let (base, own) = (bytes(1, 300_000), bytes(2, 90_000));
    let image = root.push_image("team/app", "one", &[&base, &own], Some("v1"));
    root.push_image("team/app", "one", &[&base, &own], Some("latest"));
    root.push_image("team/app/nested", "two", &[&base, b"small"], Some("v1"));
    let untagged = root.push_image("team/app", "old", &[&base], None);
    let inner = root.push_index("team/app", &[(IMAGE_MANIFEST, &image), (IMAGE_MANIFEST, &untagged)], None);
    root.push_index("team/app", &[(IMAGE_INDEX, &inner)], Some("outer"));

    let simple = json!({ "critical": { "image": { "docker-manifest-digest": image } } }).to_string();
    let tag = format!("{}.sig", image.replace(':', "-"));
    root.push_image("team/app", "cosign", &[simple.as_bytes()], Some(&tag));
    let refer = |root: &mut ZotRoot, artifact_type: &str, subject: &str, subject_size: usize| {
        root.put("team/app", b"{}");
        root.put("team/app", artifact_type.as_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "artifactType": artifact_type,
            "config": descriptor(EMPTY_JSON, b"{}"),
            "layers": [descriptor("application/jose+json", artifact_type.as_bytes())],
            "subject": { "mediaType": IMAGE_MANIFEST, "digest": subject, "size": subject_size },
            "annotations": { "org.example.signer": "somebody" },
        });
        root.push("team/app", IMAGE_MANIFEST, manifest.to_string().as_bytes(), None)
    };
    let size = |root: &ZotRoot, digest: &str| fs::read(root.blob_path("team/app", digest)).expect("there").len();
    let image_size = size(&root, &image);
    let signature = refer(&mut root, SIGNATURE, &image, image_size);
    let signature_size = size(&root, &signature);
    let report = refer(&mut root, "application/vnd.example.report", &signature, signature_size);

    let content = bytes(3, 80_000);
    let sha512_layer = sha512(&content);
    root.put_as("sha512", &sha512_layer, &content);
    let config = root.put("sha512", b"{}");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": IMAGE_MANIFEST,
        "config": { "mediaType": "application/vnd.example+json", "digest": config, "size": 2 },
        "layers": [{ "mediaType": LAYER, "digest": sha512_layer, "size": content.len() }],
    });
    root.push("sha512", IMAGE_MANIFEST, manifest.to_string().as_bytes(), Some("v1"));
    Sound { root, image, untagged, signature, report, sha512_layer }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zot_root_moves_in_without_a_copy() {
    let mut registry = stopped(Io::Auto).await;
    let Sound { root, image, untagged, signature, report, sha512_layer } = sound_zot(&registry);
    root.finish();
    root.set_pushed("team/app", &image, 1_600_000_000_123);
    let before = blocks(root.path());

    let dry = import(&registry, root.path(), &["--dry-run"], 0);
    let first = import(&registry, root.path(), &[], 0);
    for counts in ["repositories", "manifests", "tags", "blobs", "bytes"] {
        assert_eq!(dry[counts], first[counts], "a dry run foresees the {counts}");
    }
    assert_eq!(first["repositories"], 4, "{first}");
    assert_eq!(first["tags"], json!({ "imported": 8, "present": 0, "kept": 0, "skipped": 0 }), "{first}");
    assert_eq!(first["blobs"]["copied"], 0, "{first}");
    assert_eq!(blocks(root.path()), before, "nothing in the source was written");
    assert_all_linked(&registry);

    let again = import(&registry, root.path(), &[], 0);
    assert_eq!((&again["manifests"]["imported"], &again["tags"]["imported"]), (&json!(0), &json!(0)), "{again}");
    assert_eq!(
        (&again["manifests"]["present"], &again["tags"]["present"]),
        (&first["manifests"]["imported"], &first["tags"]["imported"],)
    );

    // Push times are those of the files; ages count from now.
    let explained = report_of(&registry, "team/app");
    let v1 = explained["tags"].as_array().expect("tags").iter().find(|tag| tag["tag"] == "v1").expect("v1").clone();
    assert_eq!(v1["pushedUnixMs"], json!(1_600_000_000_123_u64), "{v1}");
    assert!(v1["pushedAgeMs"].as_u64().expect("an age") < 3_600_000, "{v1}");

    registry.restart().await;
    let app = root.repository("team/app");
    for tag in ["multi", "v1", "latest"] {
        assert_pulls(&registry, "team/app", &app, tag);
    }
    assert_serves(&registry, "team/app", &app, "outer").await;
    assert_pulls(&registry, "team", &root.repository("team"), "amd64");
    assert_pulls(&registry, "team/app/nested", &root.repository("team/app/nested"), "v1");
    let cosign = format!("{}.sig", image.replace(':', "-"));
    assert_eq!(tags(&registry, "team/app").await, ["latest", "multi", "outer", cosign.as_str(), "v1"]);
    let repository = registry.repository("team/app");
    for digest in [&untagged, &signature, &report] {
        assert_eq!(repository.manifest(digest).await.expect(200).body, app.read(digest), "{digest}");
    }
    for (subject, referrer, artifact_type) in
        [(&image, &signature, SIGNATURE), (&signature, &report, "application/vnd.example.report")]
    {
        let found = repository.client.get(&repository.path(&format!("referrers/{subject}"))).await.expect(200).json();
        let found = found["manifests"].as_array().expect("a list").clone();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((&found[0]["digest"], &found[0]["artifactType"]), (&json!(referrer), &json!(artifact_type)));
        assert_eq!(found[0]["annotations"]["org.example.signer"], "somebody");
    }
    let layer = registry.repository("sha512").blob(&sha512_layer).await.expect(200);
    assert_eq!(sha512(&layer.body), sha512_layer);
    registry.repository("team").blob(&sha512_layer).await.expect(404);
    registry.finish();
}

fn report_of(registry: &Registry, repository: &str) -> Value {
    report(&run(&mut orlop(registry, "retention", &["--explain", repository, "--json"])), 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_or_missing_is_named_and_the_rest_moves_in() {
    let mut registry = stopped(Io::Threads).await;
    let mut root = ZotRoot::new(registry.scratch("zot"));
    let (sound, flipped, gone) = (bytes(1, 200_000), bytes(2, 150_000), bytes(3, 150_000));
    let good = root.push_image("app", "good", &[&sound], Some("good"));
    let bad = root.push_image("app", "bad", &[&sound, &flipped], Some("bad"));
    root.push_image("app", "missing", &[&gone], Some("missing"));
    let mixed = root.push_index("app", &[(IMAGE_MANIFEST, &good), (IMAGE_MANIFEST, &bad)], Some("mixed"));
    root.push_index("app", &[(IMAGE_MANIFEST, &bad)], Some("nothing-left"));
    let torn = root.push_image("app", "torn", &[&sound], Some("torn"));
    root.push_image("other", "same layer", &[&flipped], Some("bad-too"));
    root.list("app", json!({ "mediaType": IMAGE_MANIFEST, "digest": "sha384:00", "size": 1 }));
    root.list("app", json!({ "mediaType": "application/vnd.example", "digest": good, "size": 1 }));
    root.finish();
    disk::damage(&root.blob_path("app", &sha256(&flipped)));
    disk::damage(&root.blob_path("app", &torn));
    fs::remove_file(root.blob_path("app", &sha256(&gone))).expect("removed");
    std::os::unix::fs::symlink("/etc", root.path().join("linked")).expect("linked");

    let first = import(&registry, root.path(), &[], 1);
    assert_eq!(first["tags"], json!({ "imported": 2, "present": 0, "kept": 0, "skipped": 5 }), "{first}");
    let column = |list: &str, field: &str| -> BTreeSet<String> {
        let rows = first[list]["rows"].as_array().expect("rows").clone();
        rows.iter().map(|row| row[field].as_str().expect("a text").to_owned()).collect()
    };
    assert_eq!(column("damaged", "digest"), BTreeSet::from([sha256(&flipped), torn.clone()]));
    for (path, digest) in
        first["damaged"]["rows"].as_array().expect("rows").iter().map(|row| (&row["path"], &row["digest"]))
    {
        let hex = digest.as_str().expect("a digest").trim_start_matches("sha256:").to_owned();
        assert!(path.as_str().expect("a path").ends_with(&hex), "{path}");
    }
    let skipped = first["skipped"].to_string();
    for tag in ["bad", "missing", "torn", "nothing-left", "bad-too"] {
        assert!(skipped.contains(&format!("{tag:?}")), "{tag} is not in {skipped}");
    }
    assert!(skipped.contains("it is not in the source"), "{skipped}");
    assert_eq!(column("incomplete", "index"), BTreeSet::from([mixed.clone()]));
    assert_eq!(first["incomplete"]["rows"][0]["missing"], json!([bad]));
    assert_eq!(first["oddities"]["rows"].as_array().expect("rows").len(), 2, "{first}");

    let table = run(&mut orlop(&registry, "import", &[utf8(root.path())]));
    assert_eq!(table.status.code(), Some(1));
    assert!(table.stdout.contains("damaged: app: ") && table.stdout.contains("skipped: other: "), "{}", table.stdout);

    registry.restart().await;
    assert_eq!(tags(&registry, "app").await, ["good", "mixed"]);
    assert_pulls(&registry, "app", &root.repository("app"), "good");
    let repository = registry.repository("app");
    repository.manifest(&mixed).await.expect(200);
    repository.manifest(&bad).await.expect(404);
    repository.blob(&sha256(&flipped)).await.expect(404);
    registry.stop();

    // Whoever mends the source imports again, and gets the rest.
    fs::write(root.blob_path("app", &sha256(&flipped)), &flipped).expect("mended");
    let mended = import(&registry, root.path(), &[], 1);
    assert_eq!(mended["damaged"]["rows"].as_array().expect("rows").len(), 1, "{mended}");
    assert_eq!(mended["tags"]["imported"], 3, "{mended}");
    registry.restart().await;
    assert_pulls(&registry, "app", &root.repository("app"), "mixed");
    assert_pulls(&registry, "other", &root.repository("other"), "bad-too");
    registry.finish();
}

/// Debian's docker-registry writes the root, skopeo pushes to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_distribution_root_moves_in_without_a_copy() {
    let mut registry = stopped(Io::Auto).await;
    let directory = registry.scratch("distribution");
    let root = directory.join("root");
    let config = json!({
        "version": 0.1, "log": { "level": "info" },
        "storage": { "filesystem": { "rootdirectory": root } }, "http": { "addr": "127.0.0.1:0" },
    });
    // Its parser reads YAML, of which JSON is a part.
    fs::write(directory.join("config.yml"), config.to_string()).expect("written");
    let mut other = Process::spawn(Command::new("docker-registry").arg("serve").arg(directory.join("config.yml")));
    let address = other.wait_for_line(|line| {
        let (_, address) = line.split_once("listening on ")?;
        Some(address.split(|other: char| !other.is_ascii_digit() && !".:".contains(other)).next()?.to_owned())
    });
    let address = address.unwrap_or_else(|output| panic!("docker-registry never listened: {output}"));
    let fixture = Layout::fixture();
    for (tag, repository) in [("multi", "team/app"), ("amd64", "team/app/nested"), ("amd64", "team/app")] {
        let mut push = program(&registry, "skopeo");
        push.args(["copy", "--all", "--preserve-digests", "--dest-tls-verify=false"]);
        push.arg(format!("oci:{}:{tag}", fixture.path().display()));
        run_well(push.arg(format!("docker://{address}/{repository}:{tag}")));
    }
    other.signal(Signal::TERM);
    other.wait();
    let before = blocks(&root);

    let first = import(&registry, &root, &[], 0);
    assert_eq!(first["tags"]["imported"], 3, "{first}");
    assert_eq!((&first["repositories"], &first["blobs"]["copied"]), (&json!(2), &json!(0)), "{first}");
    assert_eq!(blocks(&root), before, "nothing in the source was written");
    assert_all_linked(&registry);
    let again = import(&registry, &root, &["--as", "distribution"], 0);
    assert_eq!((&again["manifests"]["imported"], &again["tags"]["present"]), (&json!(0), &json!(3)), "{again}");

    let link = root.join("docker/registry/v2/repositories/team/app/_manifests/tags/multi/current/link");
    let pushed = fs::metadata(link).and_then(|metadata| metadata.modified()).expect("a time");
    let pushed_ms = pushed.duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let explained = report_of(&registry, "team/app");
    let multi = explained["tags"].as_array().expect("tags").iter().find(|tag| tag["tag"] == "multi").cloned();
    assert_eq!(multi.expect("multi")["pushedUnixMs"].as_u64().map(u128::from), Some(pushed_ms));

    registry.restart().await;
    assert_pulls(&registry, "team/app", &fixture, "multi");
    assert_pulls(&registry, "team/app", &fixture, "amd64");
    assert_pulls(&registry, "team/app/nested", &fixture, "amd64");
    // The old root can go: the store has its own names for the bytes.
    fs::remove_dir_all(&root).expect("removed");
    assert_pulls(&registry, "team/app", &fixture, "multi");
    registry.finish();
}

/// Killed at some moment, repeated, and complete; the order of the pushes survives.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_import_is_repeated() {
    const IMAGES: u64 = 300;
    let registry = stopped(Io::Auto).await;
    let mut root = ZotRoot::new(registry.scratch("zot"));
    let mut digests = Vec::new();
    for number in 0..IMAGES {
        let (large, small) = (bytes(number, 70_000), bytes(IMAGES + number, 500));
        let repository = format!("app{}", number % 3);
        let tag = format!("t{number:03}");
        let digest = root.push_image(&repository, &tag, &[&large, &small], Some(&tag));
        digests.push((repository, digest));
    }
    root.finish();
    // The later the number, the earlier the push.
    for (number, (repository, digest)) in (0..).zip(&digests) {
        root.set_pushed(repository, digest, 1_700_000_000_000 - number * 60_000);
    }
    let mut rounds = 0;
    for kill_at in [20, 90, 180] {
        let mut importing = Process::spawn(&mut orlop(&registry, "import", &[utf8(root.path())]));
        let deadline = Instant::now() + PATIENCE;
        while disk::blob_files(&registry.root()).len() < kill_at {
            assert!(Instant::now() < deadline, "the import does not go on: {}", importing.output());
            std::thread::yield_now();
        }
        importing.signal(Signal::KILL);
        rounds += u32::from(!importing.wait().success());
    }
    assert!(rounds > 0, "no import was killed before its end");
    let last = import(&registry, root.path(), &[], 0);
    let tags = &last["tags"];
    let there = tags["imported"].as_u64().zip(tags["present"].as_u64()).map(|(imported, present)| imported + present);
    assert_eq!(there, Some(IMAGES), "{last}");
    for repository in ["app0", "app1", "app2"] {
        let explained = report_of(&registry, repository);
        let mut tags = explained["tags"].as_array().expect("tags").clone();
        // Youngest first by the store's clock is youngest first by the files.
        tags.sort_by_key(|tag| (tag["pushedAgeMs"].as_u64(), tag["tag"].as_str().map(str::to_owned)));
        let files: Vec<_> = tags.iter().map(|tag| tag["pushedUnixMs"].as_u64().expect("a time")).collect();
        assert_eq!(files.len() as u64, IMAGES / 3);
        assert!(files.is_sorted_by(|one, other| one >= other), "{repository}: {files:?}");
    }
    assert_all_linked(&registry);
    registry.finish();
}

/// Out as a layout that skopeo and umoci read, and in again under another name: the same tags,
/// manifests and referrers.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_comes_back_the_same() {
    let mut registry = stopped(Io::Auto).await;
    let Sound { root, image, untagged, signature, report: note, .. } = sound_zot(&registry);
    root.finish();
    root.set_pushed("team/app", &image, 1_600_000_000_123);
    import(&registry, root.path(), &[], 0);
    let out = registry.scratch("out").join("layout");
    let first = report(&run(&mut orlop(&registry, "export", &["team/app", utf8(&out), "--all", "--json"])), 0);
    assert_eq!((&first["tags"], &first["copied"], &first["missing"]), (&json!(5), &json!(0), &json!([])), "{first}");
    let linked = disk::files(&out.join("blobs")).into_iter().filter(|file| file.size > 64 << 10);
    for file in linked {
        assert!(fs::metadata(&file.path).expect("there").nlink() > 2, "{} is a copy", file.path.display());
    }
    let app = root.repository("team/app");
    let layout = Layout::at(&out);
    for tag in ["multi", "v1", "latest", "outer"] {
        app.assert_same(tag, &layout, tag);
    }
    let inspected =
        run_well(program(&registry, "skopeo").args(["inspect", "--raw"]).arg(format!("oci:{}:v1", out.display())));
    assert_eq!(sha256(inspected.stdout.as_bytes()), image);
    let mut list = program(&registry, "umoci");
    let listed = run_well(list.args(["list", "--layout", utf8(&out)])).stdout;
    assert_eq!(listed.lines().collect::<BTreeSet<_>>().len(), 5, "{listed}");

    let again = report(&run(&mut orlop(&registry, "export", &["team/app", utf8(&out), "--all", "--json"])), 0);
    assert_eq!((&again["linked"], &again["written"]), (&json!(0), &json!(0)), "{again}");
    // One tag beside what is there, and something that is no layout.
    let one = report(&run(&mut orlop(&registry, "export", &["team:amd64", utf8(&out), "--json"])), 0);
    assert_eq!(one["tags"], 1, "{one}");
    Layout::fixture().assert_same("amd64", &layout, "amd64");
    app.assert_same("multi", &layout, "multi");
    for (arguments, code) in [
        (["team", utf8(root.path())], 2),
        (["team/none", utf8(&out)], 2),
        (["team:none", utf8(&out)], 2),
        (["UPPER", utf8(&out)], 2),
    ] {
        assert_eq!(run(&mut orlop(&registry, "export", &arguments)).status.code(), Some(code), "{arguments:?}");
    }

    let back = import(&registry, &out, &["--repository", "back/again"], 0);
    assert_eq!(back["tags"]["imported"], 6, "{back}");
    let explained = report_of(&registry, "back/again");
    let v1 = explained["tags"].as_array().expect("tags").iter().find(|tag| tag["tag"] == "v1").cloned().expect("v1");
    assert_eq!(v1["pushedUnixMs"], json!(1_600_000_000_123_u64), "the push time went with it");
    registry.restart().await;
    for tag in ["multi", "v1", "latest"] {
        assert_pulls(&registry, "back/again", &app, tag);
    }
    assert_serves(&registry, "back/again", &app, "outer").await;
    let repository = registry.repository("back/again");
    for digest in [&untagged, &signature, &note] {
        assert_eq!(repository.manifest(digest).await.expect(200).body, app.read(digest), "{digest}");
    }
    let path = repository.path(&format!("referrers/{image}"));
    let original = registry.client().get(&path.replace("back/again", "team/app")).await.expect(200).body;
    assert_eq!(repository.client.get(&path).await.expect(200).body, original);
    registry.finish();
}

/// A tag that was pushed here after it was pushed there stays, unless the operator says otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn the_later_push_of_a_tag_wins() {
    let mut registry = stopped(Io::Auto).await;
    let mut root = ZotRoot::new(registry.scratch("zot"));
    let old = root.push_image("app", "old", &[b"old"], Some("latest"));
    root.finish();
    root.set_pushed("app", &old, 1_600_000_000_000);
    import(&registry, root.path(), &[], 0);
    registry.restart().await;
    let repository = registry.repository("app");
    assert_eq!(repository.manifest("latest").await.expect(200).header("docker-content-digest"), old);
    let pushed = repository.push_image("latest", "pushed here").await;

    // While it serves, nobody else gets at the store.
    let refused = run(&mut orlop(&registry, "import", &[utf8(root.path())]));
    assert_eq!(refused.status.code(), Some(5), "{}", refused.stderr);
    assert!(refused.stderr.contains("in use by another process"), "{}", refused.stderr);
    registry.stop();

    let kept = import(&registry, root.path(), &[], 0);
    assert_eq!(kept["tags"], json!({ "imported": 0, "present": 0, "kept": 1, "skipped": 0 }), "{kept}");
    assert_eq!(kept["kept"]["rows"][0]["stored"], json!(pushed.digest), "{kept}");
    registry.restart().await;
    let latest = registry.repository("app").manifest("latest").await.expect(200);
    assert_eq!(latest.header("docker-content-digest"), pushed.digest);
    registry.stop();

    let moved = import(&registry, root.path(), &["--overwrite-tags"], 0);
    assert_eq!(moved["tags"]["imported"], 1, "{moved}");
    registry.restart().await;
    let latest = registry.repository("app").manifest("latest").await.expect(200);
    assert_eq!(latest.header("docker-content-digest"), old);
    registry.finish();
}

/// Links end at the file system's border; then only a copy helps, and it is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn another_file_system_takes_a_copy() {
    let mut registry = stopped(Io::Auto).await;
    let memory = tempfile::tempdir_in("/dev/shm").expect("memory as a file system");
    let mut root = ZotRoot::new(memory.path().join("zot"));
    root.push_image("app", "one", &[&bytes(1, 200_000)], Some("v1"));
    root.finish();
    let refused = run(&mut orlop(&registry, "import", &[utf8(root.path())]));
    assert_eq!(refused.status.code(), Some(4), "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stderr.contains("--copy"), "{}", refused.stderr);
    let copied = import(&registry, root.path(), &["--copy"], 0);
    assert_eq!((&copied["blobs"]["copied"], &copied["blobs"]["linked"]), (&json!(1), &json!(0)), "{copied}");

    let out = memory.path().join("out");
    let refused = run(&mut orlop(&registry, "export", &["app", utf8(&out)]));
    assert_eq!(refused.status.code(), Some(4), "{}{}", refused.stdout, refused.stderr);
    let given = report(&run(&mut orlop(&registry, "export", &["app", utf8(&out), "--copy", "--json"])), 0);
    assert_eq!(given["linked"], 0, "{given}");
    root.repository("app").assert_same("v1", &Layout::at(&out), "v1");
    registry.restart().await;
    assert_pulls(&registry, "app", &root.repository("app"), "v1");
    registry.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_is_nothing_of_the_kind_is_refused() {
    let registry = stopped(Io::Auto).await;
    let empty = registry.scratch("empty");
    let layout = registry.scratch("layout");
    let single = Layout::fixture().only("amd64", &layout);
    for (arguments, code, part) in [
        (vec![utf8(&empty)], 2, "neither a zot root"),
        (vec!["/nowhere/at/all"], 4, "cannot read"),
        (vec![utf8(single.path())], 2, "--repository"),
        (vec![utf8(single.path()), "--repository", "UPPER"], 2, "--repository"),
        (vec![utf8(&empty), "--as", "distribution"], 2, "docker/registry/v2"),
        (vec![utf8(&empty), "--as", "oci-layout"], 2, "oci-layout"),
        (vec![utf8(&empty), "--as", "zot", "--repository", "a"], 2, "--repository"),
    ] {
        let refused = run(&mut orlop(&registry, "import", &arguments));
        assert_eq!(refused.status.code(), Some(code), "{arguments:?}: {}", refused.stderr);
        assert!(refused.stderr.contains(part), "{arguments:?}: {}", refused.stderr);
    }
    registry.finish();
}

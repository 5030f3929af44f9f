//! A registry whose index is lost comes back from its journal and its files.

use std::{fs, process::Command};

use orlop_tests::{
    Options, Registry, disk,
    process::{Ended, run},
    registry::binary,
    repository::{IMAGE_MANIFEST, Manifest, descriptor, image_config},
    stream::{bytes, sha256},
};
use serde_json::{Value, json};

fn rebuild(registry: &Registry, flags: &[&str]) -> Ended {
    run(Command::new(binary()).arg("rebuild").arg("--root").arg(registry.root()).args(flags))
}

/// Refused with one line that says what to do.
#[track_caller]
fn assert_asks_for_rebuild(registry: &Registry) {
    let ended = run(&mut registry.serve_command());
    assert_eq!(ended.status.code(), Some(6), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.stderr.trim_end().lines().count(), 1, "one line: {}", ended.stderr);
    assert!(ended.stderr.contains("orlop rebuild --root"), "{}", ended.stderr);
}

/// Images that share layers, an image in two repositories, a tag that moved, signatures, all killed with
/// SIGKILL right after the last answer; then the index is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_index_comes_back_with_everything_that_was_acknowledged() {
    const IMAGES: u64 = 20;
    let mut registry = Registry::start(Options::default()).await;
    let repository = registry.repository("team/app");
    // A first journal is begun in the background; from its first base on it has everything.
    registry.wait_for_log("the journal has a new base");
    let mut pushed = Vec::new();
    for number in 0..IMAGES {
        let layer = bytes(number % 7, if number % 2 == 0 { 3_000 } else { 150_000 });
        let tag = format!("v{}", number % 15);
        pushed.push((tag, repository.push_image(&format!("v{}", number % 15), layer.clone()).await, layer));
    }
    let subject = &pushed[IMAGES as usize - 1].1;
    let config = image_config("signature");
    repository.push(config.clone()).await;
    let signature = Manifest::new(&json!({
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "artifactType": "application/vnd.example.signature",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [],
        "subject": subject.descriptor(IMAGE_MANIFEST),
    }));
    let put = repository.put_manifest(&signature.digest, IMAGE_MANIFEST, signature.bytes.clone()).await;
    put.expect(201);
    let referrers = repository.path(&format!("referrers/{}", subject.digest));
    let listed = repository.client.get(&referrers).await.expect(200).body;
    let other = registry.repository("other");
    let shared = other.push_image("copy", pushed[1].2.clone()).await;
    let tags = repository.client.get(&repository.path("tags/list")).await.expect(200).body;
    registry.kill();

    fs::remove_dir_all(registry.root().join("index")).expect("the index can be removed");
    assert_asks_for_rebuild(&registry);
    let ended = rebuild(&registry, &["--json", "--verify"]);
    assert!(ended.status.success(), "{}{}", ended.stdout, ended.stderr);
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!((&report["tags"], &report["repositories"]), (&json!(16), &json!(2)), "{report}");
    assert_eq!((&report["damaged"], &report["unknownFiles"]), (&json!(0), &json!(0)), "{report}");
    assert_eq!(report["findings"], json!([]));
    assert!(ended.stderr.contains("reading the journal"), "progress: {}", ended.stderr);

    registry.restart().await;
    let repository = registry.repository("team/app");
    for (number, (tag, manifest, layer)) in pushed.iter().enumerate() {
        assert_eq!(repository.manifest(&manifest.digest).await.expect(200).body, manifest.bytes);
        let is_latest = pushed[number + 1..].iter().all(|(later, ..)| later != tag);
        if is_latest {
            assert_eq!(repository.manifest(tag).await.expect(200).body, manifest.bytes, "{tag}");
        }
        assert_eq!(repository.blob(&sha256(layer)).await.expect(200).body, *layer);
    }
    let referrers = repository.path(&format!("referrers/{}", pushed[IMAGES as usize - 1].1.digest));
    assert_eq!(repository.client.get(&referrers).await.expect(200).body, listed);
    let list = repository.path("tags/list");
    assert_eq!(repository.client.get(&list).await.expect(200).body, tags);
    let other = registry.repository("other");
    assert_eq!(other.manifest("copy").await.expect(200).body, shared.bytes);
    other.blob(&sha256(&pushed[0].2)).await.expect_error(404, "BLOB_UNKNOWN");
    // It is a registry like any other again.
    other.push_image("new", bytes(99, 100_000)).await;
    registry.finish();
}

/// A layer whose file is lost with the index answers 404 until it is pushed again.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_lost_too_is_told_and_healed_by_a_push() {
    let mut registry = Registry::start(Options::default()).await;
    let layer = bytes(5, 200_000);
    let image = registry.repository("app").push_image("v1", layer.clone()).await;
    registry.wait_for_log("the journal has a new base");
    registry.kill();
    let files = disk::blob_files(&registry.root());
    assert_eq!(files.len(), 1, "{files:?}");
    fs::remove_file(&files[0].path).expect("the file can be removed");
    fs::remove_dir_all(registry.root().join("index")).expect("the index can be removed");
    let ended = rebuild(&registry, &[]);
    assert_eq!(ended.status.code(), Some(1), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains(&sha256(&layer)), "{}", ended.stdout);
    // There is an index now.
    assert_eq!(rebuild(&registry, &[]).status.code(), Some(2));
    registry.restart().await;
    let repository = registry.repository("app");
    assert_eq!(repository.manifest("v1").await.expect(200).body, image.bytes);
    repository.blob(&sha256(&layer)).await.expect_error(404, "BLOB_UNKNOWN");
    repository.push(layer.clone()).await;
    assert_eq!(repository.blob(&sha256(&layer)).await.expect(200).body, layer);
    registry.finish();
}

/// Damage that a scrub found before the index was lost, and damage that the rebuild finds.
#[tokio::test(flavor = "multi_thread")]
async fn damage_that_was_known_stays_known() {
    let mut registry = Registry::start(Options::default()).await;
    let layers = [bytes(6, 150_000), bytes(7, 160_000)];
    for (layer, tag) in layers.iter().zip(["rotten", "lost"]) {
        registry.repository("app").push_image(tag, layer.clone()).await;
    }
    registry.wait_for_log("the journal has a new base");
    registry.stop();
    let file = |layer: &[u8]| {
        let digest = sha256(layer);
        let files = disk::blob_files(&registry.root());
        files.into_iter().find(|file| file.path.ends_with(&digest["sha256:".len()..])).expect("layers have files").path
    };
    disk::damage(&file(&layers[0]));
    let scrub = || run(Command::new(binary()).arg("scrub").arg("--root").arg(registry.root()).arg("--json"));
    let found = scrub();
    assert_eq!(found.status.code(), Some(1), "{}{}", found.stdout, found.stderr);

    fs::remove_file(file(&layers[1])).expect("the file can be removed");
    fs::remove_dir_all(registry.root().join("index")).expect("the index can be removed");
    let rebuilt = rebuild(&registry, &["--json"]);
    assert_eq!(rebuilt.status.code(), Some(1), "{}{}", rebuilt.stdout, rebuilt.stderr);
    let report: Value = serde_json::from_str(&rebuilt.stdout).expect("JSON");
    assert_eq!(report["findings"].as_array().map(Vec::len), Some(1), "what was known is no finding: {report:#}");
    let document: Value = serde_json::from_str(&scrub().stdout).expect("JSON");
    let damaged = document["damaged"].as_array().expect("a list");
    let finder = |layer: &[u8]| {
        let entry = damaged.iter().find(|entry| entry["digest"] == json!(sha256(layer)));
        entry.unwrap_or_else(|| panic!("not on the list: {document:#}"))["found_by"].clone()
    };
    assert_eq!((finder(&layers[0]), finder(&layers[1])), (json!("scrub"), json!("rebuild")));
    registry.finish();
}

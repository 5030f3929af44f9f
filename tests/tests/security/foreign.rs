//! Layouts that somebody hostile wrote, taken over by `orlop import`.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use orlop_tests::{
    Registry,
    process::run,
    registry::binary,
    repository::IMAGE_MANIFEST,
    stream::{bytes, sha256},
    zot::ZotRoot,
};
use serde_json::{Value, json};

use crate::common::start;

/// Entries of one `index.json`, all of them useless.
const ENTRIES: usize = 100_000;

/// A file beside the layout, which nobody put into it.
const SECRET: &[u8] = b"not for the registry";

fn import(registry: &Registry, source: &Path) -> Value {
    let config = registry.root().with_file_name("config.json");
    let ended = run(Command::new(binary()).arg("import").arg(config).arg(source).arg("--json"));
    assert_eq!(ended.status.code(), Some(1), "{}{}", ended.stdout, ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout))
}

fn entry(digest: &str, size: Value, tag: &str) -> Value {
    let annotations = json!({ "org.opencontainers.image.ref.name": tag });
    json!({ "mediaType": IMAGE_MANIFEST, "digest": digest, "size": size, "annotations": annotations })
}

/// containers-image CVE-2024-3727: texts that stand for digests are no paths. Each entry that is none is
/// named, and the sound ones of the same index move in.
#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_layout_gives_what_is_sound_of_it() {
    let mut registry = start().await;
    registry.stop();
    let mut root = ZotRoot::new(registry.scratch("zot"));
    let layer = bytes(1, 150_000);
    let good = root.push_image("app", "good", &[&layer], Some("good"));
    let outside = registry.scratch("outside");
    fs::create_dir_all(&outside).expect("made");
    fs::write(outside.join("secret"), SECRET).expect("written");

    let digests =
        ["sha256:../../x", "sha256:", "../../../outside/secret", "sha256:..%2f", "SHA256:00", "", "sha256:\u{0}"];
    for digest in digests {
        root.list("app", entry(digest, json!(1), "bad"));
    }
    let sizes = [json!(-1), json!(1e300), json!("1"), json!(u64::MAX), Value::Null];
    for size in &sizes {
        root.list("app", entry(&sha256(b"nowhere"), size.clone(), "bad"));
    }
    for tag in ["../../etc", "a b", "", &"x".repeat(200), "a\nb"] {
        root.list("app", entry(&good, json!(1), tag));
    }
    // An image whose layer is reached over a link, under the right name.
    root.push_image("app", "linked", &[SECRET], Some("linked"));
    for entry in 0..ENTRIES {
        root.list("many", entry_number(entry));
    }
    root.finish();
    let secret = root.blob_path("app", &sha256(SECRET));
    fs::remove_file(&secret).expect("removed");
    symlink(outside.join("secret"), &secret).expect("linked");
    // Names that lead around in a circle, and out of the tree.
    symlink("..", root.path().join("app/circle")).expect("linked");
    symlink(&outside, root.path().join("out")).expect("linked");
    fs::create_dir_all(root.path().join("torn")).expect("made");
    fs::write(root.path().join("torn/oci-layout"), "{}").expect("written");
    fs::write(root.path().join("torn/index.json"), "[".repeat(100_000)).expect("written");

    let report = import(&registry, root.path());
    assert_eq!(report["tags"]["imported"], 1, "{}", report["tags"]);
    let odd = &report["oddities"]["rows"];
    let named = odd.as_array().expect("rows").len();
    assert!(named >= digests.len(), "each text that is no digest is named: {odd}");
    assert!(odd.to_string().contains("torn/index.json"), "a file that is no JSON is named: {odd}");

    registry.restart().await;
    let repository = registry.repository("app");
    repository.manifest("good").await.expect(200);
    assert!(repository.blob(&sha256(&layer)).await.expect(200).body == layer);
    repository.manifest("linked").await.expect(404);
    repository.blob(&sha256(SECRET)).await.expect(404);
    registry.finish();
}

fn entry_number(number: usize) -> Value {
    entry(&sha256(&number.to_le_bytes()), json!(number), &format!("v{number}"))
}

//! Damage on a real disk, found by the real binary, while it serves and while it does not.

use std::{process::Command, time::Instant};

use orlop_tests::{
    Options, Registry, disk,
    process::{Ended, PATIENCE, run},
    registry::binary,
    stream::{bytes, sha256},
};
use serde_json::{Value, json};

const PATH: &str = "/v2/_orlop/scrub";

/// Asks for a pass and waits for its end; what the operators' path says then.
async fn scrub(registry: &Registry) -> Value {
    let client = registry.client();
    let passes = client.get(PATH).await.expect(200).json()["passes"].as_u64().expect("a number");
    client.post(PATH, "").await.expect(202);
    let asked = Instant::now();
    loop {
        let status = client.get(PATH).await.expect(200).json();
        if status["passes"].as_u64() > Some(passes) {
            return status;
        }
        assert_eq!(status["error"], Value::Null, "{status:#}");
        assert!(asked.elapsed() < PATIENCE, "the pass does not end: {status:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_while_serving_and_healed_for_all_by_one_push() {
    let further = json!({ "extensions": { "scrub": { "interval": "24h", "rate": 0 } } });
    let mut registry = Registry::start(Options { config: Some(further), ..Options::default() }).await;
    let layer = bytes(1, 3_000_000);
    let (app, mirror) = (registry.repository("team/app"), registry.repository("mirror"));
    let image = app.push_image("v1", layer.clone()).await;
    mirror.push_image("v1", layer.clone()).await;
    let digest = sha256(&layer);
    assert_eq!(scrub(&registry).await["damaged"], 0);

    let files = disk::blob_files(&registry.root());
    assert_eq!(files.len(), 1, "one layer, stored once");
    disk::damage(&files[0].path);
    let status = scrub(&registry).await;
    assert_eq!((&status["damaged"], &status["last"]["damaged"]), (&json!(1), &json!(1)), "{status:#}");
    let blob = &status["damaged_blobs"][0];
    assert_eq!((&blob["digest"], &blob["found_by"]), (&json!(digest), &json!("scrub")), "{status:#}");
    let affected = json!([
        { "repository": "mirror", "tags": ["v1"], "more_tags": false },
        { "repository": "team/app", "tags": ["v1"], "more_tags": false },
    ]);
    assert_eq!(blob["affected"], affected);
    let quarantined = registry.root().join("quarantine").join(blob["quarantined"].as_str().expect("a name"));
    assert!(quarantined.exists() && !files[0].path.exists(), "{quarantined:?}");
    for repository in [&app, &mirror] {
        repository.blob_head(&digest).await.expect(404);
        repository.blob(&digest).await.expect_error(404, "BLOB_UNKNOWN");
    }
    let metrics = registry.client().get("/metrics").await.expect(200);
    let metrics = String::from_utf8(metrics.body.to_vec()).expect("text");
    for line in ["orlop_damaged_blobs 1\n", "orlop_scrub_last_damaged 1\n", "orlop_blobs_damaged_total 1\n"] {
        assert!(metrics.contains(line), "{line:?} is not in\n{metrics}");
    }

    // It is known after a restart as well.
    registry.stop();
    registry.restart().await;
    let (app, mirror) = (registry.repository("team/app"), registry.repository("mirror"));
    app.blob_head(&digest).await.expect(404);
    mirror.push(layer.clone()).await;
    for repository in [&app, &mirror] {
        assert_eq!(repository.blob(&digest).await.expect(200).body, layer);
    }
    let status = scrub(&registry).await;
    assert_eq!((&status["damaged"], &status["damaged_blobs"]), (&json!(0), &json!([])), "{status:#}");
    assert_eq!(app.manifest("v1").await.expect(200).body, image.bytes);
    registry.finish();
}

/// Runs `orlop scrub` over the registry's root.
fn command(registry: &Registry, flags: &[&str]) -> Ended {
    run(Command::new(binary()).arg("scrub").arg("--root").arg(registry.root()).args(flags))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_lists_damage_and_says_so_by_its_exit_code() {
    let mut registry = Registry::start(Options::default()).await;
    let layer = bytes(2, 200_000);
    registry.repository("app").push_image("v1", layer.clone()).await;
    assert_eq!(command(&registry, &[]).status.code(), Some(5), "it is being served");
    registry.stop();
    let sound = command(&registry, &[]);
    assert!(sound.status.success(), "{}{}", sound.stdout, sound.stderr);
    assert!(sound.stdout.starts_with("3 blobs looked at"), "{}", sound.stdout);

    disk::damage(&disk::blob_files(&registry.root())[0].path);
    let damaged = command(&registry, &[]);
    assert_eq!(damaged.status.code(), Some(1), "{}{}", damaged.stdout, damaged.stderr);
    let digest = sha256(&layer);
    let lines: Vec<&str> = damaged.stdout.lines().collect();
    assert!(lines[0].starts_with("REPOSITORY"), "{}", damaged.stdout);
    let row: Vec<&str> = lines[1].split_whitespace().take(4).collect();
    assert_eq!(row, ["app", "v1", &digest, "checksum"]);
    assert!(damaged.stderr.contains("\"audit\"") && damaged.stderr.contains(&digest), "{}", damaged.stderr);
    let known = command(&registry, &["--json"]);
    assert_eq!(known.status.code(), Some(1), "it is still damaged");
    let document: Value = serde_json::from_str(&known.stdout).expect("JSON");
    assert_eq!((&document["pass"]["known"], &document["damaged_total"]), (&json!(1), &json!(1)), "{document:#}");
    assert_eq!(document["damaged"][0]["affected"][0]["tags"], json!(["v1"]));
    registry.finish();
}

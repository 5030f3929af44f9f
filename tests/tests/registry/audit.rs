//! The audit log: every change and every removal, who did it and why, in a file of its own.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use http::Method;
use orlop_tests::{Kept, Options, Registry, http::full, http::request_with, process::PATIENCE, stream::sha256};
use serde_json::{Value, json};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    // The last line may be on its way.
    let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
    complete.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

/// Waits for a line with these values.
async fn wait_for(path: &Path, values: &[(&str, Value)]) -> Value {
    let found = async {
        loop {
            let is_it = |line: &Value| values.iter().all(|(key, value)| line[*key] == *value);
            if let Some(line) = lines(path).into_iter().find(is_it) {
                return line;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    found.unwrap_or_else(|_| panic!("no line with {values:?} in {:#?}", lines(path)))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_and_every_removal_is_in_the_audit_log() {
    let policy = json!({ "repositories": ["app"], "keepTags": [{ "patterns": ["^keep$"] }] });
    let config = json!({
        "storage": {
            "gcDelay": "0s", "gcInterval": "100ms", "gcLease": "1s",
            "retention": { "policies": [policy] },
        },
        "log": { "audit": "audit.log" },
    });
    let mut registry = Registry::start(Options { config: Some(config), ..Options::default() }).await;
    let root = registry.root();
    let path = root.parent().expect("a directory").join("audit.log");
    let mut client = Kept::new(registry.address());

    let blob = sha256(b"a blob");
    let upload = format!("/v2/app/blobs/uploads/?digest={blob}");
    assert_eq!(client.call(Method::POST, &upload, "a blob").await.expect("an answer").status, 201);
    let document = r#"{"schemaVersion":2,"manifests":[]}"#;
    for tag in ["keep", "gone"] {
        let target = format!("/v2/app/manifests/{tag}");
        let put = request_with(Method::PUT, &target, ("content-type", INDEX), full(document));
        assert_eq!(client.send(put).await.expect("an answer").status, 201);
    }
    assert_eq!(client.call(Method::DELETE, "/v2/app/manifests/none", "").await.expect("an answer").status, 404);
    client.call(Method::GET, "/v2/app/manifests/keep", "").await.expect("an answer");

    let pushed = wait_for(&path, &[("action", "POST".into()), ("object", upload.into())]).await;
    let expected = [("subject", "anonymous"), ("clientIP", "127.0.0.1"), ("result", "done"), ("reason", "request")];
    assert!(expected.iter().all(|(key, value)| pushed[*key] == *value) && pushed["status"] == 201, "{pushed}");
    wait_for(&path, &[("action", "PUT".into()), ("object", "/v2/app/manifests/keep".into())]).await;

    let dropped = wait_for(&path, &[("subject", "retention".into()), ("object", "app:gone".into())]).await;
    assert!(dropped["reason"].as_str().is_some_and(|reason| reason.starts_with("policy ")), "{dropped}");
    let object = format!("app@{blob}");
    let collected = wait_for(&path, &[("subject", "collection".into()), ("object", object.into())]).await;
    assert_eq!((&collected["reason"], &collected["result"]), (&"unneeded".into(), &"removed".into()), "{collected}");

    // Rotated away: what comes next is in a new file.
    let old = path.with_extension("log.1");
    fs::rename(&path, &old).expect("moved");
    assert_eq!(client.call(Method::DELETE, "/v2/app/manifests/keep", "").await.expect("an answer").status, 202);
    wait_for(&path, &[("action", "DELETE".into()), ("object", "/v2/app/manifests/keep".into())]).await;
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    let all = [lines(&old), lines(&path)].concat();
    assert!(all.iter().all(|line| line["action"] != "GET" && line["status"] != 404), "{all:#?}");
    assert!(all.iter().all(|line| line["time"].is_string() && line["object"].is_string()), "{all:#?}");

    let metrics = registry.client().get("/metrics").await.expect(200);
    let metrics = String::from_utf8_lossy(&metrics.body);
    assert!(metrics.contains("orlop_audit_lines_lost_total 0\n"), "{metrics}");
    registry.stop();
    registry.finish();
}

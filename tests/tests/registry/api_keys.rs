//! Keys that users make, with the real binary: they outlive what the process does not, and are in no log.

use std::{fs, path::PathBuf};

use http::Method;
use orlop_tests::{
    Answer, Layout, Options, Registry,
    http::{full, request_with},
    process::run,
    programs::program,
};
use serde_json::{Value, json};

/// `alice`, with bcrypt as htpasswd makes it.
const USERS: &str = "alice:$2a$05$CCCCCCCCCCCCCCCCCCCCC.0ZCmltPmFYn.Vq3Fu0Flw6HKr.62nye\n";
const ALICE: &str = "Basic YWxpY2U6YSBwYXNzd29yZA==";

const PATH: &str = "/zot/auth/apikey";

async fn start() -> Registry {
    let mut registry = Registry::start(Options::default()).await;
    registry.stop();
    fs::write(directory(&registry).join("htpasswd"), USERS).expect("written");
    registry.reconfigure(json!({
        "http": { "auth": { "htpasswd": { "path": "htpasswd" }, "apikey": true } },
        "log": { "audit": "audit.log" },
    }));
    registry.restart().await;
    registry
}

fn directory(registry: &Registry) -> PathBuf {
    registry.root().parent().expect("a directory").to_owned()
}

async fn ask(registry: &Registry, method: Method, body: &str) -> Answer {
    let request = request_with(method, PATH, ("authorization", ALICE), full(body.to_owned()));
    registry.client().send(request).await
}

/// What is known of the only key.
async fn known(registry: &Registry) -> Value {
    let answer = ask(registry, Method::GET, "").await.expect(200);
    let document: Value = serde_json::from_slice(&answer.body).expect("JSON");
    document["apiKeys"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_made_is_there_after_a_crash() {
    let mut registry = start().await;
    let wish = r#"{"label": "ci", "scopes": ["repository:team/**:pull,push"]}"#;
    let made: Value = serde_json::from_slice(&ask(&registry, Method::POST, wish).await.expect(201).body).expect("JSON");
    let key = made["apiKey"].as_str().expect("a key").to_owned();
    registry.kill();
    registry.restart().await;

    let fixture = Layout::fixture();
    let push = |registry: &Registry, repository: &str| {
        let mut push = program(registry, "skopeo");
        push.args(["copy", "--preserve-digests", "--dest-tls-verify=false", &format!("--dest-creds=alice:{key}")]);
        push.arg(format!("oci:{}:amd64", fixture.path().display()));
        run(push.arg(format!("docker://{}/{repository}:amd64", registry.address())))
    };
    let pushed = push(&registry, "team/image");
    assert!(pushed.status.success(), "{}", pushed.stderr);
    assert!(!push(&registry, "other/image").status.success(), "it is not for that");
    let used = known(&registry).await["lastUsed"].clone();
    assert!(used.as_str().is_some_and(|used| used.starts_with("20")), "{used}");
    let output = registry.output();
    registry.stop();
    registry.restart().await;
    assert_eq!(known(&registry).await["lastUsed"], used, "an end in order writes it down");

    let uuid = made["uuid"].as_str().expect("an identifier");
    let gone = request_with(Method::DELETE, &format!("{PATH}?id={uuid}"), ("authorization", ALICE), full(""));
    registry.client().send(gone).await.expect(200);
    registry.kill();
    registry.restart().await;
    assert!(known(&registry).await.is_null() && !push(&registry, "team/image").status.success());

    let audit = fs::read_to_string(directory(&registry).join("audit.log")).expect("there");
    let kept = fs::read_to_string(registry.root().join("accounts/api-keys")).expect("there");
    for text in [output, registry.output(), audit, kept] {
        assert!(!text.contains(&key[4..]), "the key is in a log or a file");
    }
    registry.stop();
    registry.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cannot_be_read_are_not_taken_for_none() {
    let mut registry = start().await;
    ask(&registry, Method::POST, "{}").await.expect(201);
    registry.stop();
    let path = registry.root().join("accounts/api-keys");
    let whole = fs::read(&path).expect("there");
    fs::write(&path, &whole[..whole.len() / 2]).expect("written");
    let ended = run(&mut registry.serve_command());
    assert!(ended.status.code() == Some(4) && ended.stderr.contains("accounts/api-keys"), "{}", ended.stderr);
    fs::write(&path, &whole).expect("written");
    registry.restart().await;
    assert!(known(&registry).await.is_object());
    registry.stop();
    registry.finish();
}

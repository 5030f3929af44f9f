//! The configuration of a registry that runs: changed in place, told by SIGHUP, broken, and mended.

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use http::Method;
use orlop_tests::{
    Answer, Client, Options, Registry,
    http::{empty, full, request, request_with},
    process::PATIENCE,
    repository::IMAGE_INDEX,
    tls::Certificates,
};
use rustix::process::Signal;
use serde_json::{Value, json};

/// `alice` with bcrypt.
const USERS: &str = "alice:$2a$05$CCCCCCCCCCCCCCCCCCCCC.0ZCmltPmFYn.Vq3Fu0Flw6HKr.62nye\n";
const ALICE: &str = "Basic YWxpY2U6YSBwYXNzd29yZA==";

/// How often is asked for what comes to be true by itself.
const PERIOD: Duration = Duration::from_millis(50);

const TAKEN: &str = "the configuration was read again";
const KEPT: &str = "the configuration stays as it was";

fn directory(registry: &Registry) -> PathBuf {
    registry.root().parent().expect("a directory").to_owned()
}

/// alice may do everything; `open/**` can be read by everybody, or not.
fn controlled(is_open: bool) -> Value {
    let everybody = if is_open { json!(["read"]) } else { json!([]) };
    json!({ "http": {
        "auth": { "htpasswd": { "path": "htpasswd" } },
        "accessControl": {
            "repositories": { "open/**": { "anonymousPolicy": everybody } },
            "adminPolicy": { "users": ["alice"], "actions": ["read", "create", "update", "delete"] },
        },
    } })
}

/// A registry with users and `open/app:v1`.
async fn start() -> Registry {
    let mut registry = Registry::start(Options::default()).await;
    fs::write(directory(&registry).join("htpasswd"), USERS).expect("written");
    registry.rewrite(controlled(true));
    wait(&registry, TAKEN, 1).await;
    let path = "/v2/open/app/manifests/v1";
    let mut put = request_with(Method::PUT, path, ("authorization", ALICE), full(index()));
    put.headers_mut().insert("content-type", IMAGE_INDEX.parse().expect("a type"));
    registry.client().send(put).await.expect(201);
    registry
}

fn index() -> String {
    json!({ "schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [] }).to_string()
}

async fn pull(registry: &Registry, login: Option<&str>) -> Answer {
    let path = "/v2/open/app/manifests/v1";
    let request = match login {
        Some(login) => request_with(Method::GET, path, ("authorization", login), empty()),
        None => request(Method::GET, path, empty()),
    };
    registry.client().send(request).await
}

/// Waits until the log has so many lines with this.
async fn wait(registry: &Registry, part: &str, times: usize) {
    let deadline = Instant::now() + PATIENCE;
    while registry.output().matches(part).count() < times {
        assert!(Instant::now() < deadline, "never said {part:?} {times} times:\n{}", registry.output());
        tokio::time::sleep(PERIOD).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_everybody_could_pull_is_closed_and_opened_by_a_change_of_the_file() {
    let mut registry = start().await;
    for _ in 0..5 {
        // From the second one on the answer is given again without asking anybody.
        pull(&registry, None).await.expect(200);
    }
    pull(&registry, Some(ALICE)).await.expect(200);
    registry.rewrite(controlled(false));
    wait(&registry, TAKEN, 2).await;
    pull(&registry, None).await.expect_error(401, "UNAUTHORIZED");
    pull(&registry, Some(ALICE)).await.expect(200);
    assert!(registry.output().contains(r#""changed":"http.accessControl""#), "{}", registry.output());

    registry.rewrite(controlled(true));
    wait(&registry, TAKEN, 3).await;
    for _ in 0..5 {
        pull(&registry, None).await.expect(200);
    }
    // No access control at all, and back, told by a signal.
    registry.rewrite(json!({}));
    registry.signal(Signal::HUP);
    wait(&registry, "there is no access control any more", 1).await;
    wait(&registry, TAKEN, 4).await;
    registry.client().get("/v2/_catalog").await.expect(200);
    registry.rewrite(controlled(false));
    wait(&registry, TAKEN, 5).await;
    pull(&registry, None).await.expect_error(401, "UNAUTHORIZED");
    registry.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_used_changes_nothing() {
    let mut registry = start().await;
    registry.rewrite(controlled(false));
    wait(&registry, TAKEN, 2).await;
    let file = directory(&registry).join("config.json");
    let closed = fs::read(&file).expect("written before");

    let unknown = json!({ "http": { "accessControl": { "repositories": { "**": { "everybody": ["read"] } } } } });
    let no_users = json!({ "http": { "auth": { "htpasswd": { "path": "nowhere" } }, "accessControl": {
        "repositories": { "**": { "anonymousPolicy": ["read"] } } } }, "log": { "level": "error" } });
    let conflict = json!({ "http": { "limits": { "headerBytesMax": 1048576 }, "accessControl": {
        "repositories": { "**": { "anonymousPolicy": ["read"] } } } } });
    for (times, (config, reason)) in
        [(unknown, "unknown key"), (no_users, "nowhere: cannot be read"), (conflict, "header_bytes_max")]
            .into_iter()
            .enumerate()
    {
        registry.rewrite(config);
        wait(&registry, KEPT, times + 1).await;
        assert!(registry.output().contains(reason), "{reason:?}: {}", registry.output());
        pull(&registry, None).await.expect_error(401, "UNAUTHORIZED");
        pull(&registry, Some(ALICE)).await.expect(200);
    }
    // Cut off, empty, and gone.
    fs::write(&file, &closed[..closed.len() / 2]).expect("written");
    wait(&registry, KEPT, 4).await;
    fs::write(&file, "").expect("written");
    wait(&registry, KEPT, 5).await;
    fs::remove_file(&file).expect("removed");
    wait(&registry, KEPT, 6).await;
    registry.signal(Signal::HUP);
    wait(&registry, KEPT, 7).await;
    pull(&registry, None).await.expect_error(401, "UNAUTHORIZED");

    registry.rewrite(controlled(true));
    wait(&registry, TAKEN, 3).await;
    pull(&registry, None).await.expect(200);
    registry.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_new_start_is_named_until_it_is_taken_back() {
    let mut registry = Registry::start(Options::default()).await;
    let address = registry.address();
    registry.rewrite(json!({
        "http": { "port": "1", "realm": "new", "limits": { "acceptQueueMax": 7, "manifestBytesMax": 1100 } },
        "storage": { "cacheBytes": 8388608 },
        "log": { "level": "debug" },
    }));
    wait(&registry, "these keys take effect with the next start", 1).await;
    wait(&registry, r#""keys":"http.limits.acceptQueueMax, http.port, storage.cacheBytes""#, 1).await;
    wait(&registry, r#""changed":"http.limits.manifestBytesMax, http.realm, log.level""#, 1).await;
    assert_eq!(registry.address(), address);
    let client = registry.client();
    let put = |bytes: usize| {
        let path = "/v2/a/manifests/v1";
        let text = format!("{}{}", index(), " ".repeat(bytes.saturating_sub(index().len())));
        request_with(Method::PUT, path, ("content-type", IMAGE_INDEX), full(text))
    };
    client.send(put(1101)).await.expect(413);
    client.send(put(1100)).await.expect(201);
    wait(&registry, "connection ended", 1).await;

    registry.rewrite(json!({}));
    wait(&registry, TAKEN, 2).await;
    client.send(put(1101)).await.expect(201);
    assert_eq!(registry.output().matches("these keys take effect").count(), 1, "nothing waits any more");
    registry.signal(Signal::HUP);
    wait(&registry, TAKEN, 3).await;
    registry.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn collection_goes_by_the_times_of_the_file_as_it_is() {
    let mut registry = Registry::start(Options::default()).await;
    let client = registry.client();
    assert_eq!(client.get("/v2/_orlop/gc").await.expect(200).json()["runs"], 0);
    registry.rewrite(json!({ "storage": { "gcInterval": "100ms" }, "extensions": { "scrub": { "rate": 1048576 } } }));
    let deadline = Instant::now() + PATIENCE;
    while client.get("/v2/_orlop/gc").await.expect(200).json()["runs"].as_u64().is_none_or(|runs| runs < 3) {
        assert!(Instant::now() < deadline, "no collection ran");
        tokio::time::sleep(PERIOD).await;
    }
    let scrub = client.get("/v2/_orlop/scrub").await.expect(200).json();
    assert_eq!((&scrub["interval_s"], &scrub["rate_bytes_max"]), (&json!(86_400), &json!(1_048_576)), "{scrub}");
    registry.finish();
}

/// New handshakes get the new certificate, and a pair that does not fit leaves the old one.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_exchanged_while_it_serves() {
    let registry = Registry::start(Options::tls()).await;
    let certificates = registry.certificates().expect("TLS").clone();
    let old = Client::tls(registry.address(), &certificates, true);
    old.get("/v2/").await.expect(200);
    // A new authority, a new key and a new certificate, at the same places.
    let renewed = Certificates::write(&directory(&registry));
    assert_eq!(renewed.cert(), certificates.cert());
    wait(&registry, "the certificate and its key were read again", 1).await;
    let new = Client::tls(registry.address(), &renewed, true);
    new.get("/v2/").await.expect(200);
    let refused = old.try_send(request(Method::GET, "/v2/", empty())).await;
    assert!(refused.is_err(), "the old authority did not sign that");

    fs::write(renewed.key(), "no key").expect("written");
    wait(&registry, "the certificate and its key stay as they were", 1).await;
    new.get("/v2/").await.expect(200);
    registry.signal(Signal::HUP);
    wait(&registry, "the certificate and its key stay as they were", 2).await;
    new.get("/v2/").await.expect(200);
    let last = Arc::new(Certificates::write(&directory(&registry)));
    registry.signal(Signal::HUP);
    wait(&registry, "the certificate and its key were read again", 2).await;
    Client::tls(registry.address(), &last, false).get("/v2/").await.expect(200);
    registry.finish();
}

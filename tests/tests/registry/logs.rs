//! The logs of the real binary: which line goes where, and what is in none of them.

use std::{fs, path::PathBuf};

use http::{HeaderValue, Method, Request};
use orlop_tests::{
    Answer, Client, Options, Registry,
    http::{Body, empty, full, request},
    process::PATIENCE,
    repository::IMAGE_INDEX,
};
use serde_json::{Value, json};

/// `alice` with bcrypt and `bob` with SHA crypt, as other tools made them.
const USERS: &str = "alice:$2a$05$CCCCCCCCCCCCCCCCCCCCC.0ZCmltPmFYn.Vq3Fu0Flw6HKr.62nye\n\
                     bob:$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5\n";

/// What must be nowhere: passwords, right and wrong ones, as they are and as they travel, and hashes.
const SECRETS: [&str; 9] = [
    "a password",
    "YWxpY2U6YSBwYXNzd29yZA",
    "Hello world!",
    "Ym9iOkhlbGxvIHdvcmxkIQ",
    "sentinel",
    // "sentinel" as it begins in base64 behind "alice:" and behind "mallory:".
    "c2VudGluZW",
    "NlbnRpbmVs",
    "saltstring",
    "CCCCCCCCCCCCCCCCCCCCC",
];

const ALICE: &str = "Basic YWxpY2U6YSBwYXNzd29yZA==";
const BOB: &str = "Basic Ym9iOkhlbGxvIHdvcmxkIQ==";
/// alice:sentinel-1, mallory:sentinel-2
const WRONG: &str = "Basic YWxpY2U6c2VudGluZWwtMQ==";
const UNKNOWN: &str = "Basic bWFsbG9yeTpzZW50aW5lbC0y";

const ACCESS: &str = "access.json";
const AUDIT: &str = "audit.json";

async fn start(tls: bool) -> Registry {
    let config = json!({
        "http": {
            "auth": { "htpasswd": { "path": "htpasswd" }, "failuresMax": 3 },
            "accessControl": {
                "repositories": { "open/**": { "anonymousPolicy": ["read"], "defaultPolicy": ["read", "create"] } },
                "adminPolicy": { "users": ["alice"], "actions": ["read", "create", "update", "delete"] },
            },
            "ratelimit": { "rate": 100_000 },
        },
        "log": { "level": "trace", "access": ACCESS, "audit": AUDIT },
    });
    let mut registry = Registry::start(if tls { Options::tls() } else { Options::default() }).await;
    registry.stop();
    fs::write(directory(&registry).join("htpasswd"), USERS).expect("written");
    registry.reconfigure(config);
    registry.restart().await;
    registry
}

fn directory(registry: &Registry) -> PathBuf {
    registry.root().parent().expect("a directory").to_owned()
}

fn with(mut request: Request<Body>, fields: &[(&'static str, &str)]) -> Request<Body> {
    for (name, value) in fields {
        request.headers_mut().append(*name, HeaderValue::from_str(value).expect("a value"));
    }
    request
}

async fn ask(client: &Client, method: Method, path: &str, fields: &[(&'static str, &str)]) -> Answer {
    client.send(with(request(method, path, empty()), fields)).await
}

/// Everything that people do with their passwords, and what they do with them by mistake. Gives the tokens that were
/// given out.
async fn whole_session(client: &Client) -> Vec<String> {
    const DOCKER: (&str, &str) = ("user-agent", "docker/27.1.1 go/go1.21");
    let mut tokens = Vec::new();
    ask(client, Method::GET, "/v2/", &[DOCKER]).await.expect(401);
    for login in [ALICE, BOB] {
        let token = ask(client, Method::GET, "/zot/auth/token?service=a&account=b", &[("authorization", login)]).await;
        let token = token.expect(200).json()["token"].as_str().expect("a token").to_owned();
        ask(client, Method::GET, "/v2/", &[("authorization", &format!("Bearer {token}"))]).await.expect(200);
        tokens.push(token);
    }
    let mut put = request(
        Method::PUT,
        "/v2/open/a/manifests/one?password=sentinel-3",
        full(r#"{"schemaVersion":2,"manifests":[]}"#),
    );
    put.headers_mut().insert("content-type", HeaderValue::from_static(IMAGE_INDEX));
    client
        .send(with(put, &[("authorization", ALICE), ("x-api-key", "sentinel-4"), ("cookie", "session=sentinel-5")]))
        .await
        .expect(201);
    let begun = ask(client, Method::POST, "/v2/open/a/blobs/uploads/?sentinel-6", &[("authorization", BOB)]).await;
    ask(client, Method::DELETE, &begun.expect(202).location(), &[("authorization", BOB)]).await.expect(204);
    for (path, fields, status) in [
        ("/zot/auth/token?account=alice&password=sentinel-7", &[][..], 200),
        ("/v2/_catalog?access_token=sentinel-8", &[], 200),
        ("/v2/sentinel-9/a/tags/list", &[("authorization", "Bearer sentinel-10.sentinel-11.sentinel-12")], 401),
        ("/v2/", &[("authorization", "sentinel-13")], 401),
        ("/v2/", &[("authorization", "Basic sentinel-14")], 401),
        ("/v2/", &[("authorization", "Digest username=\"alice\", response=\"sentinel-15\"")], 401),
        ("/v2/", &[("authorization", WRONG), ("authorization", ALICE)], 401),
        ("/v2/", &[("proxy-authorization", WRONG), ("authorization", BOB)], 200),
        ("/v2/", &[("authorization", WRONG)], 401),
        ("/v2/", &[("authorization", UNKNOWN)], 401),
        ("/v2/", &[("authorization", WRONG)], 401),
        ("/v2/", &[("authorization", WRONG)], 429),
    ] {
        ask(client, Method::GET, path, fields).await.expect(status);
    }
    tokens
}

/// zot CVE-2025-48374: logs are read by more people than may have passwords.
#[tokio::test(flavor = "multi_thread")]
async fn no_log_has_a_secret_at_any_level() {
    for tls in [false, true] {
        let mut registry = start(tls).await;
        let client = if tls { registry.client_http2() } else { registry.client() };
        let tokens = whole_session(&client).await;
        let mut logs = registry.stop();
        for name in [ACCESS, AUDIT] {
            let text = fs::read_to_string(directory(&registry).join(name)).expect("there");
            assert!(!text.is_empty(), "{name} has lines");
            logs.push_str(&text);
        }
        // Nothing of ours is below that.
        assert!(logs.contains("\"DEBUG\""), "the level is what was asked for");
        for secret in SECRETS.into_iter().chain(tokens.iter().map(String::as_str)) {
            let line = logs.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{secret:?} is in a log: {}", line.unwrap_or_default());
        }
        registry.finish();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_have_a_log_of_their_own() {
    let mut registry = Registry::start(Options::default()).await;
    registry.stop();
    registry.reconfigure(json!({ "log": { "level": "info", "access": ACCESS } }));
    registry.restart().await;
    registry.client().get("/v2/").await.expect(200);
    registry.client().get("/v2/none/tags/list").await.expect(404);
    let path = directory(&registry).join(ACCESS);
    let lines = async {
        loop {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
            let lines = complete.lines().map(|line| serde_json::from_str(line).expect("JSON"));
            // Whoever waits for the start asks for it, too.
            let lines: Vec<Value> = lines.filter(|line: &Value| line["route"] != "health").collect();
            if lines.len() >= 2 {
                return lines;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let lines = tokio::time::timeout(PATIENCE, lines).await.expect("both lines come");
    let seen = lines.iter().map(|line| (line["route"].as_str().expect("a route"), line["status"].as_u64()));
    let mut seen: Vec<_> = seen.collect();
    seen.sort_unstable();
    assert_eq!(seen, [("base", Some(200)), ("tags", Some(404))]);
    assert!(lines.iter().all(|line| line["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:"))));
    assert!(!registry.output().contains("orlop_api::access"), "they are nowhere else");
    registry.stop();
    registry.finish();
}

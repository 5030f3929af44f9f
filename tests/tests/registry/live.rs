//! What changes while a registry serves: what stands before its routes, what may be stored, and where its logs go.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use http::{HeaderName, Method, Request};
use orlop_tests::{
    Answer, Kept, Options, Registry,
    http::{Body, empty, request},
    process::PATIENCE,
    stream::sha256,
};
use serde_json::{Value, json};

/// `alice` with bcrypt.
const USERS: &str = "alice:$2a$05$CCCCCCCCCCCCCCCCCCCCC.0ZCmltPmFYn.Vq3Fu0Flw6HKr.62nye\n";

/// How often is asked for what comes to be true by itself.
const PERIOD: Duration = Duration::from_millis(50);

const TAKEN: &str = "the configuration was read again";
const KEPT: &str = "the configuration stays as it was";

/// A registry whose file is changed, with one connection that stays open all the time.
struct Changing {
    registry: Registry,
    client: Kept,
    /// How often the file was taken.
    taken: usize,
}

impl Changing {
    async fn start() -> Self {
        let registry = Registry::start(Options::default()).await;
        let client = Kept::new(registry.address());
        Changing { registry, client, taken: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.registry.root().parent().expect("a directory").join(name)
    }

    /// Has the file taken, which says so on standard output.
    async fn change(&mut self, config: Value) {
        self.registry.rewrite(config);
        self.taken += 1;
        let taken = self.taken;
        wait(|| self.registry.output(), TAKEN, taken).await;
    }

    async fn get(&mut self, path: &str, fields: &[(&'static str, &str)]) -> Answer {
        self.client.send(with(request(Method::GET, path, empty()), fields)).await.expect("an answer")
    }

    async fn push(&mut self, repository: &str, content: &'static str) -> Answer {
        let path = format!("/v2/{repository}/blobs/uploads/?digest={}", sha256(content.as_bytes()));
        self.client.call(Method::POST, &path, content).await.expect("an answer")
    }
}

fn with(mut request: Request<Body>, fields: &[(&'static str, &str)]) -> Request<Body> {
    for (name, value) in fields {
        request.headers_mut().insert(HeaderName::from_static(name), value.parse().expect("a value"));
    }
    request
}

/// Waits until a text has so many lines with this.
async fn wait(text: impl Fn() -> String, part: &str, times: usize) {
    let deadline = Instant::now() + PATIENCE;
    while text().matches(part).count() < times {
        assert!(Instant::now() < deadline, "never said {part:?} {times} times:\n{}", text());
        tokio::time::sleep(PERIOD).await;
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_before_the_routes_changes_over_open_connections() {
    const PAGE: (&str, &str) = ("origin", "https://ui.example.org");
    let mut changing = Changing::start().await;
    let answer = changing.get("/v2/", &[PAGE]).await.expect(200);
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    let public = json!({
        "basePath": "/site", "allowOrigin": "https://ui.example.org", "trustedProxies": ["127.0.0.1"],
        "ratelimit": { "rate": 1 },
    });
    changing.change(json!({ "http": public })).await;
    let keys = "http.allowOrigin, http.basePath, http.ratelimit, http.trustedProxies";
    assert!(changing.registry.output().contains(&format!(r#""changed":"{keys}""#)), "{}", changing.registry.output());

    let client = |number: u8| ("x-forwarded-for", format!("192.0.2.{number}"));
    let (name, one) = client(1);
    changing.get("/v2/", &[(name, &one)]).await.expect(404);
    let deadline = Instant::now() + PATIENCE;
    while changing.get("/site/v2/", &[(name, &one)]).await.status != 429 {
        assert!(Instant::now() < deadline, "every request is answered");
    }
    let (_, other) = client(2);
    let answer = changing.get("/site/v2/", &[(name, &other), PAGE]).await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), "https://ui.example.org");
    assert!(!answer.headers.contains_key("access-control-allow-credentials"), "there is nobody to log in");

    // Where people log in, pages that are named may bring what they keep: as after a start.
    fs::write(changing.path("htpasswd"), USERS).expect("written");
    let mut http = json!({ "allowOrigin": "https://ui.example.org", "auth": { "htpasswd": { "path": "htpasswd" } } });
    changing.change(json!({ "http": http })).await;
    let answer = changing.get("/v2/", &[(name, &one), PAGE]).await.expect(401);
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    http["allowOrigin"] = "*".into();
    changing.change(json!({ "http": http })).await;
    let answer = changing.get("/v2/", &[PAGE]).await.expect(401);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(!answer.headers.contains_key("access-control-allow-credentials"), "never for everybody");

    changing.change(json!({})).await;
    for _ in 0..9 {
        let answer = changing.get("/v2/", &[(name, &one), PAGE]).await.expect(200);
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
    assert!(!changing.registry.output().contains("take effect with the next start"));
    changing.registry.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_stored_changes_for_the_next_request() {
    let mut changing = Changing::start().await;
    changing.push("team/a", "0123456789").await.expect(201);
    changing.push("other", "0123456789").await.expect(201);
    let quota = |bytes: u64| json!([{ "prefix": "team", "bytes": bytes }]);
    changing.change(json!({ "storage": { "quotas": quota(12), "maxRepos": 2, "blobBytesMax": 10 } })).await;
    let metrics = changing.get("/metrics", &[]).await.expect(200);
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(metrics.contains(r#"orlop_quota_used_bytes{prefix="team"} 10"#), "{metrics}");
    let refused = changing.push("team/a", "012").await.expect_error(403, "DENIED");
    assert!(String::from_utf8_lossy(&refused.body).contains("used=10 added=3 limit=12"), "{refused:?}");
    changing.push("team/a", "01").await.expect(201);
    changing.push("third", "01").await.expect_error(429, "TOOMANYREQUESTS");
    changing.push("other", "01234567890").await.expect(413);

    // A file that asks for what cannot be leaves the quotas, too.
    changing.registry.rewrite(json!({ "storage": { "quotas": quota(99), "maxRepos": 9 }, "log": { "audit": "/" } }));
    wait(|| changing.registry.output(), KEPT, 1).await;
    changing.push("team/a", "012").await.expect_error(403, "DENIED");

    changing.change(json!({ "storage": { "quotas": quota(99), "maxRepos": 9 } })).await;
    changing.push("team/b", "012").await.expect(201);
    changing.push("other", "01234567890").await.expect(201);
    changing.change(json!({})).await;
    changing.push("third", "01").await.expect(201);
    changing.registry.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_go_where_the_file_says_and_back() {
    let mut changing = Changing::start().await;
    let [lines, requests, audit] = ["lines.log", "requests.log", "audit.log"].map(|name| changing.path(name));
    let begin = "/v2/a/blobs/uploads/";
    changing.client.call(Method::POST, begin, "").await.expect("an answer").expect(202);
    wait(|| changing.registry.output(), r#""route":"upload""#, 1).await;

    // The first lines of the new file are about its own coming.
    changing
        .registry
        .rewrite(json!({ "log": { "output": "lines.log", "access": "requests.log", "audit": "audit.log" } }));
    wait(|| text(&lines), TAKEN, 1).await;
    let before = changing.registry.output();
    changing.client.call(Method::POST, begin, "").await.expect("an answer").expect(202);
    wait(|| text(&requests), r#""route":"upload""#, 1).await;
    wait(|| text(&audit), r#""action":"POST""#, 1).await;
    assert_eq!(changing.registry.output(), before, "nothing goes to the old place");
    assert!(!text(&lines).contains(r#""route":"upload""#), "requests have a log of their own");

    for (key, log) in [
        ("log.output", json!({ "output": "/nowhere/x" })),
        ("log.access", json!({ "output": "other.log", "access": "/nowhere/x" })),
        ("log.audit", json!({ "access": "other.log", "audit": "/nowhere/x" })),
    ] {
        changing.registry.rewrite(json!({ "log": log }));
        wait(|| text(&lines), &format!(r#"\"{key}\": cannot append"#), 1).await;
    }
    assert_eq!(text(&lines).matches(KEPT).count(), 3);
    assert!(
        !changing.path("other.log").exists() || text(&changing.path("other.log")).is_empty(),
        "nothing is half taken"
    );
    changing.client.call(Method::POST, begin, "").await.expect("an answer").expect(202);
    wait(|| text(&requests), r#""route":"upload""#, 2).await;
    wait(|| text(&audit), r#""action":"POST""#, 2).await;

    changing.change(json!({ "log": { "audit": "audit.log" } })).await;
    changing.client.call(Method::POST, begin, "").await.expect("an answer").expect(202);
    wait(|| changing.registry.output(), r#""route":"upload""#, 2).await;
    wait(|| text(&audit), r#""action":"POST""#, 3).await;
    changing.change(json!({})).await;
    let audited = text(&audit);
    changing.client.call(Method::POST, begin, "").await.expect("an answer").expect(202);
    wait(|| changing.registry.output(), r#""route":"upload""#, 3).await;
    changing.registry.stop();
    assert_eq!((text(&audit), text(&requests).matches(r#""route":"upload""#).count()), (audited, 2));
    changing.registry.finish();
}

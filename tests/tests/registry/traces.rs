//! Traces of the real binary: who did what for how long, sent before the process ends, and no secrets in them.

use std::fs;

use http::{HeaderValue, Method};
use orlop_tests::{
    Collector, Options, Registry,
    collector::{Mood, Received},
    http::{empty, request},
    stream::sha256,
};
use serde_json::{Value, json};

/// `alice`, whose password is `a password`.
const USERS: &str = "alice:$2a$05$CCCCCCCCCCCCCCCCCCCCC.0ZCmltPmFYn.Vq3Fu0Flw6HKr.62nye\n";
const ALICE: &str = "Basic YWxpY2U6YSBwYXNzd29yZA==";

async fn start(traces: Value) -> Registry {
    let mut registry = Registry::start(Options::default()).await;
    registry.stop();
    let directory = registry.root().parent().expect("a directory").to_owned();
    fs::write(directory.join("htpasswd"), USERS).expect("written");
    registry.reconfigure(json!({
        "http": {
            "auth": { "htpasswd": { "path": "htpasswd" } },
            "accessControl": {
                "repositories": { "**": { "defaultPolicy": ["read", "create"] } },
                "metrics": { "users": ["alice"] },
            },
        },
        "log": { "level": "debug", "traces": traces },
    }));
    registry.restart().await;
    registry
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_come_before_the_process_ends_and_have_no_secrets() {
    let collector = Collector::start(Mood::Takes).await;
    let traces = json!({
        "endpoint": collector.endpoint(), "sample": 1, "serviceName": "registry-eu",
        "headers": { "Authorization": "Bearer s3cret" },
    });
    let mut registry = start(traces).await;
    let mut asked = request(Method::GET, "/v2/app/tags/list?password=sentinel-1", empty());
    asked.headers_mut().insert("authorization", HeaderValue::from_static(ALICE));
    asked.headers_mut().insert("cookie", HeaderValue::from_static("session=sentinel-2"));
    registry.client().send(asked).await.expect(404);
    let as_alice = async |method: Method, path: &str| {
        let mut asked = request(method, path, empty());
        asked.headers_mut().insert("authorization", HeaderValue::from_static(ALICE));
        registry.client().send(asked).await
    };
    let digest = sha256(b"");
    as_alice(Method::POST, &format!("/v2/app/blobs/uploads/?digest={digest}")).await.expect(201);
    for _ in 0..6 {
        as_alice(Method::HEAD, &format!("/v2/app/blobs/{digest}")).await.expect(200);
    }
    let mut wrong = request(Method::GET, "/v2/", empty());
    wrong.headers_mut().insert("authorization", HeaderValue::from_static("Bearer sentinel-3"));
    registry.client().send(wrong).await.expect(401);
    let log = registry.stop();

    // Nothing to wait for: the process has ended.
    let spans = collector.spans();
    let find = |route: &str| -> Received {
        let mut of_route = spans.iter().filter(|span| span.attribute("http.route") == route);
        of_route.next().unwrap_or_else(|| panic!("no span of {route}: {spans:#?}")).clone()
    };
    let tags = find("/v2/<name>/tags/list");
    assert_eq!(tags.attribute("enduser.id"), "alice");
    assert_eq!(tags.attribute("orlop.repository"), "app");
    assert_eq!(tags.attribute("http.response.status_code"), 404);
    assert_eq!(tags.span["status"], Value::Null, "what is not there is no error of the server's");
    assert_eq!(tags.of_service("service.name"), "registry-eu");
    assert_eq!(tags.headers["authorization"], "Bearer s3cret");
    let refused = find("/v2/");
    assert_eq!(refused.attribute("http.response.status_code"), 401);
    assert_eq!(refused.attribute("enduser.id"), Value::Null);
    let again: Vec<_> = spans.iter().filter(|span| span.attribute("orlop.repeat") == true).collect();
    assert!(again.len() >= 3 && again.iter().all(|span| span.attribute("enduser.id") == "alice"), "{again:#?}");
    let sent: String = spans.iter().map(|span| span.span.to_string()).collect();
    for secret in ["sentinel", "a password", "YWxpY2U6", "s3cret"] {
        assert!(!sent.contains(secret), "{secret:?} is in a span: {sent}");
        assert!(!log.contains(secret), "{secret:?} is in the log: {log}");
    }
    registry.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_changes_nothing_but_a_metric() {
    let collector = Collector::start(Mood::Hangs).await;
    let mut registry = start(json!({ "endpoint": collector.endpoint(), "sample": 1 })).await;
    for _ in 0..3 {
        registry.client().get("/livez").await.expect(200);
    }
    collector.wait_for_requests(1).await;
    let mut metrics = request(Method::GET, "/metrics", empty());
    metrics.headers_mut().insert("authorization", HeaderValue::from_static(ALICE));
    let metrics = registry.client().send(metrics).await.expect(200);
    let text = String::from_utf8_lossy(&metrics.body);
    assert!(text.contains("orlop_trace_spans_exported_total 0\n"), "{text}");
    assert!(text.contains("orlop_trace_spans_dropped_total{cause=\"queue\"} 0\n"), "{text}");
    let log = registry.stop();
    assert!(log.contains("the collector of traces did not take the last spans in time"), "{log}");
    registry.finish();
}

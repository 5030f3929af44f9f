//! A collector of traces that takes OTLP/JSON over HTTP, for a test that reads what was sent.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpListener, sync::Notify, time::timeout};

use crate::process::PATIENCE;

/// How a collector answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// 200, and all is kept.
    Takes,
    /// 200, and all is kept, but it says that it did not want so many spans of each request.
    Rejects(usize),
    /// This status, and nothing is kept.
    Answers(u16),
    /// Never.
    Hangs,
}

/// A span that came, with the request that brought it.
#[derive(Debug, Clone)]
pub struct Received {
    /// As OTLP's JSON has it.
    pub span: Value,
    /// Of whoever sent it.
    pub resource: Value,
    pub headers: HeaderMap,
}

impl Received {
    /// An attribute: a text, a whole number, a flag; null if it is not there.
    pub fn attribute(&self, key: &str) -> Value {
        attribute(&self.span, key)
    }

    pub fn name(&self) -> &str {
        self.span["name"].as_str().expect("a span has a name")
    }

    pub fn of_service(&self, key: &str) -> Value {
        attribute(&self.resource, key)
    }
}

fn attribute(of: &Value, key: &str) -> Value {
    let all = of["attributes"].as_array().expect("a list of attributes");
    let mut found = all.iter().filter(|attribute| attribute["key"] == key).map(|attribute| &attribute["value"]);
    let Some(value) = found.next() else { return Value::Null };
    assert!(found.next().is_none(), "{key} is there twice: {of}");
    match &value["intValue"] {
        Value::Null if value["boolValue"].is_boolean() => value["boolValue"].clone(),
        Value::Null => value["stringValue"].clone(),
        // 64-bit numbers are strings in this encoding.
        whole => whole.as_str().expect("a string").parse::<u64>().expect("a whole number").into(),
    }
}

/// A collector that listens until its runtime ends.
#[derive(Clone)]
pub struct Collector {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    mood: Mutex<Mood>,
    spans: Mutex<Vec<Received>>,
    requests: Mutex<usize>,
    changed: Notify,
}

impl Collector {
    pub async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (mood, spans, requests) = (Mutex::new(mood), Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { mood, spans, requests, changed: Notify::new() });
        let accepting = shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = accepting.clone();
                let service = service_fn(move |request| shared.clone().answer(request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Collector { address, shared }
    }

    /// What a registry is told.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From the next request on.
    pub fn set(&self, mood: Mood) {
        *lock(&self.shared.mood) = mood;
    }

    /// Everything that came.
    pub fn spans(&self) -> Vec<Received> {
        lock(&self.shared.spans).clone()
    }

    /// Waits until so many spans have come, and gives all.
    ///
    /// # Panics
    /// If they never do.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        self.wait_until(|| lock(&self.shared.spans).len() >= count).await;
        self.spans()
    }

    /// Waits until so many requests have come, answered or not.
    ///
    /// # Panics
    /// If they never do.
    pub async fn wait_for_requests(&self, count: usize) {
        self.wait_until(|| *lock(&self.shared.requests) >= count).await;
    }

    async fn wait_until(&self, is_there: impl Fn() -> bool) {
        let there = async {
            loop {
                let changed = self.shared.changed.notified();
                if is_there() {
                    return;
                }
                // Two who wait at the same time may take each other's notice.
                let _ = timeout(Duration::from_millis(100), changed).await;
            }
        };
        if timeout(PATIENCE, there).await.is_err() {
            panic!("the collector waits in vain; it has {:#?}", self.spans());
        }
    }
}

impl Shared {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let mood = *lock(&self.mood);
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await else { return Ok(Response::default()) };
        assert_eq!((head.method.as_str(), head.uri.path()), ("POST", "/v1/traces"));
        assert_eq!(head.headers["content-type"], "application/json");
        let body: Value = serde_json::from_slice(&body.to_bytes()).expect("JSON");
        if matches!(mood, Mood::Takes | Mood::Rejects(_)) {
            let mut spans = lock(&self.spans);
            for of_resource in body["resourceSpans"].as_array().expect("a list") {
                for of_scope in of_resource["scopeSpans"].as_array().expect("a list") {
                    let received = |span: &Value| Received {
                        span: span.clone(),
                        resource: of_resource["resource"].clone(),
                        headers: head.headers.clone(),
                    };
                    spans.extend(of_scope["spans"].as_array().expect("a list").iter().map(received));
                }
            }
        }
        *lock(&self.requests) += 1;
        self.changed.notify_waiters();
        let (status, body) = match mood {
            Mood::Takes => (200, "{}".to_owned()),
            Mood::Rejects(count) => (200, format!(r#"{{"partialSuccess":{{"rejectedSpans":"{count}"}}}}"#)),
            Mood::Answers(status) => (status, String::new()),
            Mood::Hangs => std::future::pending().await,
        };
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        Ok(response)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

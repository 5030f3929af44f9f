//! A registry in this process that is traced.

use std::{net::SocketAddr, time::Duration};

use http::{HeaderName, HeaderValue, Request};
use orlop_api::{Policy, Registry, front::Front, limits::Limits};
use orlop_engine::{Engine, IndexKind, io::Backend};
use orlop_telemetry::{Endpoint, Headers, Options, Sample, Telemetry};
use orlop_tests::{Answer, Client, Kept, collector::Received, http::Body, process::PATIENCE};
use serde_json::Value;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const DOCUMENT: &str = r#"{"schemaVersion":2,"manifests":[]}"#;

/// A registry that serves, on a store of its own.
pub struct Rig {
    pub address: SocketAddr,
    registry: Registry,
    engine: Engine,
    traces: Arc<Telemetry>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    _directory: TempDir,
}

impl Rig {
    /// Everything without a parent is traced, or this share of it.
    pub async fn start(endpoint: &str, sample: f64) -> Self {
        Rig::behind(endpoint, sample, Front::default()).await
    }

    pub async fn behind(endpoint: &str, sample: f64, front: Front) -> Self {
        let mut headers = Headers::default();
        headers.insert("x-tenant", "ci").expect("a field");
        let traces = Telemetry::start(Options {
            endpoint: Endpoint::new(endpoint).expect("an endpoint"),
            headers,
            sample: Sample::new(sample).expect("a share"),
            service_name: "orlop".to_owned(),
            service_version: "1.2.3",
            base_path: front.base_path.as_str().to_owned(),
        });
        let traces = Arc::new(traces.expect("started"));
        let directory = tempfile::tempdir().expect("a directory");
        let options =
            orlop_engine::Options { backend: Backend::Threads, index: IndexKind::Memory, ..Default::default() };
        let engine = Engine::open(&directory.path().join("root"), options).await.expect("an empty store opens");
        let registry = Registry::new(engine.clone(), Limits::default(), Policy::default()).with_front(front);
        let registry = registry.with_tracer(traces.clone());
        let server = registry.bind(([127, 0, 0, 1], 0).into(), None).expect("bound");
        let address = server.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            server.run(async { drop(stopped.await) }).await.expect("served to the end");
        });
        Rig { address, registry, engine, traces, stop, serving, _directory: directory }
    }

    pub fn client(&self) -> Client {
        Client::plain(self.address)
    }

    pub fn kept(&self) -> Kept {
        Kept::new(self.address)
    }

    /// A number of the metrics.
    pub fn count(&self, series: &str) -> u64 {
        let text = self.registry.metrics().encode();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series} is not in {text}")).parse().expect("a whole number")
    }

    pub fn dropped(&self, cause: &str) -> u64 {
        self.count(&format!("orlop_trace_spans_dropped_total{{cause=\"{cause}\"}}"))
    }

    pub fn exported(&self) -> u64 {
        self.count("orlop_trace_spans_exported_total")
    }

    /// Waits until a number is there.
    pub async fn wait_for(&self, what: &str, is_there: impl Fn(&Self) -> bool) {
        let there = async {
            while !is_there(self) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, there).await;
        assert!(found.is_ok(), "{what} never came: {}", self.registry.metrics().encode());
    }

    /// Ends the service, then the traces. Gives spans exported and dropped.
    pub async fn stop(self) -> (u64, u64) {
        self.stop.send(()).expect("it serves");
        self.serving.await.expect("no panic");
        self.traces.close().await;
        self.engine.close().await.expect("closed");
        let text = self.registry.metrics().encode();
        let sum = |begin: &str| {
            let lines = text.lines().filter(|line| line.starts_with(begin));
            lines.map(|line| line.rsplit(' ').next().expect("a value").parse::<u64>().expect("a number")).sum()
        };
        (sum("orlop_trace_spans_exported_total"), sum("orlop_trace_spans_dropped_total"))
    }
}

/// A request with further fields.
pub fn with(mut request: Request<Body>, fields: &[(&str, &str)]) -> Request<Body> {
    for (name, value) in fields {
        let name = HeaderName::try_from(*name).expect("a name");
        request.headers_mut().append(name, HeaderValue::from_str(value).expect("a value"));
    }
    request
}

#[track_caller]
pub fn expect(answer: Result<Answer, orlop_tests::http::Failure>, status: u16) -> Answer {
    answer.unwrap_or_else(|failure| panic!("no answer: {failure}")).expect(status)
}

/// Asserts attributes.
#[track_caller]
pub fn has(span: &Received, attributes: &[(&str, Value)]) {
    for (key, value) in attributes {
        assert_eq!(span.attribute(key), *value, "{key} of {:#}", span.span);
    }
}

//! What the server counts and measures, and its text form for a Prometheus scrape.
//!
//! Label values are fixed words of this file (methods, route classes, status classes, causes), never
//! repository names, tags or anything else a client chooses: the number of series has a bound.
//!
//! Latencies are honest: they begin with the first byte of the request head where the connection
//! knows it (HTTP/1) and end when the last byte of the answer was taken by the socket, or when the
//! request was aborted. On HTTP/2 they end when the stream took the last byte, which can be
//! `http2_send_buffer_bytes_max` early.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::Method;
use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder, MetricEncoder, text,
    },
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
        info::Info,
    },
    registry::{Registry, Unit},
};

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the latency buckets in seconds: three per decade from 100 us to 60 s, then what
/// long transfers need. What takes longer than the last is in the `+Inf` bucket.
pub const LATENCY_BUCKETS_S: [f64; 21] = [
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0,
    120.0, 300.0, 900.0,
];

macro_rules! label {
    ($( #[$meta:meta] )* $type:ident { $( $variant:ident = $text:literal, )* }) => {
        $( #[$meta] )*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type { $( $variant, )* }

        impl $type {
            /// Every value of this label.
            pub const ALL: &'static [$type] = &[ $( $type::$variant, )* ];

            /// The value as it appears in the label and in the access log.
            pub const fn as_str(self) -> &'static str {
                match self { $( $type::$variant => $text, )* }
            }
        }

        impl EncodeLabelValue for $type {
            fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), fmt::Error> {
                self.as_str().encode(encoder)
            }
        }
    };
}

label! {
    /// What kind of thing a request is about. The router tells it through
    /// [`RouteSlot`](crate::server::RouteSlot).
    RouteClass {
        Base = "base",
        Blob = "blob",
        Manifest = "manifest",
        Upload = "upload",
        Tags = "tags",
        Catalog = "catalog",
        Referrers = "referrers",
        Health = "health",
        Metrics = "metrics",
        Token = "token",
        Operators = "operators",
        Other = "other",
    }
}

label! {
    /// The methods worth telling apart.
    MethodClass {
        Get = "GET",
        Head = "HEAD",
        Put = "PUT",
        Post = "POST",
        Patch = "PATCH",
        Delete = "DELETE",
        Other = "other",
    }
}

label! {
    /// The class of an answer; `None` when the request was aborted before there was one.
    StatusClass {
        Informational = "1xx",
        Success = "2xx",
        Redirection = "3xx",
        ClientError = "4xx",
        ServerError = "5xx",
        None = "none",
    }
}

label! {
    /// Why an answer did not reach the client as a whole.
    AbortCause {
        // The client went away, or the server cut the connection.
        Connection = "connection",
        // The handler failed in the middle of the body.
        Body = "body",
        // The client took no byte for `stall_timeout_ms`.
        Stalled = "stalled",
    }
}

label! {
    /// The protocol of a connection.
    Protocol {
        Http1 = "http1",
        Http2 = "http2",
    }
}

label! {
    /// Why a connection ended.
    EndCause {
        Closed = "closed",
        Idle = "idle",
        HeaderTimeout = "header_timeout",
        Stalled = "stalled",
        // The peer answered no HTTP/2 ping.
        Unreachable = "unreachable",
        Tls = "tls",
        Protocol = "protocol",
        Io = "io",
        Cut = "cut",
        Panic = "panic",
    }
}

impl From<&Method> for MethodClass {
    fn from(method: &Method) -> Self {
        match *method {
            Method::GET => MethodClass::Get,
            Method::HEAD => MethodClass::Head,
            Method::PUT => MethodClass::Put,
            Method::POST => MethodClass::Post,
            Method::PATCH => MethodClass::Patch,
            Method::DELETE => MethodClass::Delete,
            _ => MethodClass::Other,
        }
    }
}

impl From<Option<http::StatusCode>> for StatusClass {
    fn from(status: Option<http::StatusCode>) -> Self {
        match status.map(|status| status.as_u16() / 100) {
            None => StatusClass::None,
            Some(1) => StatusClass::Informational,
            Some(2) => StatusClass::Success,
            Some(3) => StatusClass::Redirection,
            Some(4) => StatusClass::ClientError,
            Some(_) => StatusClass::ServerError,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: MethodClass,
    route: RouteClass,
    status: StatusClass,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LatencyLabels {
    method: MethodClass,
    route: RouteClass,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabels {
    protocol: Protocol,
    tls: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AbortLabels {
    cause: AbortCause,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    cause: EndCause,
}

/// One number of the engine at the moment of a scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistic {
    /// Without the prefix `orlop_` and, for counters, without the suffix `_total`.
    pub name: &'static str,
    pub help: &'static str,
    pub kind: StatisticKind,
    pub value: u64,
    /// Of several in a row with the same name, each must have one. The values must not be what a
    /// client chooses.
    pub label: Option<(&'static str, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatisticKind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// What a finished request tells about itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestRecord {
    pub method: MethodClass,
    pub route: RouteClass,
    pub status: StatusClass,
    pub duration: Duration,
    pub abort: Option<AbortCause>,
}

/// The series of one method and route.
#[derive(Debug)]
struct Series {
    first_byte: Histogram,
    duration: Histogram,
    requests: [OnceLock<Counter>; StatusClass::ALL.len()],
}

/// A connection that rests.
pub(crate) struct Resting(Gauge);

impl Drop for Resting {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// All metrics of one server. Shared by reference counting; every update is lock-free or takes one
/// short lock.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    duration: Family<LatencyLabels, Histogram, fn() -> Histogram>,
    first_byte: Family<LatencyLabels, Histogram, fn() -> Histogram>,
    /// Series of the families above by method and route, found without their locks.
    series: [[OnceLock<Series>; RouteClass::ALL.len()]; MethodClass::ALL.len()],
    aborted: Family<AbortLabels, Counter>,
    in_flight: Gauge,
    bytes_in: Counter,
    bytes_out: Counter,
    connections: Family<ConnectionLabels, Counter>,
    connections_open: Family<ConnectionLabels, Gauge>,
    connections_resting: Gauge,
    connection_ends: Family<EndLabels, Counter>,
    accept_failures: Counter,
    panics: Counter,
    repeated: Counter,
}

impl Metrics {
    /// `version` names the build; `statistics` is asked at every scrape and must not block.
    pub fn new(version: &'static str, statistics: impl Fn() -> Vec<Statistic> + Send + Sync + 'static) -> Arc<Self> {
        let latency: fn() -> Histogram = || Histogram::new(LATENCY_BUCKETS_S);
        let mut metrics = Metrics {
            registry: Registry::with_prefix("orlop"),
            requests: Family::default(),
            duration: Family::new_with_constructor(latency),
            first_byte: Family::new_with_constructor(latency),
            series: [const { [const { OnceLock::new() }; RouteClass::ALL.len()] }; MethodClass::ALL.len()],
            aborted: Family::default(),
            in_flight: Gauge::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            connections: Family::default(),
            connections_open: Family::default(),
            connections_resting: Gauge::default(),
            connection_ends: Family::default(),
            accept_failures: Counter::default(),
            panics: Counter::default(),
            repeated: Counter::default(),
        };
        metrics.register(version);
        metrics.registry.register_collector(Box::new(StatisticsCollector(Box::new(statistics))));
        Arc::new(metrics)
    }

    fn register(&mut self, version: &'static str) {
        let registry = &mut self.registry;
        registry.register("build", "The running build", Info::new([("version", version)]));
        registry.register("http_requests", "Requests that ended, by what they were", self.requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "From the first byte of the request to the last byte of the answer or the abort",
            Unit::Seconds,
            self.duration.clone(),
        );
        registry.register_with_unit(
            "http_first_byte_duration",
            "From the first byte of the request to the head of the answer",
            Unit::Seconds,
            self.first_byte.clone(),
        );
        registry.register("http_aborted", "Answers that did not reach the client whole", self.aborted.clone());
        registry.register("http_in_flight", "Requests being answered", self.in_flight.clone());
        registry.register("http_handler_panics", "Panics caught in handlers", self.panics.clone());
        registry.register(
            "http_repeated",
            "Answers that still held and were given again without a handler",
            self.repeated.clone(),
        );
        registry.register_with_unit("network_in", "Read from sockets", Unit::Bytes, self.bytes_in.clone());
        registry.register_with_unit("network_out", "Written to sockets", Unit::Bytes, self.bytes_out.clone());
        registry.register("connections", "Connections that spoke a protocol", self.connections.clone());
        registry.register("connections_open", "Connections open now", self.connections_open.clone());
        registry.register(
            "connections_resting",
            "Open connections that idle and have no buffers",
            self.connections_resting.clone(),
        );
        registry.register("connection_ends", "Connections that ended, by cause", self.connection_ends.clone());
        registry.register("accept_failures", "Connections that could not be accepted", self.accept_failures.clone());
    }

    /// The metrics in the text format of OpenMetrics 1.0.
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(16 << 10);
        // Only the writer can fail, and writing to a String does not.
        let _ = text::encode(&mut text, &self.registry);
        text
    }

    pub(crate) fn request_started(&self) {
        self.in_flight.inc();
    }

    pub(crate) fn first_byte(&self, method: MethodClass, route: RouteClass, after: Duration) {
        self.series(method, route).first_byte.observe(after.as_secs_f64());
    }

    pub(crate) fn request_ended(&self, record: RequestRecord) {
        let RequestRecord { method, route, status, duration, abort } = record;
        self.in_flight.dec();
        let series = self.series(method, route);
        let labels = RequestLabels { method, route, status };
        series.requests[status as usize].get_or_init(|| self.requests.get_or_create_owned(&labels)).inc();
        series.duration.observe(duration.as_secs_f64());
        if let Some(cause) = abort {
            self.aborted.get_or_create(&AbortLabels { cause }).inc();
        }
    }

    fn series(&self, method: MethodClass, route: RouteClass) -> &Series {
        let labels = LatencyLabels { method, route };
        self.series[method as usize][route as usize].get_or_init(|| Series {
            first_byte: self.first_byte.get_or_create_owned(&labels),
            duration: self.duration.get_or_create_owned(&labels),
            requests: Default::default(),
        })
    }

    pub(crate) fn bytes_in(&self, bytes: usize) {
        self.bytes_in.inc_by(bytes as u64);
    }

    pub(crate) fn bytes_out(&self, bytes: usize) {
        self.bytes_out.inc_by(bytes as u64);
    }

    pub(crate) fn connection_opened(&self, protocol: Protocol, tls: bool) {
        let labels = ConnectionLabels { protocol, tls };
        self.connections.get_or_create(&labels).inc();
        self.connections_open.get_or_create(&labels).inc();
    }

    /// Counts a connection as resting until the guard goes.
    pub(crate) fn connection_rests(&self) -> Resting {
        self.connections_resting.inc();
        Resting(self.connections_resting.clone())
    }

    pub(crate) fn connection_closed(&self, protocol: Protocol, tls: bool) {
        self.connections_open.get_or_create(&ConnectionLabels { protocol, tls }).dec();
    }

    pub(crate) fn connection_ended(&self, cause: EndCause) {
        self.connection_ends.get_or_create(&EndLabels { cause }).inc();
    }

    pub(crate) fn accept_failed(&self) {
        self.accept_failures.inc();
    }

    pub(crate) fn repeated(&self) {
        self.repeated.inc();
    }

    pub(crate) fn panicked(&self) {
        self.panics.inc();
    }
}

/// Turns the engine's numbers into metrics at each scrape, so that nothing is counted twice.
struct StatisticsCollector(Box<dyn Fn() -> Vec<Statistic> + Send + Sync>);

impl Collector for StatisticsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        for series in (self.0)().chunk_by(|one, next| one.name == next.name) {
            let Statistic { name, help, kind, .. } = &series[0];
            let metric_type = match kind {
                StatisticKind::Counter => MetricType::Counter,
                StatisticKind::Gauge => MetricType::Gauge,
            };
            let mut described = encoder.encode_descriptor(name, help, None, metric_type)?;
            if let [one] = series
                && one.label.is_none()
            {
                one.encode(described)?;
                continue;
            }
            for (one, (name, value)) in series.iter().filter_map(|one| Some((one, one.label.as_ref()?))) {
                one.encode(described.encode_family(&[(*name, value.as_str())])?)?;
            }
        }
        Ok(())
    }
}

impl Statistic {
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        match self.kind {
            StatisticKind::Counter => ConstCounter::new(self.value).encode(encoder),
            // Gauges are signed in the format; nothing the engine counts comes near 2^63.
            StatisticKind::Gauge => ConstGauge::new(i64::try_from(self.value).unwrap_or(i64::MAX)).encode(encoder),
        }
    }
}

impl fmt::Debug for StatisticsCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatisticsCollector")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(prefix: &str, value: u64) -> Statistic {
        let label = Some(("prefix", prefix.to_owned()));
        Statistic { name: "quota_used_bytes", help: "Bytes used", kind: StatisticKind::Gauge, value, label }
    }

    fn metrics() -> Arc<Metrics> {
        Metrics::new("1.2.3", || {
            vec![
                Statistic { name: "blobs", help: "Blobs stored", kind: StatisticKind::Gauge, value: 7, label: None },
                quota("", 1),
                quota("a\"b", 2),
                Statistic {
                    name: "commits",
                    help: "Batches committed",
                    kind: StatisticKind::Counter,
                    value: 9,
                    label: None,
                },
            ]
        })
    }

    #[test]
    fn a_request_is_counted_once_with_bounded_labels() {
        let metrics = metrics();
        metrics.request_started();
        assert!(metrics.encode().contains("orlop_http_in_flight 1\n"));
        metrics.first_byte(MethodClass::Get, RouteClass::Blob, Duration::from_micros(150));
        metrics.request_ended(RequestRecord {
            method: MethodClass::Get,
            route: RouteClass::Blob,
            status: StatusClass::Success,
            duration: Duration::from_millis(3),
            abort: None,
        });
        let text = metrics.encode();
        for line in [
            "orlop_http_in_flight 0\n",
            "orlop_http_requests_total{method=\"GET\",route=\"blob\",status=\"2xx\"} 1\n",
            "orlop_http_first_byte_duration_seconds_bucket{le=\"0.0001\",method=\"GET\",route=\"blob\"} 0\n",
            "orlop_http_first_byte_duration_seconds_bucket{le=\"0.0002\",method=\"GET\",route=\"blob\"} 1\n",
            "orlop_http_request_duration_seconds_bucket{le=\"0.002\",method=\"GET\",route=\"blob\"} 0\n",
            "orlop_http_request_duration_seconds_bucket{le=\"0.005\",method=\"GET\",route=\"blob\"} 1\n",
            "orlop_build_info{version=\"1.2.3\"} 1\n",
            "# EOF\n",
        ] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
        assert!(!text.contains("orlop_http_aborted_total{"), "{text}");
    }

    #[test]
    fn engine_statistics_are_read_at_the_scrape() {
        let text = metrics().encode();
        assert!(text.contains("orlop_blobs 7\n"), "{text}");
        assert!(text.contains("orlop_commits_total 9\n"), "{text}");
        assert!(text.contains("orlop_quota_used_bytes{prefix=\"\"} 1\n"), "{text}");
        assert!(text.contains("orlop_quota_used_bytes{prefix=\"a\\\"b\"} 2\n"), "{text}");
        assert_eq!(text.matches("# TYPE orlop_quota_used_bytes").count(), 1, "{text}");
    }

    #[test]
    fn buckets_grow_and_cover_100_us_to_60_s() {
        assert!(LATENCY_BUCKETS_S.is_sorted_by(|a, b| a < b));
        assert_eq!(LATENCY_BUCKETS_S[0], 0.0001);
        assert!(LATENCY_BUCKETS_S.contains(&60.0));
    }
}

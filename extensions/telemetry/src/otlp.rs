//! Spans as a collector takes them: an `ExportTraceServiceRequest` in OTLP's JSON encoding (OTLP specification 1.x,
//! "JSON Protobuf Encoding").
//!
//! What differs from plain JSON: names of traces and spans are hexadecimal digits, enumerations are numbers, and
//! 64-bit numbers are decimal strings.

use std::time::SystemTime;

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::span::{SpanData, Value};

/// `SPAN_KIND_SERVER`.
const KIND_SERVER: u8 = 2;

/// `STATUS_CODE_ERROR`.
const STATUS_ERROR: u8 = 2;

/// The trace is sampled (W3C), it is known whether the parent is remote, and it is (OTLP `SpanFlags`).
const FLAGS_ROOT: u32 = 0x001;
const FLAGS_REMOTE: u32 = 0x301;

/// Who sends spans.
#[derive(Debug, Clone)]
pub struct Service {
    pub name: String,
    pub version: &'static str,
}

/// The body of a request with these spans.
pub fn encode(service: &Service, spans: &[SpanData]) -> Vec<u8> {
    let of_service = [
        ("service.name", Value::Text(service.name.clone().into())),
        ("service.version", Value::Text(service.version.into())),
    ];
    let resource = Resource { attributes: attributes(&of_service) };
    let scope = Scope { name: "orlop", version: service.version };
    let spans = spans.iter().map(Span::of).collect();
    let request = Request { resource_spans: [ResourceSpans { resource, scope_spans: [ScopeSpans { scope, spans }] }] };
    serde_json::to_vec(&request).expect("texts, numbers and lists can be written")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: Resource<'a>,
    scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(Serialize)]
struct Resource<'a> {
    attributes: Vec<Attribute<'a>>,
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: Scope,
    spans: Vec<Span<'a>>,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Span<'a> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    trace_state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    flags: u32,
    name: &'a str,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

#[derive(Serialize)]
struct Status {
    code: u8,
}

#[derive(Serialize)]
struct Attribute<'a> {
    key: &'static str,
    value: &'a Value,
}

impl<'a> Span<'a> {
    fn of(span: &'a SpanData) -> Self {
        Span {
            trace_id: format!("{:032x}", span.trace),
            span_id: format!("{:016x}", span.span),
            trace_state: &span.state,
            parent_span_id: span.parent.map(|parent| format!("{parent:016x}")),
            flags: if span.parent.is_some() { FLAGS_REMOTE } else { FLAGS_ROOT },
            name: &span.name,
            kind: KIND_SERVER,
            start_time_unix_nano: nanoseconds(span.began),
            end_time_unix_nano: nanoseconds(span.ended),
            attributes: attributes(&span.attributes),
            status: span.is_error.then_some(Status { code: STATUS_ERROR }),
        }
    }
}

fn attributes<'a>(attributes: &'a [(&'static str, Value)]) -> Vec<Attribute<'a>> {
    attributes.iter().map(|(key, value)| Attribute { key, value }).collect()
}

/// Since 1970, as far as a clock that is set right gives them.
fn nanoseconds(time: SystemTime) -> String {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Value::Text(text) => map.serialize_entry("stringValue", text)?,
            Value::Whole(number) => map.serialize_entry("intValue", &number.to_string())?,
            Value::Flag(flag) => map.serialize_entry("boolValue", flag)?,
        }
        map.end()
    }
}

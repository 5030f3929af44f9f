//! One request as a span, in the words of the semantic conventions for HTTP servers (OpenTelemetry, stable since
//! version 1.23), and a few of Orlop's own.
//!
//! Invariant: nothing of a query, of a field with credentials, or of a body is in a span; and each text has a bound,
//! so that a span does.

use std::{borrow::Cow, fmt, time::SystemTime};

use http::StatusCode;
use orlop_api::{
    protocol::Route,
    server::{Ended, Head},
};

use crate::context::Parent;

/// Bytes of a path that are kept.
const PATH_BYTES_MAX: usize = 1024;

/// Bytes of any other text of a client's that are kept.
const TEXT_BYTES_MAX: usize = 256;

/// The methods that the conventions know; others are `_OTHER`.
const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

/// What stands for the address of an upload, which whoever knows it may be able to write to.
const HIDDEN_ID: &str = "<id>";

/// A span that has ended, or is under way: then the times and what is known only at the end are missing.
pub struct SpanData {
    pub trace: u128,
    pub span: u64,
    /// The caller's span.
    pub parent: Option<u64>,
    /// What the caller's tracing system wants to have handed on.
    pub state: String,
    pub name: Cow<'static, str>,
    pub began: SystemTime,
    pub ended: SystemTime,
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether it went wrong, by the server's view.
    pub is_error: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(Cow<'static, str>),
    Whole(u64),
    Flag(bool),
}

impl SpanData {
    /// What the head tells. `base_path` stands before each route.
    pub fn begin(trace: u128, span: u64, parent: Option<(Parent, String)>, head: &Head<'_>, base_path: &str) -> Self {
        let (parent, state) = parent.map_or((None, String::new()), |(parent, state)| (Some(parent.span), state));
        let mut attributes = Vec::with_capacity(20);
        let method = METHODS.iter().find(|method| **method == head.method);
        attributes.push(("http.request.method", text(*method.unwrap_or(&"_OTHER"))));
        if method.is_none() {
            attributes.push(("http.request.method_original", bounded(head.method)));
        }
        let route = route(head.path, base_path);
        let mut path = head.path;
        let mut template = None;
        if let Some((prefix, route)) = route {
            if let (Route::Upload { .. }, Some(slash)) = (&route, path.rfind('/')) {
                path = &path[..=slash];
            }
            let route_of = match prefix {
                "" => Cow::Borrowed(route.template()),
                _ => Cow::Owned(format!("{prefix}{}", route.template())),
            };
            attributes.push(("http.route", Value::Text(route_of.clone())));
            if let Some(repository) = route.repository() {
                attributes.push(("orlop.repository", text(repository.as_str().to_owned())));
            }
            template = Some(route_of);
        }
        let is_hidden = path.len() < head.path.len();
        let path = cut(path, PATH_BYTES_MAX);
        attributes.push(("url.path", text(if is_hidden { format!("{path}{HIDDEN_ID}") } else { path.to_owned() })));
        attributes.push(("url.scheme", text(head.scheme.to_owned())));
        attributes.push(("network.protocol.version", text(head.version)));
        attributes.push(("network.peer.address", text(head.address.ip().to_canonical().to_string())));
        attributes.push(("network.peer.port", Value::Whole(head.address.port().into())));
        attributes.push(("client.address", text(head.client.to_string())));
        server(head, &mut attributes);
        if let [agent, ..] = head.field("user-agent")[..] {
            attributes.push(("user_agent.original", bounded(&String::from_utf8_lossy(agent))));
        }
        if head.is_repeat {
            attributes.push(("orlop.repeat", Value::Flag(true)));
        }
        let method = method.copied().unwrap_or("HTTP");
        let name = template.map_or(Cow::Borrowed(method), |template| format!("{method} {template}").into());
        let now = SystemTime::UNIX_EPOCH;
        SpanData { trace, span, parent, state, name, began: now, ended: now, attributes, is_error: false }
    }

    /// What became of the request, which ended now.
    pub fn end(&mut self, ended: &Ended) {
        self.ended = SystemTime::now();
        self.began = self.ended.checked_sub(ended.duration).unwrap_or(self.ended);
        if let Some(status) = ended.status {
            self.attributes.push(("http.response.status_code", Value::Whole(status.as_u16().into())));
        }
        self.attributes.push(("http.request.body.size", Value::Whole(ended.bytes_in)));
        self.attributes.push(("http.response.body.size", Value::Whole(ended.bytes_out)));
        if let Some(name) = ended.subject.name() {
            self.attributes.push(("enduser.id", bounded(name)));
        }
        let failed = ended.status.filter(StatusCode::is_server_error).map(|status| status.as_str().to_owned());
        // What a client did wrong is no error of the server's.
        let error = ended.aborted.map(Cow::Borrowed).or(failed.map(Cow::Owned));
        self.is_error = error.is_some();
        self.attributes.extend(error.map(|error| ("error.type", Value::Text(error))));
    }
}

/// What a path names, and what stands before it.
fn route<'b>(path: &str, base_path: &'b str) -> Option<(&'b str, Route)> {
    let below = path.strip_prefix(base_path).filter(|rest| rest.starts_with('/'));
    match below.and_then(|path| Route::parse(path).ok()) {
        Some(route) => Some((base_path, route)),
        // Probes know nothing of the base path.
        None => Route::parse(path).ok().filter(|route| matches!(route, Route::Health(_))).map(|route| ("", route)),
    }
}

/// The name and the port that the client asked.
fn server(head: &Head<'_>, attributes: &mut Vec<(&'static str, Value)>) {
    let host = head.authority.map(str::as_bytes).or_else(|| head.field("host").first().copied());
    let Some(host) = host else { return };
    let host = String::from_utf8_lossy(host);
    // Before an @ there may be a password.
    let host = host.rsplit('@').next().unwrap_or_default();
    let (name, port) = match host.rsplit_once(':') {
        // The colons of an IPv6 address are in brackets.
        Some((name, port)) if !port.contains(']') => (name, port.parse::<u16>().ok()),
        _ => (host, None),
    };
    if !name.is_empty() {
        attributes.push(("server.address", bounded(name.trim_start_matches('[').trim_end_matches(']'))));
        attributes.extend(port.map(|port| ("server.port", Value::Whole(port.into()))));
    }
}

fn text(text: impl Into<Cow<'static, str>>) -> Value {
    Value::Text(text.into())
}

fn bounded(text: &str) -> Value {
    Value::Text(cut(text, TEXT_BYTES_MAX).to_owned().into())
}

/// The begin of a text.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

impl fmt::Debug for SpanData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of trace {:032x}", self.name, self.trace)
    }
}

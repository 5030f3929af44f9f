//! Requests as spans of traces: the seam to whoever writes them down.
//!
//! In: the head of each request, whether a handler answers it or an answer is given again. Out: to the [`Span`] that
//! the tracer has begun for it, if it wants one, what became of the request after its last byte. Whoever has no tracer
//! pays for nothing but asking whether there is one.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::{HeaderValue, Request, StatusCode, Version, uri::Scheme};

use super::{Peer, plain};
use crate::{
    access::{Subject, SubjectSlot},
    front::Seen,
    metrics::Statistic,
};

/// Decides which requests are written down. It is asked for each of them and must never wait.
pub trait Tracer: fmt::Debug + Send + Sync + 'static {
    /// `None` for a request that nobody wants to know of.
    fn begin(&self, head: &Head<'_>) -> Option<Box<dyn Span>>;

    /// Numbers for a scrape; must not block.
    fn statistics(&self) -> Vec<Statistic>;
}

/// One request that is written down.
pub trait Span: Send + Sync + 'static {
    /// The last byte of the answer was delivered, or never will be. Must never wait.
    fn end(self: Box<Self>, ended: Ended);
}

/// What is known of a request when its head is complete. Clients have written most of it.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    pub method: &'a str,
    /// As it was sent, without the query.
    pub path: &'a str,
    /// Of the protocol, as in `1.1` or `2`.
    pub version: &'static str,
    /// Where the request is sent to, as HTTP/2 and the absolute form say it; otherwise the Host field does.
    pub authority: Option<&'a str>,
    /// `http` or `https`, as the client speaks it.
    pub scheme: &'a str,
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// See [`Peer::client`].
    pub client: IpAddr,
    /// The answer is given again, without a handler.
    pub is_repeat: bool,
    fields: &'a dyn Fn(&str) -> Vec<&'a [u8]>,
}

impl<'a> Head<'a> {
    /// The values of a header field, in their order. The name is in lower case.
    pub fn field(&self, name: &str) -> Vec<&'a [u8]> {
        (self.fields)(name)
    }
}

/// What became of a request.
#[derive(Debug, Clone)]
pub struct Ended {
    /// From the first byte of the head to the last one of the answer.
    pub duration: Duration,
    /// `None` if there was no answer.
    pub status: Option<StatusCode>,
    /// Of the body of the request, as far as it was read.
    pub bytes_in: u64,
    /// Of the body of the answer.
    pub bytes_out: u64,
    /// What cut the answer off, in the words of the metrics.
    pub aborted: Option<&'static str>,
    /// Who sent the request, as far as that was asked.
    pub subject: Subject,
}

/// A request under way that is written down.
pub(super) struct Traced {
    span: Box<dyn Span>,
    subject: SubjectSlot,
}

impl Traced {
    /// `None` without a tracer, or if it does not want this request.
    pub(super) fn begin<B>(
        tracer: Option<&Arc<dyn Tracer>>,
        request: &Request<B>,
        peer: &Peer,
        subject: Option<SubjectSlot>,
    ) -> Option<Box<Self>> {
        let tracer = tracer?;
        let (headers, uri) = (request.headers(), request.uri());
        let head = Head {
            method: request.method().as_str(),
            path: uri.path(),
            version: match request.version() {
                Version::HTTP_2 => "2",
                Version::HTTP_10 => "1.0",
                _ => "1.1",
            },
            authority: uri.authority().map(|authority| authority.as_str()),
            scheme: peer.scheme.as_str(),
            address: peer.address,
            client: peer.client,
            is_repeat: false,
            fields: &|name| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect(),
        };
        let span = tracer.begin(&head)?;
        Some(Box::new(Traced { span, subject: subject.unwrap_or_default() }))
    }

    /// The same for a plain request over HTTP whose answer is given again. `bytes` are its head.
    pub(super) fn again(
        tracer: Option<&Arc<dyn Tracer>>,
        is_head: bool,
        target: &[u8],
        bytes: &[u8],
        (peer, seen): (&Peer, &Seen),
    ) -> Option<Box<Self>> {
        let tracer = tracer?;
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        let head = Head {
            method: if is_head { "HEAD" } else { "GET" },
            // Plain targets are ASCII.
            path: str::from_utf8(path).unwrap_or_default(),
            version: "1.1",
            authority: None,
            scheme: seen.scheme.as_ref().map_or(peer.scheme.as_str(), Scheme::as_str),
            address: peer.address,
            client: seen.client,
            is_repeat: true,
            fields: &|name| plain::values(bytes, name),
        };
        let span = tracer.begin(&head)?;
        Some(Box::new(Traced { span, subject: SubjectSlot::default() }))
    }

    /// Where it is to be written down who sent the request.
    pub(super) fn subject(&self) -> SubjectSlot {
        self.subject.clone()
    }

    /// `ended` needs no subject: it is written down here.
    pub(super) fn end(self, ended: Ended) {
        self.span.end(Ended { subject: self.subject.get(), ..ended });
    }
}

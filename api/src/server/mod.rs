//! The connection layer: sockets in, requests to a [`Handler`], answers out.
//!
//! ```text
//!   listener     accepts within `connections_max` (slots), drains at a stop
//!     connection TLS, protocol choice, supervision          activity  which time limit runs
//!       socket   counts bytes, cuts stalled clients         timeout   a movable deadline
//!       shortcut answers given before, without hyper        plain    requests it may answer
//!       service  one request: panics, common headers        answers  what may be given again
//!         observation    metrics and access log             date     the Date field
//!         audit          requests that change something     trace    spans of traces
//!         request_body   progress limit
//!         response_body  observed to the last byte          streams   HTTP/2 stream tasks
//!   live         what can be exchanged meanwhile
//! ```
//!
//! What has become true when a handler is called: the head is complete and within its limits, the
//! connection is within `connections_max`, and the request will be counted and logged exactly once.
//! This module knows nothing of registries except one header.

mod activity;
mod answers;
mod audit;
mod client_certificates;
mod connection;
mod date;
mod frames;
mod listener;
mod live;
mod observation;
mod plain;
mod preface;
mod request_body;
mod response_body;
mod service;
mod shortcut;
mod slots;
mod socket;
mod streams;
mod supervisor;
mod timeout;
mod tls;
mod trace;

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use http::{Request, Response, uri::Scheme};
use tokio::net::TcpSocket;

use self::{answers::Answers, connection::Shared, listener::Listener};
pub use self::{
    answers::{Holders, Holds, Lasting, MayRepeat, Repeat, Repeatable, Repeated},
    live::{Generation, Live},
    observation::RouteSlot,
    plain::{Begin, Credentials, PLAIN_HEAD_BYTES_MAX, Plain, begin},
    request_body::{RequestBody, RequestBodyError},
    tls::{Tls, TlsOptions},
    trace::{Ended, Head, Span, Tracer},
};
use crate::{front::Front, health::Health, metrics::Metrics};

/// Answers requests. It is called concurrently; dropping its future means that the client has gone
/// or the server stops, and must leave everything whole.
///
/// The extensions of each request hold a [`Peer`] and a [`RouteSlot`]. A panic is answered with 500.
pub trait Handler: Send + Sync + 'static {
    /// What answers are made of. An error aborts the message, so that the client sees that it is
    /// not whole.
    type Body: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static;

    /// What a request goes by from its head to its end, who its client is included: what is exchanged meanwhile is
    /// for the next one.
    type Rules: AsRef<Front> + Send + Sync + Unpin + 'static;

    /// The rules in force. They are asked for once for each request.
    fn rules(&self) -> Self::Rules;

    fn handle(
        &self,
        rules: Self::Rules,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// Who sent a request, and over what; found in the request's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where the connection comes from: the client, or the last proxy before us.
    pub address: SocketAddr,
    /// The client, as the connection or the proxies that are trusted tell it; never an IPv4 address in the form of
    /// an IPv6 one. Whoever counts, refuses or writes down means this one.
    pub client: IpAddr,
    /// What the client speaks: `https` when the connection is TLS, or a trusted proxy says that the client's is.
    pub scheme: Scheme,
    /// The certificate that the client has shown and proven to be its own, in DER form. It led to one of the
    /// authorities when the connection, or the session that it resumes, began; since then its time may have passed.
    pub certificate: Option<Arc<[u8]>>,
    /// `TLS 1.2` or `TLS 1.3` when the client's own connection is TLS; what is behind a trusted proxy is not known.
    pub tls_version: Option<&'static str>,
}

/// What a [`Server`] needs besides its handler.
#[derive(Debug)]
pub struct ServerOptions {
    /// Port 0 lets the system choose; see [`Server::local_addr`].
    pub address: SocketAddr,
    /// `None` serves plain HTTP/1.1 and HTTP/2 with prior knowledge.
    pub tls: Option<Tls>,
    /// The limits, which can be exchanged while the server runs.
    pub live: Arc<Live>,
    pub metrics: Arc<Metrics>,
    /// Moved on by the server; the probe routes read it.
    pub health: Health,
    /// Whether answers that handlers say are [`Repeatable`] are given again without asking them. What clients see
    /// is the same either way.
    pub repeats: bool,
    /// Who writes down requests as spans of traces.
    pub tracer: Option<Arc<dyn Tracer>>,
}

/// A bound socket with a handler. Nothing is accepted before [`Server::run`].
pub struct Server<H: Handler> {
    listener: Listener,
    shared: Shared<H>,
    health: Health,
}

impl<H: Handler> Server<H> {
    /// Binds the address; connections queue up from now on.
    ///
    /// Errors: an address that cannot be bound. Must be called within a tokio runtime.
    pub fn bind(handler: H, options: ServerOptions) -> io::Result<Self> {
        let ServerOptions { address, tls, live, metrics, health, repeats, tracer } = options;
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A restart must not wait for connections of the last run in TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address).map_err(|error| {
            io::Error::new(error.kind(), format!("{address} cannot be bound: {error}; is another server running?"))
        })?;
        let listening = socket.listen(crate::limits::setting(live.limits().accept_queue_max))?;
        let answers = repeats.then(|| Arc::new(Answers::new(live.clone())));
        Ok(Server {
            listener: Listener::new(listening, live.clone(), metrics.clone()),
            shared: Shared { handler: Arc::new(handler), live, metrics, tls, answers, tracer },
            health,
        })
    }

    /// The address that was bound.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What answers the requests.
    pub fn handler(&self) -> &Arc<H> {
        &self.shared.handler
    }

    /// Serves until `stop` is ready, then drains: readiness turns false, `drain_delay_ms` later the
    /// socket is closed, and requests in flight get `drain_timeout_ms` before they are cut.
    ///
    /// Every connection and every request has ended when this returns.
    pub async fn run(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        self.listener.run(Arc::new(self.shared), &self.health, stop).await;
        Ok(())
    }
}

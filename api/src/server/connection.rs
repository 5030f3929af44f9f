//! One connection from accept to close: TLS, the choice of the protocol, and supervision.
//!
//! In: an accepted socket. Out: requests to the service; afterwards the connection is counted under
//! the cause of its end. The future may be dropped at any point; that cuts the connection.

use std::{net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::uri::Scheme;
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    select,
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    Handler, Peer,
    activity::Activity,
    answers::Answers,
    frames::{Counted, Fate},
    live::Live,
    observation::{Deliveries, Observer},
    plain::PLAIN_HEAD_BYTES_MAX,
    preface::{self, Rewound, Stream},
    service::Service,
    shortcut::{End as ShortcutEnd, Shortcut},
    socket::Socket,
    streams::{StreamExecutor, StreamTasks},
    supervisor::{Step, Supervisor, drained},
    tls::Tls,
    trace::Tracer,
};
use crate::{
    limits::{Limits, milliseconds, setting, size},
    metrics::{EndCause, Metrics, Protocol},
};

/// How long a connection of HTTP/2 that broke the rules or a limit stays open without being read. Who floods it and
/// is cut off would come back at once, and each time cost as much as it takes to find him out; so he waits instead.
const PENALTY: Duration = Duration::from_secs(1);

/// What all connections of a server share.
pub(super) struct Shared<H: Handler> {
    pub(super) handler: Arc<H>,
    pub(super) live: Arc<Live>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tls: Option<Tls>,
    /// Answers to give again; `None` without that path.
    pub(super) answers: Option<Arc<Answers<H::Body>>>,
    pub(super) tracer: Option<Arc<dyn Tracer>>,
}

/// Serves one connection until it ends.
pub(super) async fn serve<H: Handler>(
    shared: Arc<Shared<H>>,
    stream: TcpStream,
    address: SocketAddr,
    mut draining: watch::Receiver<bool>,
) {
    let mut end = End { metrics: shared.metrics.clone(), cause: EndCause::Cut };
    // The same for all of its life, whatever is exchanged meanwhile.
    let limits = shared.live.limits();
    let activity =
        Arc::new(Activity::new(milliseconds(limits.header_timeout_ms), milliseconds(limits.idle_timeout_ms)));
    let deliveries = Arc::<Deliveries>::default();
    let socket = Socket::new(
        stream,
        activity.clone(),
        deliveries.clone(),
        shared.metrics.clone(),
        milliseconds(limits.stall_timeout_ms),
    );
    let scheme = if shared.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
    let peer = Peer { address, client: address.ip().to_canonical(), scheme, certificate: None, tls_version: None };
    let connection = Connection { shared, limits, activity, deliveries, peer };
    end.cause = connection.serve(socket, &mut draining).await;
    tracing::debug!(peer = %address, cause = end.cause.as_str(), "connection ended");
}

/// Counts the end of a connection, also when its task is cut or panics.
struct End {
    metrics: Arc<Metrics>,
    cause: EndCause,
}

impl Drop for End {
    fn drop(&mut self) {
        let cause = if std::thread::panicking() { EndCause::Panic } else { self.cause };
        self.metrics.connection_ended(cause);
    }
}

struct Connection<H: Handler> {
    shared: Arc<Shared<H>>,
    limits: Arc<Limits>,
    activity: Arc<Activity>,
    deliveries: Arc<Deliveries>,
    peer: Peer,
}

impl<H: Handler> Connection<H> {
    async fn serve(mut self, socket: Socket<TcpStream>, draining: &mut watch::Receiver<bool>) -> EndCause {
        // Nothing was asked yet, so a stop may end the connection in either of these steps. Each is on
        // the heap, like the connection after it: a task has the size of its largest step.
        let Some(tls) = &self.shared.tls else {
            let header_timeout = milliseconds(self.limits.header_timeout_ms);
            let detected = select! {
                detected = Box::pin(timeout(header_timeout, preface::detect(socket))) => detected,
                () = drained(draining) => return EndCause::Closed,
            };
            return match detected {
                Ok(Ok(Some((protocol, stream)))) => Box::pin(self.speak(protocol, stream, draining)).await,
                Ok(Ok(None)) => EndCause::Closed,
                Ok(Err(_)) => EndCause::Io,
                Err(_) => EndCause::HeaderTimeout,
            };
        };
        let handshake_timeout = milliseconds(self.limits.tls_handshake_timeout_ms);
        let accepted = select! {
            accepted = Box::pin(timeout(handshake_timeout, tls.acceptor().accept(socket))) => accepted,
            () = drained(draining) => return EndCause::Closed,
        };
        let stream = match accepted {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(peer = %self.peer.address, %error, "TLS handshake failed");
                return EndCause::Tls;
            }
            Err(_) => return EndCause::Tls,
        };
        self.activity.opened();
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        self.peer.certificate = certificates.first().map(|certificate| Arc::from(&**certificate));
        self.peer.tls_version = match stream.get_ref().1.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => Some("TLS 1.2"),
            Some(rustls::ProtocolVersion::TLSv1_3) => Some("TLS 1.3"),
            _ => None,
        };
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        Box::pin(self.speak(protocol, Rewound::new(stream), draining)).await
    }

    async fn speak<S: Stream>(
        self,
        protocol: Protocol,
        stream: Rewound<S>,
        draining: &mut watch::Receiver<bool>,
    ) -> EndCause {
        let Connection { shared, limits, activity, deliveries, peer } = self;
        let tls = peer.scheme == Scheme::HTTPS;
        let _open = Open::new(shared.metrics.clone(), protocol, tls);
        // What is kept is for everybody, and whoever has a certificate is somebody.
        let is_nobody = peer.certificate.is_none();
        let service = Arc::new(Service {
            handler: shared.handler.clone(),
            limits: limits.clone(),
            observer: Arc::new(Observer {
                metrics: shared.metrics.clone(),
                activity: activity.clone(),
                peer: peer.address,
                tracer: shared.tracer.clone(),
            }),
            peer,
            deliveries,
            multiplexed: protocol == Protocol::Http2,
            // Below TLS a write of several pieces is several records, and the time goes into encryption.
            answers: shared.answers.clone().filter(|_| protocol == Protocol::Http1 && !tls && is_nobody),
        });
        let supervisor = Supervisor { activity: &activity, limits: &limits, metrics: &shared.metrics };
        match protocol {
            Protocol::Http1 => speak_http1(stream, service, supervisor, draining).await,
            Protocol::Http2 => speak_http2(stream, service, supervisor, draining).await,
        }
    }
}

/// Requests one after the other: those whose answers are kept without hyper, and from the first other one on with
/// it, until one comes again whose answer is kept. While none comes for a while the connection is taken apart,
/// because its buffers are most of what an idle client costs, and put together again at the next byte.
async fn speak_http1<H: Handler, S: Stream>(
    mut stream: Rewound<S>,
    service: Arc<Service<H>>,
    supervisor: Supervisor<'_>,
    draining: &mut watch::Receiver<bool>,
) -> EndCause {
    let mut answers = service.answers.clone();
    loop {
        if let Some(answers) = answers.clone() {
            // On the heap, as the connection below: a task has the size of its largest step.
            let shortcut = Box::pin(take_shortcut(stream, service.clone(), answers, supervisor, draining));
            stream = match shortcut.await {
                Ok(stream) => stream,
                Err(cause) => return cause,
            };
        }
        let called = service.clone();
        let service_fn = service_fn(move |request| called.clone().call(request));
        let connection = http1_builder(supervisor.limits).serve_connection(TokioIo::new(stream), service_fn);
        let mut connection = Box::new(connection);
        match supervisor.supervise(Pin::new(&mut *connection), draining).await {
            Step::Done(outcome, asked) => return supervisor.end_cause(outcome, asked),
            Step::Ended(cause) => return cause,
            Step::Resting => {}
        }
        let parts = connection.into_parts();
        stream = parts.io.into_inner();
        // Many requests at once are hyper's, so that what waits of them is not moved from hand to hand.
        answers = service.answers.clone().filter(|_| parts.read_buf.len() <= PLAIN_HEAD_BYTES_MAX);
        if supervisor.activity.leaves() {
            supervisor.activity.left();
            if !parts.read_buf.is_empty() {
                supervisor.activity.bytes_read();
                stream.put_back(parts.read_buf);
            }
            continue;
        }
        if let Some(cause) = supervisor.rest(&mut stream, parts.read_buf, draining).await {
            return cause;
        }
    }
}

/// Answers what needs no hyper. Gives the stream at the first request that does, or the cause of the end.
async fn take_shortcut<H: Handler, S: Stream>(
    mut stream: Rewound<S>,
    service: Arc<Service<H>>,
    answers: Arc<Answers<H::Body>>,
    supervisor: Supervisor<'_>,
    draining: &mut watch::Receiver<bool>,
) -> Result<Rewound<S>, EndCause> {
    loop {
        let mut shortcut = Box::new(Shortcut::new(stream, service.clone(), answers.clone()));
        match supervisor.supervise(Pin::new(&mut *shortcut), draining).await {
            Step::Done(ShortcutEnd::HandOver, _) => return Ok(shortcut.into_stream()),
            Step::Done(_, _) if supervisor.is_stalled() => return Err(EndCause::Stalled),
            Step::Done(ShortcutEnd::Closed, asked) => return Err(asked.unwrap_or(EndCause::Closed)),
            Step::Done(ShortcutEnd::Failed, _) => return Err(EndCause::Io),
            Step::Ended(cause) => return Err(cause),
            Step::Resting => {}
        }
        stream = shortcut.into_stream();
        if let Some(cause) = supervisor.rest(&mut stream, Bytes::new(), draining).await {
            return Err(cause);
        }
    }
}

async fn speak_http2<H: Handler, S: Stream>(
    stream: Rewound<S>,
    service: Arc<Service<H>>,
    supervisor: Supervisor<'_>,
    draining: &mut watch::Receiver<bool>,
) -> EndCause {
    supervisor.activity.multiplexed();
    let tasks = StreamTasks::default();
    let executor = tasks.executor(milliseconds(supervisor.limits.stall_timeout_ms));
    let service = service_fn(move |request| service.clone().call(request));
    let fate = Arc::<Fate>::default();
    let counted = Counted::new(stream, supervisor.limits.http2_control_frames_max, fate.clone());
    let stream = TokioIo::new(counted);
    let mut connection = Box::pin(http2_builder(supervisor.limits, executor).serve_connection(stream, service));
    let cause = match supervisor.supervise(connection.as_mut(), draining).await {
        // A stream's error looks like the client's line breaking.
        Step::Done(..) if fate.is_overrun() => EndCause::Protocol,
        Step::Done(outcome, asked) => supervisor.end_cause(outcome, asked),
        Step::Ended(cause) => cause,
        Step::Resting => unreachable!("only a connection of HTTP/1 rests"),
    };
    // Who was told already comes back whatever is held here.
    if cause == EndCause::Protocol && !fate.is_shut() {
        drop(tasks);
        select! {
            () = drained(draining) => {}
            () = sleep(PENALTY) => {}
        }
    }
    cause
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // Our own clocks tell an idle connection from a slow head, which hyper's single one does not; it
    // remains for the one case they do not see, a pipelined head that was begun before the last answer.
    let last_resort = milliseconds(limits.idle_timeout_ms) + milliseconds(limits.header_timeout_ms);
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(last_resort)
        .max_headers(size(limits.headers_max))
        .max_header_size(size(limits.header_bytes_max))
        .max_buf_size(size(limits.http1_buffer_bytes_max));
    builder
}

fn http2_builder(limits: &Limits, streams: StreamExecutor) -> http2::Builder<StreamExecutor> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(setting(limits.http2_stream_window_bytes))
        .initial_connection_window_size(setting(limits.http2_connection_window_bytes))
        .max_frame_size(setting(limits.http2_frame_bytes_max))
        .max_concurrent_streams(setting(limits.http2_streams_max))
        .max_header_list_size(setting(limits.http2_header_bytes_max))
        .max_send_buf_size(size(limits.http2_send_buffer_bytes_max))
        .max_pending_accept_reset_streams(size(limits.http2_pending_resets_max))
        .max_local_error_reset_streams(size(limits.http2_error_resets_max))
        .keep_alive_interval(milliseconds(limits.http2_ping_interval_ms))
        .keep_alive_timeout(milliseconds(limits.http2_ping_timeout_ms));
    builder
}

/// Counts a connection as open while it lives.
struct Open {
    metrics: Arc<Metrics>,
    protocol: Protocol,
    tls: bool,
}

impl Open {
    fn new(metrics: Arc<Metrics>, protocol: Protocol, tls: bool) -> Self {
        metrics.connection_opened(protocol, tls);
        Open { metrics, protocol, tls }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.connection_closed(self.protocol, self.tls);
    }
}

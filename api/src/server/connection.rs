//! One connection from accept to close: TLS, the choice of the protocol, and supervision.
//!
//! In: an accepted socket. Out: requests to the service; afterwards the connection is counted under
//! the cause of its end. The future may be dropped at any point; that cuts the connection.

use std::{
    error::Error as _,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Poll, Waker},
};

use http::uri::Scheme;
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    select,
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    Handler, Peer,
    activity::Activity,
    observation::Deliveries,
    preface,
    service::Service,
    socket::Socket,
    streams::{StreamExecutor, StreamTasks},
    timeout::Deadline,
    tls::Tls,
};
use crate::{
    limits::{Limits, milliseconds, setting, size},
    metrics::{EndCause, Metrics, Protocol},
};

/// What all connections of a server share.
pub(super) struct Shared<H> {
    pub(super) handler: Arc<H>,
    pub(super) limits: Arc<Limits>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tls: Option<Tls>,
}

/// Serves one connection until it ends.
pub(super) async fn serve<H: Handler>(
    shared: Arc<Shared<H>>,
    stream: TcpStream,
    address: SocketAddr,
    mut draining: watch::Receiver<bool>,
) {
    let mut end = End { metrics: shared.metrics.clone(), cause: EndCause::Cut };
    let limits = &shared.limits;
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
    let connection = Connection { shared, activity, deliveries, peer: Peer { address, scheme } };
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

struct Connection<H> {
    shared: Arc<Shared<H>>,
    activity: Arc<Activity>,
    deliveries: Arc<Deliveries>,
    peer: Peer,
}

impl<H: Handler> Connection<H> {
    async fn serve(self, socket: Socket<TcpStream>, draining: &mut watch::Receiver<bool>) -> EndCause {
        // Nothing was asked yet, so a stop may end the connection in either of these steps.
        let Some(tls) = &self.shared.tls else {
            let header_timeout = milliseconds(self.shared.limits.header_timeout_ms);
            let detected = select! {
                detected = timeout(header_timeout, preface::detect(socket)) => detected,
                () = drained(draining) => return EndCause::Closed,
            };
            return match detected {
                // On the heap, like the connection below: a task has the size of its largest step.
                Ok(Ok(Some((protocol, stream)))) => Box::pin(self.speak(protocol, stream, draining)).await,
                Ok(Ok(None)) => EndCause::Closed,
                Ok(Err(_)) => EndCause::Io,
                Err(_) => EndCause::HeaderTimeout,
            };
        };
        let handshake_timeout = milliseconds(self.shared.limits.tls_handshake_timeout_ms);
        let accepted = select! {
            accepted = timeout(handshake_timeout, Box::pin(tls.acceptor.accept(socket))) => accepted,
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
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        Box::pin(self.speak(protocol, stream, draining)).await
    }

    async fn speak<S>(self, protocol: Protocol, stream: S, draining: &mut watch::Receiver<bool>) -> EndCause
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Connection { shared, activity, deliveries, peer } = self;
        let tls = peer.scheme == Scheme::HTTPS;
        let _open = Open::new(shared.metrics.clone(), protocol, tls);
        let service = Arc::new(Service {
            handler: shared.handler.clone(),
            limits: shared.limits.clone(),
            metrics: shared.metrics.clone(),
            activity: activity.clone(),
            peer,
            deliveries: (protocol == Protocol::Http1).then_some(deliveries),
        });
        let service = service_fn(move |request| service.clone().call(request));
        let stream = TokioIo::new(stream);
        let limits = &shared.limits;
        match protocol {
            Protocol::Http1 => {
                let connection = http1_builder(limits).serve_connection(stream, service);
                supervise(Box::pin(connection).as_mut(), &activity, limits, draining).await
            }
            Protocol::Http2 => {
                activity.multiplexed();
                let tasks = StreamTasks::default();
                let executor = tasks.executor(milliseconds(limits.stall_timeout_ms));
                let connection = http2_builder(limits, executor).serve_connection(stream, service);
                supervise(Box::pin(connection).as_mut(), &activity, limits, draining).await
            }
        }
    }
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

/// A connection of either protocol that can be asked to end after its requests in flight.
trait Graceful: Future<Output = hyper::Result<()>> {
    fn end_gracefully(self: Pin<&mut Self>);
}

impl<I, B, S> Graceful for http1::Connection<I, S>
where
    Self: Future<Output = hyper::Result<()>>,
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn end_gracefully(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, B, S> Graceful for http2::Connection<I, S, StreamExecutor>
where
    Self: Future<Output = hyper::Result<()>>,
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    StreamExecutor: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn end_gracefully(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Drives a connection, ends it gracefully when it idles or the server stops, and drops it when a
/// head is late or the client does not let it end.
async fn supervise<C: Graceful>(
    mut connection: Pin<&mut C>,
    activity: &Activity,
    limits: &Limits,
    draining: &mut watch::Receiver<bool>,
) -> EndCause {
    let linger = milliseconds(limits.header_timeout_ms);
    let mut ending: Option<(Instant, EndCause)> = None;
    let mut deadline = Deadline::default();
    let multiplexed = activity.is_multiplexed();
    let mut draining = Drain::new(draining);
    loop {
        let late = poll_fn(|context| {
            let at = match ending {
                None => activity.deadline().map(|(at, _)| at),
                Some((asked, _)) => activity.quiet_since().map(|since| since.max(asked) + linger),
            };
            match at {
                Some(at) => deadline.arm(at),
                None => deadline.disarm(),
            }
            deadline.poll_passed(context)
        });
        // The connection comes first, and the deadline is looked up whenever it has made a step.
        let cause = select! {
            biased;
            outcome = connection.as_mut() => {
                return end_cause(outcome, activity, ending.map(|(_, cause)| cause));
            }
            () = draining.started(), if ending.is_none() => EndCause::Closed,
            () = activity.quiet.notified(), if multiplexed => continue,
            () = late => match (ending, activity.deadline()) {
                (Some((_, cause)), _) => return cause,
                (None, Some((_, EndCause::Idle))) => EndCause::Idle,
                (None, Some((_, cause))) => return cause,
                (None, None) => continue,
            },
        };
        connection.as_mut().end_gracefully();
        ending = Some((Instant::now(), cause));
    }
}

/// The start of draining, as a connection that is polled with every request waits for it: the
/// channel is shared by all connections, and waiting for it takes a lock.
struct Drain<'a> {
    /// Tells without a lock that there is news.
    news: watch::Receiver<bool>,
    started: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
    /// Whom the channel wakes.
    woken: Option<Waker>,
}

impl<'a> Drain<'a> {
    fn new(draining: &'a mut watch::Receiver<bool>) -> Self {
        Drain { news: draining.clone(), started: Box::pin(drained(draining)), woken: None }
    }

    /// Ready once the server drains; not to be called again then.
    async fn started(&mut self) {
        poll_fn(|context| {
            let known = self.woken.as_ref().is_some_and(|woken| woken.will_wake(context.waker()));
            // An error means that the sender has gone, which is news as well.
            if known && matches!(self.news.has_changed(), Ok(false)) {
                return Poll::Pending;
            }
            self.woken = Some(context.waker().clone());
            self.started.as_mut().poll(context)
        })
        .await;
    }
}

/// Ready once the server drains.
async fn drained(draining: &mut watch::Receiver<bool>) {
    // The sender lives as long as the accept loop; without it there is nothing to serve for either.
    let _ = draining.wait_for(|draining| *draining).await;
}

fn end_cause(outcome: hyper::Result<()>, activity: &Activity, asked: Option<EndCause>) -> EndCause {
    match outcome {
        _ if activity.stalled() => EndCause::Stalled,
        Ok(()) => asked.unwrap_or(EndCause::Closed),
        Err(error) if error.is_timeout() && activity.is_multiplexed() => EndCause::Unreachable,
        Err(error) if error.is_timeout() => EndCause::HeaderTimeout,
        Err(error) if error.is_incomplete_message() || error.is_user() || error.is_body_write_aborted() => EndCause::Io,
        Err(error) => {
            tracing::debug!(%error, "connection failed");
            let source = error.source();
            if source.is_some_and(|source| source.is::<io::Error>()) { EndCause::Io } else { EndCause::Protocol }
        }
    }
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

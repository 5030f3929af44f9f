//! Watches over one connection while it is served.
//!
//! In: a connection that hyper drives, and what its socket and its requests report. Out: how it
//! ended, or that it idles and should rest without hyper's buffers.

use std::{
    error::Error as _,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use hyper::server::conn::{http1, http2};
use tokio::{
    select,
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    activity::Activity,
    preface::{Rewound, Stream},
    streams::StreamExecutor,
    timeout::Deadline,
};
use crate::{
    limits::{Limits, milliseconds},
    metrics::{EndCause, Metrics},
};

/// How long an HTTP/1 connection idles before it rests: longer than the pauses between the requests
/// of one pull, far shorter than clients keep connections for later. A new set of buffers costs a
/// microsecond, and memory that was in use at once by many is not easily given back.
const REST_AFTER: Duration = Duration::from_millis(100);

/// A connection, or a stretch of one, that can be asked to end after its requests in flight.
pub(super) trait Graceful<O>: Future<Output = O> {
    fn end_gracefully(self: Pin<&mut Self>);
}

impl<I, B, S> Graceful<hyper::Result<()>> for http1::Connection<I, S>
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

impl<I, B, S> Graceful<hyper::Result<()>> for http2::Connection<I, S, StreamExecutor>
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

/// What became of a connection.
pub(super) enum Step<O> {
    /// It ended by itself, or because it was asked to for this cause.
    Done(O, Option<EndCause>),
    /// It is to be dropped.
    Ended(EndCause),
    /// Nothing is asked and nothing is under way; or something is, and hyper is not needed any more.
    Resting,
}

/// The clocks of one connection.
#[derive(Clone, Copy)]
pub(super) struct Supervisor<'a> {
    pub(super) activity: &'a Activity,
    pub(super) limits: &'a Limits,
    pub(super) metrics: &'a Metrics,
}

impl Supervisor<'_> {
    /// Drives a connection, ends it gracefully when it idles or the server stops, and drops it when a
    /// head is late or the client does not let it end.
    pub(super) async fn supervise<C: Graceful<O>, O>(
        &self,
        mut connection: Pin<&mut C>,
        draining: &mut watch::Receiver<bool>,
    ) -> Step<O> {
        let activity = self.activity;
        let linger = milliseconds(self.limits.header_timeout_ms);
        let mut ending: Option<(Instant, EndCause)> = None;
        let mut deadline = Deadline::default();
        let multiplexed = activity.is_multiplexed();
        let mut draining = Drain::new(draining);
        loop {
            let late = poll_fn(|context| {
                if ending.is_none() && !multiplexed && activity.leaves() {
                    return Poll::Ready(());
                }
                let at = match ending {
                    None => self.wake_at(multiplexed),
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
                    return Step::Done(outcome, ending.map(|(_, cause)| cause));
                }
                () = draining.started(), if ending.is_none() => EndCause::Closed,
                () = activity.quiet.notified(), if multiplexed => continue,
                () = late => match (ending, activity.deadline()) {
                    (Some((_, cause)), _) => return Step::Ended(cause),
                    (None, Some((at, EndCause::Idle))) if !multiplexed && Instant::now() < at => return Step::Resting,
                    (None, Some((_, EndCause::Idle))) => EndCause::Idle,
                    (None, Some((_, cause))) => return Step::Ended(cause),
                    (None, None) => continue,
                },
            };
            connection.as_mut().end_gracefully();
            ending = Some((Instant::now(), cause));
        }
    }

    /// Whether the client took no byte for too long.
    pub(super) fn is_stalled(&self) -> bool {
        self.activity.stalled()
    }

    /// How a connection that hyper drove ended.
    pub(super) fn end_cause(&self, outcome: hyper::Result<()>, asked: Option<EndCause>) -> EndCause {
        end_cause(outcome, self.activity, asked)
    }

    /// When something is to be done if nothing happens.
    fn wake_at(&self, multiplexed: bool) -> Option<Instant> {
        match self.activity.deadline()? {
            (at, EndCause::Idle) if !multiplexed => {
                Some(self.activity.quiet_since().map_or(at, |since| at.min(since + REST_AFTER)))
            }
            (at, _) => Some(at),
        }
    }

    /// Waits for the first byte of the next request on a connection that was taken apart. `read` is
    /// what hyper had read and not used. Gives the cause if the connection is to be closed instead.
    pub(super) async fn rest<S: Stream>(
        &self,
        stream: &mut Rewound<S>,
        read: Bytes,
        draining: &mut watch::Receiver<bool>,
    ) -> Option<EndCause> {
        if !read.is_empty() {
            // The begin of a head that came together with the request before it: its clock runs.
            self.activity.bytes_read();
            stream.put_back(read);
            return None;
        }
        // It is empty, but it is a view of hyper's buffer and keeps that.
        drop(read);
        let (at, _) = self.activity.deadline()?;
        let _resting = self.metrics.connection_rests();
        select! {
            biased;
            begun = stream.await_bytes() => match begun {
                Ok(true) => None,
                Ok(false) => Some(EndCause::Closed),
                Err(_) if self.activity.stalled() => Some(EndCause::Stalled),
                Err(_) => Some(EndCause::Io),
            },
            () = drained(draining) => Some(EndCause::Closed),
            () = sleep_until(at) => Some(EndCause::Idle),
        }
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
pub(super) async fn drained(draining: &mut watch::Receiver<bool>) {
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

//! The body of a request: frames from the socket, cut when they stop making progress.
//!
//! In: hyper's body. Out: frames of [`Bytes`], or [`RequestBodyError::TooSlow`] when the client sends
//! less than `progress_bytes_min` in `progress_window_ms` of waiting. Only the time the server waits
//! for the client counts; a slow disk is not the client's fault.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::timeout::Deadline;
use crate::limits::{Limits, milliseconds};

/// Why a request body ended early.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// Answer 408 and close.
    #[error("less than {bytes_min} bytes of the body arrived in {window:?}; send faster or resume the upload later")]
    TooSlow { bytes_min: u64, window: Duration },
    /// The client went away or broke the framing; nobody waits for an answer.
    #[error("the body ended early: {0}")]
    Aborted(#[source] hyper::Error),
}

/// The body of a request, as handlers get it. At most one frame is held in memory.
pub struct RequestBody {
    source: Source,
    pace: Pace,
    /// Bytes handed to the handler, for the access log.
    bytes: Arc<AtomicU64>,
}

enum Source {
    Network(Incoming),
    Memory(Option<Bytes>),
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, limits: &Limits, bytes: Arc<AtomicU64>) -> Self {
        let pace = Pace::new(limits.progress_bytes_min, milliseconds(limits.progress_window_ms));
        RequestBody { source: Source::Network(incoming), pace, bytes }
    }

    /// The length announced with Content-Length; `None` for chunked bodies.
    pub fn content_length(&self) -> Option<u64> {
        self.size_hint().exact()
    }
}

impl From<Bytes> for RequestBody {
    /// A body that is already in memory, for callers without a socket.
    fn from(bytes: Bytes) -> Self {
        let limits = Limits::default();
        RequestBody {
            source: Source::Memory(Some(bytes)),
            pace: Pace::new(limits.progress_bytes_min, milliseconds(limits.progress_window_ms)),
            bytes: Arc::default(),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let RequestBody { source, pace, bytes } = self.get_mut();
        let outcome = match source {
            Source::Memory(content) => {
                return Poll::Ready(content.take().filter(|content| !content.is_empty()).map(|content| {
                    bytes.fetch_add(content.len() as u64, Ordering::Relaxed);
                    Ok(Frame::data(content))
                }));
            }
            Source::Network(incoming) => Pin::new(incoming).poll_frame(context),
        };
        let Poll::Ready(outcome) = outcome else {
            ready!(pace.poll_too_slow(context));
            return Poll::Ready(Some(Err(RequestBodyError::TooSlow {
                bytes_min: pace.bytes_min,
                window: pace.window,
            })));
        };
        if let Some(Ok(frame)) = &outcome {
            let received = frame.data_ref().map_or(0, Bytes::len) as u64;
            pace.received(received);
            bytes.fetch_add(received, Ordering::Relaxed);
        }
        Poll::Ready(outcome.map(|frame| frame.map_err(RequestBodyError::Aborted)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Network(incoming) => incoming.is_end_stream(),
            Source::Memory(content) => content.as_ref().is_none_or(Bytes::is_empty),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Network(incoming) => incoming.size_hint(),
            Source::Memory(content) => SizeHint::with_exact(content.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}

/// A budget of waiting time that `bytes_min` received bytes refill.
struct Pace {
    bytes_min: u64,
    window: Duration,
    budget: Duration,
    received: u64,
    waiting_since: Option<Instant>,
    deadline: Deadline,
}

impl Pace {
    fn new(bytes_min: u64, window: Duration) -> Self {
        Pace { bytes_min, window, budget: window, received: 0, waiting_since: None, deadline: Deadline::default() }
    }

    /// The client owes bytes. Ready when it owes them for too long.
    fn poll_too_slow(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.waiting_since.is_none() {
            let now = Instant::now();
            self.waiting_since = Some(now);
            self.deadline.arm(now + self.budget);
        }
        self.deadline.poll_passed(context)
    }

    fn received(&mut self, bytes: u64) {
        if let Some(since) = self.waiting_since.take() {
            self.budget = self.budget.saturating_sub(since.elapsed());
        }
        self.received += bytes;
        if self.received >= self.bytes_min {
            self.received = 0;
            self.budget = self.window;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http_body_util::BodyExt;
    use tokio::time::{sleep, timeout};

    use super::*;

    const WINDOW: Duration = Duration::from_secs(30);

    async fn wait(pace: &mut Pace, time: Duration) -> bool {
        timeout(time, poll_fn(|context| pace.poll_too_slow(context))).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn silence_for_a_window_is_too_slow() {
        let mut pace = Pace::new(1_024, WINDOW);
        let begin = Instant::now();
        poll_fn(|context| pace.poll_too_slow(context)).await;
        assert_eq!(begin.elapsed(), WINDOW);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_below_the_minimum_is_too_slow_however_regular_it_is() {
        let mut pace = Pace::new(1_024, WINDOW);
        let begin = Instant::now();
        while !wait(&mut pace, Duration::from_secs(1)).await {
            pace.received(10);
        }
        assert_eq!(begin.elapsed(), WINDOW);
    }

    #[tokio::test(start_paused = true)]
    async fn the_minimum_in_every_window_is_fast_enough_for_ever() {
        let mut pace = Pace::new(1_024, WINDOW);
        for _ in 0..1_000 {
            assert!(!wait(&mut pace, Duration::from_secs(14)).await);
            pace.received(512);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_the_server_takes_itself_does_not_count() {
        let mut pace = Pace::new(1_024, WINDOW);
        for _ in 0..100 {
            assert!(!wait(&mut pace, Duration::from_millis(1)).await);
            pace.received(1);
            sleep(Duration::from_secs(60)).await;
        }
    }

    #[tokio::test]
    async fn a_body_in_memory_has_its_length_and_ends() {
        let mut body = RequestBody::from(Bytes::from_static(b"hello"));
        assert_eq!(body.content_length(), Some(5));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hello");
        assert!(body.is_end_stream());
        assert!(body.frame().await.is_none());
    }
}

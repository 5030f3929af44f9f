//! The body of an answer on its way to hyper: panics become errors, bytes and the end are observed.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{
    observation::{Deliveries, Observation},
    streams::Owed,
};

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Largest piece handed to an HTTP/2 stream at once. The stall clock of a stream runs per piece, so
/// it must not be so large that a slow client looks stalled.
const STREAM_PIECE_BYTES_MAX: usize = 64 << 10;

/// How the end of an answer becomes known.
pub(super) enum Delivery {
    /// HTTP/1: complete when the socket was flushed.
    Socket(Arc<Deliveries>),
    /// HTTP/2: complete when the stream took the last byte; until then the client owes a read.
    Stream(Arc<Owed>),
}

pub(super) struct ResponseBody<B> {
    /// `None` once it ended or failed, and for answers the server makes itself.
    inner: Option<Pin<Box<B>>>,
    /// The rest of a frame that was larger than one piece.
    rest: Bytes,
    delivery: Delivery,
    /// Bytes the head promised, when it did.
    promised: Option<u64>,
    /// The answer has no body on the wire: HEAD, 204, 304.
    bodiless: bool,
    failed: bool,
    observation: Option<Observation>,
}

impl<B> ResponseBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    pub(super) fn new(inner: Option<B>, bodiless: bool, delivery: Delivery, observation: Observation) -> Self {
        let promised = inner.as_ref().map_or(Some(0), |inner| inner.size_hint().exact());
        ResponseBody {
            inner: inner.map(Box::pin),
            rest: Bytes::new(),
            delivery,
            promised,
            bodiless,
            failed: false,
            observation: Some(observation),
        }
    }

    /// The next frame of the handler's body; a panic in it counts as its failure.
    fn poll_inner(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let polled = catch_unwind(AssertUnwindSafe(|| inner.as_mut().poll_frame(context)));
        let outcome = match polled {
            Ok(outcome) => ready!(outcome).map(|frame| frame.map_err(Into::into)),
            Err(_) => Some(Err("the handler panicked in the body of the answer".into())),
        };
        match &outcome {
            Some(Ok(_)) => {}
            None => self.inner = None,
            Some(Err(error)) => {
                tracing::warn!(%error, "an answer was cut because its body failed");
                self.inner = None;
                self.failed = true;
                if let Some(observation) = &mut self.observation {
                    observation.failed();
                }
            }
        }
        Poll::Ready(outcome)
    }

    /// Hands out at most one piece of `data` and keeps the rest.
    fn piece(&mut self, mut data: Bytes) -> Frame<Bytes> {
        if let Delivery::Stream(owed) = &self.delivery {
            if data.len() > STREAM_PIECE_BYTES_MAX {
                self.rest = data.split_off(STREAM_PIECE_BYTES_MAX);
            }
            owed.set();
        }
        if let Some(observation) = &mut self.observation {
            observation.bytes_out += data.len() as u64;
        }
        Frame::data(data)
    }
}

impl<B> ResponseBody<B> {
    /// Whether everything the head promised was handed over.
    fn ended(&self) -> bool {
        let sent = self.observation.as_ref().map_or(0, |observation| observation.bytes_out);
        !self.failed && (self.bodiless || self.promised == Some(sent) || (self.inner.is_none() && self.rest.is_empty()))
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Delivery::Stream(owed) = &this.delivery {
            owed.clear();
        }
        if !this.rest.is_empty() {
            let rest = std::mem::take(&mut this.rest);
            return Poll::Ready(Some(Ok(this.piece(rest))));
        }
        match ready!(this.poll_inner(context)) {
            Some(Ok(frame)) => Poll::Ready(Some(Ok(match frame.into_data() {
                Ok(data) => this.piece(data),
                Err(trailers) => trailers,
            }))),
            other => Poll::Ready(other),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.as_ref().is_none_or(|inner| inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let Some(inner) = &self.inner else { return SizeHint::with_exact(rest) };
        let mut hint = inner.size_hint();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

impl<B> Drop for ResponseBody<B> {
    fn drop(&mut self) {
        let ended = self.ended();
        match (self.observation.take(), &self.delivery) {
            (Some(observation), Delivery::Socket(deliveries)) if ended => deliveries.push(observation),
            (Some(observation), Delivery::Stream(_)) if ended => observation.complete(),
            (Some(mut observation), Delivery::Stream(owed)) if owed.stalled() => observation.stalled(),
            // Dropping the observation reports the answer as aborted.
            _ => {}
        }
    }
}

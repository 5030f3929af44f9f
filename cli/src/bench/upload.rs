//! A request's body: made while it is sent, from memory that the worker's next request uses again.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};

use super::{
    content::{Content, FRAME_BYTES_MAX, Reader},
    gauge::Gauge,
    pace::{Pace, Pacer},
};

/// A worker's memory for the frames it sends, and where they are counted.
pub struct Frames {
    /// Only one request at a time uses it, so the lock is never waited for.
    memory: Mutex<BytesMut>,
    gauge: Arc<Gauge>,
}

impl Frames {
    pub fn new(gauge: &Arc<Gauge>) -> Arc<Self> {
        Arc::new(Self { memory: Mutex::default(), gauge: Arc::clone(gauge) })
    }
}

pub struct Upload {
    content: Option<(Reader, Arc<Frames>)>,
    /// Whether the length is declared; without, the transfer is chunked.
    sized: bool,
    /// None sends as fast as the registry takes it.
    pacer: Option<Pacer>,
}

impl Upload {
    pub fn empty() -> Self {
        Self { content: None, sized: true, pacer: None }
    }

    /// Declares the length.
    pub fn sized(content: &Content, frames: &Arc<Frames>) -> Self {
        Self { content: Some((content.reader(), Arc::clone(frames))), sized: true, pacer: None }
    }

    /// Does not declare the length, as clients that compress while they send.
    pub fn streamed(content: &Content, frames: &Arc<Frames>) -> Self {
        Self { content: Some((content.reader(), Arc::clone(frames))), sized: false, pacer: None }
    }

    /// Declares the length, and takes its time.
    pub fn slow(content: &Content, frames: &Arc<Frames>, pace: Pace) -> Self {
        Self { pacer: Some(Pacer::new(pace)), ..Self::sized(content, frames) }
    }

    pub fn bytes_left(&self) -> u64 {
        self.content.as_ref().map_or(0, |(reader, _)| reader.bytes_left())
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Self { content, pacer, .. } = &mut *self;
        let bytes_max = match pacer {
            Some(pacer) => ready!(pacer.poll_due(context)),
            None => FRAME_BYTES_MAX,
        };
        let frame = content.as_mut().and_then(|(reader, frames)| {
            let mut memory = frames.memory.lock().unwrap_or_else(PoisonError::into_inner);
            let frame = reader.next_within(bytes_max, &mut memory)?;
            frames.gauge.body_bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
            Some(frame)
        });
        Poll::Ready(frame.map(|frame| Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes_left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.sized { SizeHint::with_exact(self.bytes_left()) } else { SizeHint::default() }
    }
}

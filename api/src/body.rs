//! The bodies of answers. In: bytes in memory, or a blob open for reading and the parts of it that
//! were asked for. Out: frames for hyper, none of them copied. What became true: a body that ends
//! cleanly held exactly the announced bytes; anything else is an error, which makes hyper cut the
//! message short so that no client takes it for a whole one.

use std::{
    collections::VecDeque,
    future::Future,
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use orlop_engine::{Blob, Reader};

use crate::handed::Handed;

/// The body of an answer: nothing, bytes in memory, or parts of a blob.
#[derive(Debug)]
pub struct ResponseBody(Content);

#[derive(Debug)]
enum Content {
    /// Bytes in memory; empty once they were handed out.
    Memory(Bytes),
    /// Boxed so that the many small answers do not carry the size of a reader.
    Blob(Box<BlobParts>),
}

/// Why a body could not be sent to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error(transparent)]
    Read(Box<orlop_engine::Error>),
    #[error("the blob ended {missing} bytes before its announced size")]
    Short { missing: u64 },
    #[error("the blob gave {excess} bytes more than its announced size")]
    Long { excess: u64 },
}

/// A piece of a blob's body, in the order they are sent.
#[derive(Debug)]
pub enum Part {
    /// Bytes between the ranges: the headers of a `multipart/byteranges` part.
    Literal(Bytes),
    /// Bytes of the blob, from offset to offset.
    Range(Range<u64>),
}

impl Part {
    /// The bytes this part sends.
    pub fn bytes(&self) -> u64 {
        match self {
            Part::Literal(bytes) => bytes.len() as u64,
            Part::Range(range) => range.end - range.start,
        }
    }
}

impl ResponseBody {
    pub fn empty() -> Self {
        ResponseBody(Content::Memory(Bytes::new()))
    }

    pub fn full(bytes: impl Into<Bytes>) -> Self {
        ResponseBody(Content::Memory(bytes.into()))
    }

    /// All of a blob, if its first bytes can be had without waiting.
    pub fn blob_in_memory(blob: Blob) -> Option<Self> {
        let remaining = blob.size();
        let mut reader = blob.read(0..remaining);
        let first = Some(reader.next_in_memory()?);
        let state = State::Idle(Box::new(reader));
        let parts = BlobParts { blob, parts: VecDeque::new(), first, state, handed: None, remaining };
        Some(ResponseBody(Content::Blob(Box::new(parts))))
    }

    /// Opens parts of a blob. The first chunk is read and verified before this returns, so that
    /// damage at the front of a blob is still answered with a status and not with a cut body.
    pub async fn blob(blob: Blob, parts: VecDeque<Part>) -> orlop_engine::Result<Self> {
        let mut body = BlobParts {
            remaining: parts.iter().map(Part::bytes).sum(),
            blob,
            parts,
            first: None,
            state: State::Between,
            handed: None,
        };
        if let Some(Part::Range(range)) = body.parts.front() {
            let mut reader = body.blob.read(range.clone());
            body.first = reader.next().await.transpose()?;
            body.parts.pop_front();
            body.state = State::Idle(Box::new(reader));
        }
        Ok(ResponseBody(Content::Blob(Box::new(body))))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.get_mut().0 {
            Content::Memory(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Memory(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Blob(parts) => parts.poll_next(cx).map_ok(Frame::data),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Memory(bytes) => bytes.is_empty(),
            Content::Blob(parts) => parts.remaining == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.0 {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::Blob(parts) => parts.remaining,
        })
    }
}

/// The parts of one blob on their way out. The open [`Blob`] is kept to the end: it protects the
/// content from collection.
struct BlobParts {
    blob: Blob,
    parts: VecDeque<Part>,
    /// The chunk read when the body was opened.
    first: Option<Bytes>,
    state: State,
    /// The piece handed out last, if there were many readers then: with many, each has one.
    handed: Option<Handed>,
    /// Bytes still to be sent, over all parts.
    remaining: u64,
}

type Reading = Pin<Box<dyn Future<Output = (Box<Reader>, Option<orlop_engine::Result<Bytes>>)> + Send>>;

enum State {
    /// The next part decides.
    Between,
    /// A range is open and no read is under way.
    Idle(Box<Reader>),
    /// A read owns the reader and gives it back.
    Reading(Reading),
    /// An error was given; nothing follows it.
    Failed,
}

impl BlobParts {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if let Some(handed) = &self.handed {
            ready!(handed.poll_back(cx));
        }
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(self.account(first)));
        }
        loop {
            match std::mem::replace(&mut self.state, State::Between) {
                State::Between => match self.parts.pop_front() {
                    Some(Part::Literal(bytes)) => return Poll::Ready(Some(self.account(bytes))),
                    Some(Part::Range(range)) => self.state = State::Idle(Box::new(self.blob.read(range))),
                    None if self.remaining == 0 => return Poll::Ready(None),
                    None => return Poll::Ready(Some(Err(self.fail(BodyError::Short { missing: self.remaining })))),
                },
                State::Idle(mut reader) => {
                    // Most pulls are of content that is in memory; those need no future.
                    if let Some(bytes) = reader.next_in_memory() {
                        self.state = State::Idle(reader);
                        return Poll::Ready(Some(self.account(bytes)));
                    }
                    self.state = State::Reading(Box::pin(async move {
                        let chunk = reader.next().await;
                        (reader, chunk)
                    }));
                }
                State::Reading(mut reading) => match reading.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.state = State::Reading(reading);
                        return Poll::Pending;
                    }
                    Poll::Ready((reader, Some(Ok(bytes)))) => {
                        self.state = State::Idle(reader);
                        return Poll::Ready(Some(self.account(bytes)));
                    }
                    Poll::Ready((_, Some(Err(error)))) => {
                        return Poll::Ready(Some(Err(self.fail(BodyError::Read(Box::new(error))))));
                    }
                    Poll::Ready((_, None)) => {}
                },
                State::Failed => {
                    self.state = State::Failed;
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn account(&mut self, bytes: Bytes) -> Result<Bytes, BodyError> {
        let length = bytes.len() as u64;
        match self.remaining.checked_sub(length) {
            Some(remaining) => {
                self.remaining = remaining;
                match self.blob.is_crowded() {
                    true => Ok(self.handed.get_or_insert_default().piece(bytes)),
                    false => Ok(bytes),
                }
            }
            None => Err(self.fail(BodyError::Long { excess: length - self.remaining })),
        }
    }

    fn fail(&mut self, error: BodyError) -> BodyError {
        self.state = State::Failed;
        self.parts.clear();
        error
    }
}

impl std::fmt::Debug for BlobParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobParts")
            .field("digest", self.blob.digest())
            .field("remaining", &self.remaining)
            .finish_non_exhaustive()
    }
}

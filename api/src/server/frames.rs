//! Counts the frames by which an HTTP/2 client only keeps the server busy.
//!
//! In: a stream on its way to the HTTP library. Out: the same bytes, or an error once the client has sent
//! more control frames than anything it does could need. Each frame is cheap, but on a fast line they come
//! by the million and take a processor from the others (CVE-2019-9512, -9513, -9515; RFC 9113 section
//! 10.5). Requests and bodies are not counted: they have limits of their own.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// Bytes of the preface, which is followed by frames (RFC 9113 section 3.4).
const PREFACE_BYTES: usize = 24;

/// Bytes before the payload of a frame (section 4.1).
const HEAD_BYTES: usize = 9;

// Types of frames (section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// Control frames that a request may bring: a priority, a reset, and window updates for both levels.
const CREDIT_PER_REQUEST: u64 = 4;

/// Each of these many bytes of answers may bring a window update. Clients send one for some 16 KiB.
const BYTES_PER_CREDIT: u64 = 1 << 10;

/// Pings and settings at leisure.
const CREDIT_PER_SECOND: u64 = 100;

/// What became of a counted stream.
#[derive(Debug, Default)]
pub(super) struct Fate {
    overrun: AtomicBool,
    shut: AtomicBool,
}

impl Fate {
    /// The client sent more control frames than it may.
    pub(super) fn is_overrun(&self) -> bool {
        self.overrun.load(Ordering::Relaxed)
    }

    /// The client was told that nothing more comes.
    pub(super) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Relaxed)
    }
}

/// A stream whose incoming frames are counted.
pub(super) struct Counted<S> {
    inner: S,
    place: Place,
    credit: Credit,
    fate: Arc<Fate>,
}

impl<S> Counted<S> {
    /// For a connection from its preface on; `frames_max` control frames may come at once.
    pub(super) fn new(inner: S, frames_max: u64, fate: Arc<Fate>) -> Self {
        Counted { inner, place: Place::default(), credit: Credit::new(frames_max), fate }
    }
}

/// Where in the stream of frames the next byte is.
struct Place {
    /// Bytes of the preface or of a payload that are still to come.
    left: usize,
    head: [u8; HEAD_BYTES],
    filled: usize,
}

impl Default for Place {
    fn default() -> Self {
        Place { left: PREFACE_BYTES, head: [0; HEAD_BYTES], filled: 0 }
    }
}

impl Place {
    /// Goes over `bytes`, and calls `frame` with the type of each frame whose head ends in them.
    fn pass(&mut self, mut bytes: &[u8], mut frame: impl FnMut(u8)) {
        loop {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return;
            }
            let taken = (HEAD_BYTES - self.filled).min(bytes.len());
            self.head[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == HEAD_BYTES {
                let [high, middle, low, kind, ..] = self.head;
                self.left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                self.filled = 0;
                frame(kind);
            }
        }
    }
}

/// Control frames that may still come.
struct Credit {
    left: u64,
    max: u64,
    /// Bytes of answers that did not make a whole credit.
    bytes: u64,
    refilled: Instant,
}

impl Credit {
    fn new(max: u64) -> Self {
        Credit { left: max, max, bytes: 0, refilled: Instant::now() }
    }

    fn add(&mut self, credit: u64) {
        self.left = self.left.saturating_add(credit).min(self.max);
    }

    fn wrote(&mut self, bytes: usize) {
        let bytes = self.bytes + bytes as u64;
        self.add(bytes / BYTES_PER_CREDIT);
        self.bytes = bytes % BYTES_PER_CREDIT;
    }

    /// Time has passed.
    fn refill(&mut self) {
        let seconds = self.refilled.elapsed().as_secs();
        if seconds > 0 {
            self.refilled = Instant::now();
            self.add(seconds.saturating_mul(CREDIT_PER_SECOND));
        }
    }

    /// Whether the frame was one too many.
    fn spend(&mut self, kind: u8) -> bool {
        match kind {
            HEADERS => self.add(CREDIT_PER_REQUEST),
            DATA | CONTINUATION => {}
            _ if self.left == 0 => return true,
            _ => self.left -= 1,
        }
        false
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Counted { inner, place, credit, fate } = &mut *self;
        let before = buffer.filled().len();
        let outcome = Pin::new(inner).poll_read(context, buffer);
        credit.refill();
        let mut is_too_much = false;
        place.pass(&buffer.filled()[before..], |kind| is_too_much |= credit.spend(kind));
        if is_too_much {
            fate.overrun.store(true, Ordering::Relaxed);
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the client sent more control frames than http2_control_frames_max",
            )));
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> Counted<S> {
    fn wrote(&mut self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = outcome {
            self.credit.wrote(bytes);
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.wrote(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.wrote(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fate.shut.store(true, Ordering::Relaxed);
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    const PING: u8 = 6;

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let mut stream = vec![b'P'; PREFACE_BYTES];
        for (kind, length) in [(4, 0), (1, 300), (6, 8), (0, 70_000), (9, 1)] {
            stream.extend([(length >> 16) as u8, (length >> 8) as u8, length as u8, kind, 0, 0, 0, 0, 1]);
            // A payload that looks like heads.
            stream.resize(stream.len() + length, 6);
        }
        for piece in [1, 2, 7, 9, 10, 1_000, stream.len()] {
            let mut place = Place::default();
            let mut kinds = Vec::new();
            stream.chunks(piece).for_each(|bytes| place.pass(bytes, |kind| kinds.push(kind)));
            assert_eq!(kinds, [4, 1, 6, 0, 9], "in pieces of {piece}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn credit_comes_with_requests_answers_and_time() {
        let mut credit = Credit::new(10);
        let spent = |credit: &mut Credit| (0..1_000).take_while(|_| !credit.spend(PING)).count();
        assert_eq!(spent(&mut credit), 10);
        assert!(!credit.spend(DATA));
        assert!(!credit.spend(HEADERS));
        assert_eq!(spent(&mut credit), 4);
        for _ in 0..8 {
            credit.wrote(256);
        }
        assert_eq!(spent(&mut credit), 2);
        advance(Duration::from_millis(900)).await;
        credit.refill();
        assert_eq!(spent(&mut credit), 0);
        advance(Duration::from_millis(200)).await;
        credit.refill();
        assert_eq!(spent(&mut credit), 10, "never more than at once");
    }
}

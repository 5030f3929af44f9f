//! Bytes that were handed to a connection and are not written yet.
//!
//! In: a piece of a body. Out: the same bytes, whose owner tells when the connection has let go of the last of
//! them. What has become true: a body that waits for that has one piece in memory, however much hyper or an HTTP/2
//! stream would take in advance.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

/// Where the last piece of a body is. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handed(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    is_out: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

impl Handed {
    /// The same bytes; they count as handed out until the last copy of them is dropped.
    pub fn piece(&self, bytes: Bytes) -> Bytes {
        self.0.is_out.store(true, Ordering::SeqCst);
        Bytes::from_owner(Piece { bytes, handed: self.clone() })
    }

    /// Ready when no piece is out.
    pub fn poll_back(&self, context: &Context<'_>) -> Poll<()> {
        if !self.0.is_out.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        *self.waiting() = Some(context.waker().clone());
        // It may have come back before anybody could be told.
        if self.0.is_out.load(Ordering::SeqCst) { Poll::Pending } else { Poll::Ready(()) }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Piece {
    bytes: Bytes,
    handed: Handed,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.handed.0.is_out.store(false, Ordering::SeqCst);
        let waiting = self.handed.waiting().take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, task::Wake};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_piece_is_out_until_its_last_byte_is_let_go() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let context = Context::from_waker(&waker);
        let handed = Handed::default();
        assert_eq!(handed.poll_back(&context), Poll::Ready(()));
        let mut piece = handed.piece(Bytes::from_static(b"some bytes"));
        let rest = piece.split_off(4);
        assert_eq!((&piece[..], &rest[..]), (&b"some"[..], &b" bytes"[..]));
        assert_eq!(handed.poll_back(&context), Poll::Pending);
        drop(piece);
        assert_eq!(handed.poll_back(&context), Poll::Pending);
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        drop(rest);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(handed.poll_back(&context), Poll::Ready(()));
    }
}

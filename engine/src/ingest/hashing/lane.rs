//! The buffers of one upload on their way past its hasher.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError},
};

use tokio::sync::{Notify, oneshot};

use super::{HashThreads, Passing};
use crate::{
    error::{Error, Result},
    io::Buffer,
    schedule::{self, Mutex, MutexGuard},
};

/// So many bytes are hashed where they are rather than handed over: about 30 microseconds, which is
/// what two changes of threads cost when all of them are busy.
const IN_PLACE_BYTES_MAX: usize = if schedule::IS_CHOSEN { 4 << 10 } else { 64 << 10 };

/// An upload's place in the line for the hash threads. Dropping it gives up what waits.
pub(in crate::ingest) struct Lane {
    shared: Arc<Shared>,
    threads: HashThreads,
}

/// A buffer whose bytes are hashed, or about to be.
pub(in crate::ingest) struct Hashed {
    /// Bytes filled.
    pub len: usize,
    state: Progress,
}

enum Progress {
    Done(Buffer),
    Waiting(oneshot::Receiver<Buffer>),
}

/// What a lane and the threads share. At most its upload's buffers wait here: `FileSink`, `Held` and
/// `Known` bound them.
pub(super) struct Shared {
    state: Mutex<State>,
    /// Told when nothing waits any more.
    settled: Notify,
}

struct State {
    /// `None` while somebody hashes, and after he panicked.
    passing: Option<Box<Passing>>,
    waiting: VecDeque<Piece>,
    /// A thread has the lane, or it stands in line for one.
    is_scheduled: bool,
}

struct Piece {
    /// Where in the content the buffer begins.
    start: u64,
    buffer: Buffer,
    done: oneshot::Sender<Buffer>,
}

impl Lane {
    pub fn new(threads: &HashThreads, passing: Passing) -> Self {
        let state = State { passing: Some(Box::new(passing)), waiting: VecDeque::new(), is_scheduled: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), settled: Notify::new() });
        Lane { shared, threads: threads.clone() }
    }

    /// A lane of the same threads that begins anew.
    pub fn renew(&self, passing: Passing) -> Self {
        Lane::new(&self.threads, passing)
    }

    /// Has a buffer hashed whose first byte is number `start` of the content, after those before it.
    /// Bytes that were hashed already may be among them, at the beginning.
    pub fn push(&self, start: u64, buffer: Buffer) -> Hashed {
        let len = buffer.len();
        let mut state = self.shared.state();
        let is_little =
            |passing: &Passing| self.threads.count() == 0 || passing.unseen(start, len) <= IN_PLACE_BYTES_MAX;
        if !state.is_scheduled
            && let Some(mut passing) = state.passing.take_if(|passing| is_little(passing))
        {
            passing.take(start, buffer.filled());
            state.passing = Some(passing);
            return Hashed::already(buffer);
        }
        let (done, hashed) = oneshot::channel();
        if state.is_scheduled || state.passing.is_some() {
            state.waiting.push_back(Piece { start, buffer, done });
        }
        let is_new = !state.is_scheduled && !state.waiting.is_empty();
        state.is_scheduled |= is_new;
        // Before anybody is woken: a hash thread that loses its processor to whom it wakes must not
        // keep the lock meanwhile.
        drop(state);
        if is_new {
            self.threads.schedule(self.shared.clone());
        }
        Hashed { len, state: Progress::Waiting(hashed) }
    }

    /// Hashes what is new of content that begins at `start`, at once, after what waits. Cancel safe.
    /// Errors: as `look`.
    pub async fn take(&self, start: u64, content: &[u8]) -> Result<()> {
        self.settle().await;
        self.look(|passing| passing.take(start, content))
    }

    /// Waits until every buffer given so far was hashed. Cancel safe.
    pub async fn settle(&self) {
        loop {
            let settled = self.shared.settled.notified();
            if !self.shared.state().is_scheduled {
                return;
            }
            settled.await;
        }
    }

    /// What passed, of a settled lane. Errors: a hash thread panicked, and what passed is lost.
    pub fn look<T>(&self, look: impl FnOnce(&mut Passing) -> T) -> Result<T> {
        let mut state = self.shared.state();
        let mut passing = state.passing.take().ok_or_else(|| Error::io("hashing an upload", lost()))?;
        let seen = look(&mut passing);
        state.passing = Some(passing);
        Ok(seen)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let waiting = std::mem::take(&mut self.shared.state().waiting);
        drop(waiting);
    }
}

impl Shared {
    /// Whoever works with what passed takes it out first, so a panic leaves nothing half done.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hashes the next buffer. Gives whether there are more.
    pub(super) fn turn(&self) -> bool {
        let (mut passing, piece) = {
            let mut state = self.state();
            match (state.passing.take(), state.waiting.pop_front()) {
                (Some(passing), Some(piece)) => (passing, piece),
                (passing, _) => {
                    state.passing = passing;
                    state.is_scheduled = false;
                    drop(state);
                    self.settled.notify_waiters();
                    return false;
                }
            }
        };
        let Piece { start, buffer, done } = piece;
        let outcome = catch_unwind(AssertUnwindSafe(|| passing.take(start, buffer.filled())));
        let is_hashed = outcome.is_ok();
        let mut lost = VecDeque::new();
        let is_more = {
            let mut state = self.state();
            if is_hashed {
                state.passing = Some(passing);
            } else {
                lost = std::mem::take(&mut state.waiting);
            }
            state.is_scheduled = !state.waiting.is_empty();
            state.is_scheduled
        };
        drop(lost);
        if !is_more {
            self.settled.notify_waiters();
        }
        if is_hashed {
            // Nobody may want it any more; then it goes back to its pool.
            drop(done.send(buffer));
        }
        is_more
    }
}

impl Hashed {
    /// A buffer that was hashed before.
    pub fn already(buffer: Buffer) -> Self {
        Hashed { len: buffer.len(), state: Progress::Done(buffer) }
    }

    /// Waits until it is. Cancel safe. Errors: the upload was given up, or a hash thread panicked.
    pub async fn wait(&mut self) -> io::Result<&Buffer> {
        if let Progress::Waiting(hashed) = &mut self.state {
            self.state = Progress::Done(hashed.await.map_err(|_| lost())?);
        }
        match &self.state {
            Progress::Done(buffer) => Ok(buffer),
            Progress::Waiting(_) => unreachable!("it was waited for above"),
        }
    }

    /// The buffer, if no thread has it any more.
    pub fn try_into_buffer(self) -> std::result::Result<Buffer, Self> {
        match self.state {
            Progress::Done(buffer) => Ok(buffer),
            Progress::Waiting(_) => Err(self),
        }
    }

    /// Waits as `wait` does, for the buffer.
    pub async fn into_buffer(self) -> io::Result<Buffer> {
        match self.state {
            Progress::Done(buffer) => Ok(buffer),
            Progress::Waiting(hashed) => hashed.await.map_err(|_| lost()),
        }
    }
}

fn lost() -> io::Error {
    io::Error::other("the upload was given up while it was hashed")
}

#[cfg(test)]
mod tests;

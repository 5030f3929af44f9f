//! Blocking system calls away from the async workers.
//!
//! In: closures. Out: [`Op`]s that start at once, in the order of the calls as long as there is
//! room, and run to their end even if nobody waits for the answer.

use std::{io, sync::Arc};

use tokio::sync::{Semaphore, oneshot};

use super::Op;

/// Blocking operations of one disk that run at the same time. Those beyond wait in line; each of
/// them is one call of the engine and holds its buffer, so the pool of buffers bounds the line.
const RUNNING_MAX: usize = 64;

/// Runs closures on tokio's blocking threads.
pub(super) struct Blocking {
    permits: Arc<Semaphore>,
}

impl Blocking {
    pub(super) fn new() -> Self {
        Blocking { permits: Arc::new(Semaphore::new(RUNNING_MAX)) }
    }

    /// Starts `work`. Must be called inside a tokio runtime.
    pub(super) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Op<T> {
        let (answer, result) = oneshot::channel();
        let work = move |permit| {
            let outcome = work();
            drop(permit);
            // Nobody may be waiting any more; what the operation did stays done.
            let _ = answer.send(outcome);
        };
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            drop(tokio::task::spawn_blocking(move || work(permit)));
        } else {
            let permits = Arc::clone(&self.permits);
            drop(tokio::spawn(async move {
                let permit = permits.acquire_owned().await.expect("the semaphore is never closed");
                drop(tokio::task::spawn_blocking(move || work(permit)));
            }));
        }
        answered(result)
    }
}

/// The operation whose outcome arrives on `result`.
pub(super) fn answered<T: Send + 'static>(result: oneshot::Receiver<io::Result<T>>) -> Op<T> {
    Box::pin(async move {
        result.await.unwrap_or_else(|_| {
            Err(io::Error::other("the disk operation was given up before its end: the process is shutting down"))
        })
    })
}

/// An operation that is over already.
pub(super) fn ready<T: Send + 'static>(outcome: io::Result<T>) -> Op<T> {
    Box::pin(std::future::ready(outcome))
}

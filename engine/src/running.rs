//! Work that goes on although nobody waits for it any more.
//!
//! A caller may go away at any moment, which drops the future it waited on. What must not stop in
//! the middle is counted here and runs in a task of its own; closing the store waits for all of it.

use std::{future::Future, io};

use tokio::sync::{oneshot, watch};

use crate::{
    error::{Error, Result},
    schedule,
};

/// Counts work under way.
pub(crate) struct Running(watch::Sender<usize>);

/// One piece of work; over when dropped.
pub(crate) struct Work(watch::Sender<usize>);

impl Default for Running {
    fn default() -> Self {
        Running(watch::Sender::new(0))
    }
}

impl Running {
    pub fn begin(&self) -> Work {
        self.0.send_modify(|count| *count += 1);
        Work(self.0.clone())
    }

    /// Runs `work` to its end, from the first poll on whether or not the caller stays. What comes
    /// out and is not wanted any more is dropped before the work counts as over.
    pub async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let running = self.begin();
        let (answer, result) = oneshot::channel();
        drop(schedule::spawn(async move {
            drop(answer.send(work.await));
            drop(running);
        }));
        result.await.unwrap_or_else(|gone| Err(Error::io("a task of the engine", io::Error::other(gone))))
    }

    /// Waits until nothing is under way.
    pub async fn idle(&self) {
        // The sender is ours, so the channel cannot be closed.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

//! Threads and tasks as the machine schedules them.

use std::{future::Future, time::Duration};

pub use std::{
    hash::RandomState,
    sync::{
        Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU32, AtomicU64},
    },
    thread,
};

use tokio::sync::mpsc;
pub use tokio::{
    task::{JoinHandle, spawn, spawn_blocking, yield_now},
    time::sleep,
};

/// Whether a seed chooses who goes on.
pub const IS_CHOSEN: bool = false;

/// A place where others may come first.
#[inline(always)]
pub fn point() {}

/// Whether a task can be spawned here: inside a runtime that is not ending.
pub fn can_spawn() -> bool {
    tokio::runtime::Handle::try_current().is_ok()
}

/// Waits for `work`, but no longer than `time`. Gives whether it was done.
pub async fn is_done_within(time: Duration, work: impl Future<Output = ()>) -> bool {
    tokio::time::timeout(time, work).await.is_ok()
}

/// The next message, for a thread that may block. `None` when nobody can send one any more.
pub fn receive<T>(messages: &mut mpsc::Receiver<T>) -> Option<T> {
    messages.blocking_recv()
}

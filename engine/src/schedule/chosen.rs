//! Threads and tasks of which one runs at a time, in an order that a seed chooses.
//!
//! Everything here must be made and used within [`explore`](super::explore).

use std::{
    future::{Future, pending},
    hash::{BuildHasherDefault, DefaultHasher},
    time::Duration,
};

pub use shuttle::{
    future::{JoinHandle, spawn, yield_now},
    sync::{
        Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU32, AtomicU64},
    },
    thread,
};
use tokio::sync::mpsc;

/// Whether a seed chooses who goes on.
pub const IS_CHOSEN: bool = true;

/// Whoever waits for less than this comes again in the same schedule; nobody waits for longer times.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// How often others are let go first instead of waiting for time to pass.
const WAIT_TURNS: u32 = 5;

/// Hashes that are the same in each run.
pub type RandomState = BuildHasherDefault<DefaultHasher>;

/// A place where others may come first.
pub fn point() {
    // No hint that there is nothing to do, unlike yielding.
    shuttle::thread::sleep(Duration::ZERO);
}

/// Whether a task can be spawned here.
pub fn can_spawn() -> bool {
    !std::thread::panicking()
}

/// Runs what may block: every task may, here.
pub fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    spawn(async move { work() })
}

/// Lets a short time pass.
pub async fn sleep(time: Duration) {
    if time >= WAIT_MAX {
        pending::<()>().await;
    }
    for _ in 0..WAIT_TURNS {
        yield_now().await;
    }
}

/// Waits for `work`, but no longer than `time`. Gives whether it was done.
pub async fn is_done_within(time: Duration, work: impl Future<Output = ()>) -> bool {
    tokio::select! {
        biased;
        () = work => true,
        () = sleep(time) => false,
    }
}

/// The next message, for a thread that may block. `None` when nobody can send one any more.
pub fn receive<T>(messages: &mut mpsc::Receiver<T>) -> Option<T> {
    point();
    shuttle::future::block_on(messages.recv())
}

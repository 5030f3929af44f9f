//! The threads that hash.

use std::{collections::VecDeque, num::NonZero, sync::Arc};

use super::lane::Shared as Lane;
use crate::{
    error::{Error, Result},
    schedule::{self, Condvar, Mutex, MutexGuard, thread},
};

/// More threads than this hash faster than any network brings bytes.
const THREADS_MAX: usize = 64;

/// How much nicer than the others these threads are. Hashing is most of what an upload costs, and it
/// waits for nobody: at the same priority, whoever asks for something small waits for it.
const NICENESS: i32 = 10;

/// The threads; cloning shares them. They end when the last clone goes.
#[derive(Clone)]
pub(crate) struct HashThreads(Arc<Owner>);

struct Owner {
    line: Arc<Line>,
    count: usize,
}

/// The lanes that have something to do, each at most once.
#[derive(Default)]
struct Line {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    lanes: VecDeque<Arc<Lane>>,
    is_closed: bool,
}

impl HashThreads {
    /// Starts `count` threads, at most 64; with none, everything is hashed where it is.
    pub fn start(count: usize) -> Result<Self> {
        let owner = Owner { line: Arc::default(), count: count.min(THREADS_MAX) };
        for number in 0..owner.count {
            let line = owner.line.clone();
            let started = thread::Builder::new().name(format!("hash-{number}")).spawn(move || line.serve());
            drop(started.map_err(|source| Error::io("starting a hash thread", source))?);
        }
        Ok(HashThreads(Arc::new(owner)))
    }

    /// As many as there are processors.
    pub fn default_count() -> usize {
        std::thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX)
    }

    pub fn count(&self) -> usize {
        self.0.count
    }

    /// Puts a lane at the end of the line. It must not stand there already.
    pub(super) fn schedule(&self, lane: Arc<Lane>) {
        self.0.line.state().lanes.push_back(lane);
        self.0.line.arrived.notify_one();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.line.state().is_closed = true;
        self.line.arrived.notify_all();
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic holds it")
    }

    fn serve(&self) {
        be_nice();
        let mut unfinished = None;
        while let Some(lane) = self.next(unfinished.take()) {
            unfinished = lane.turn().then_some(lane);
        }
    }

    /// The lane whose turn it is, after `unfinished` went to the end of the line. `None` when the
    /// threads are to end.
    fn next(&self, unfinished: Option<Arc<Lane>>) -> Option<Arc<Lane>> {
        let mut state = self.state();
        state.lanes.extend(unfinished);
        loop {
            if let Some(lane) = state.lanes.pop_front() {
                return Some(lane);
            }
            if state.is_closed {
                return None;
            }
            state = self.arrived.wait(state).expect("no panic holds it");
        }
    }
}

/// Lets others go first, where each thread has a priority of its own.
fn be_nice() {
    #[cfg(target_os = "linux")]
    if !schedule::IS_CHOSEN
        && let Err(error) = rustix::process::nice(NICENESS)
    {
        tracing::debug!(%error, "a hash thread keeps the priority of the others");
    }
}

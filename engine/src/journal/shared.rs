//! What the commit thread, which appends, and the keeper, which syncs and writes bases, share.

use std::{
    fs::File,
    io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    environment::Environment,
    format::JournalRecord,
    statistics::{Counters, add},
};

/// How long changes wait at most before the log is synced. Nobody waits for that; it bounds what a
/// power cut that also costs the index takes away.
pub(super) const SYNC_PERIOD: Duration = Duration::from_secs(1);

/// Bytes that are not synced after which the keeper does not wait any longer: a sync of a few of them
/// holds up those of the index less than one of many.
const UNSYNCED_BYTES_MAX: u64 = 4 << 20;

/// A new base is written when the log has more bytes than the base it follows and than this.
const LOG_BYTES_MIN: u64 = 64 << 20;

/// The same for the number of the log's files: each start begins one.
const LOG_FILES_MAX: usize = 1024;

/// How long after a failure to write the journal is taken up again.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// The journal as others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Standing {
    /// Up to this change the log is durable.
    pub synced: u64,
    /// Base and log together have every change.
    pub is_whole: bool,
    pub has_failed: bool,
    pub is_closed: bool,
}

pub(super) struct State {
    /// The last number that was given to a change.
    pub sequence: u64,
    /// The last change that the log has.
    pub appended: u64,
    /// The log has every change from this one on.
    pub from: u64,
    pub synced: u64,
    /// The last change that the base has.
    pub base: Option<u64>,
    pub base_bytes: u64,
    pub log_bytes: u64,
    pub log_files: usize,
    pub next_ordinal: u64,
    /// Files with bytes that are not synced, the one that is being written last.
    pub unsynced: Vec<Arc<File>>,
    pub unsynced_bytes: u64,
    /// A file was begun whose name is not durable yet.
    pub has_new_name: bool,
    /// The next change goes into a new file.
    pub rotate: bool,
    pub failed: Option<Instant>,
    pub hurry: bool,
    pub closing: bool,
}

impl State {
    pub fn is_whole(&self) -> bool {
        self.failed.is_none() && self.base.is_some_and(|base| base + 1 >= self.from)
    }

    pub fn wants_base(&self) -> bool {
        let is_long = self.log_bytes > self.base_bytes.max(LOG_BYTES_MIN) || self.log_files > LOG_FILES_MAX;
        self.failed.is_none() && (is_long || !self.is_whole())
    }

    fn has_work(&self) -> bool {
        !self.unsynced.is_empty() || self.failed.is_some() || self.wants_base()
    }

    pub fn is_urgent(&self) -> bool {
        self.closing || self.hurry || self.unsynced_bytes >= UNSYNCED_BYTES_MAX
    }
}

pub(super) struct Shared {
    pub directory: PathBuf,
    pub environment: Arc<dyn Environment>,
    counters: Arc<Counters>,
    state: Mutex<State>,
    wake: Condvar,
    standing: watch::Sender<Standing>,
}

impl Shared {
    pub fn new(
        directory: PathBuf,
        environment: Arc<dyn Environment>,
        counters: Arc<Counters>,
        state: State,
    ) -> Arc<Self> {
        let shared = Shared {
            directory,
            environment,
            counters,
            standing: watch::Sender::default(),
            state: Mutex::new(state),
            wake: Condvar::new(),
        };
        shared.publish(&shared.lock());
        Arc::new(shared)
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it is held")
    }

    pub fn publish(&self, state: &State) {
        let standing = Standing {
            synced: state.synced,
            is_whole: state.is_whole(),
            has_failed: state.failed.is_some(),
            is_closed: self.standing.borrow().is_closed,
        };
        self.standing.send_replace(standing);
    }

    pub fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Wakes the keeper.
    pub fn urge(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.wake.notify_all();
    }

    pub fn closed(&self) {
        self.standing.send_modify(|standing| standing.is_closed = true);
    }

    /// Waits until there is something to do for the keeper, and then for company, so that one sync
    /// is for many changes. Gives whether the journal is to be closed.
    pub fn wait_for_work(&self) -> bool {
        let proof = "nothing panics while it is held";
        let idle = |state: &mut State| !state.is_urgent() && !state.has_work();
        let state = self.wake.wait_while(self.lock(), idle).expect(proof);
        let waited = self.wake.wait_timeout_while(state, SYNC_PERIOD, |state| !state.is_urgent()).expect(proof);
        let mut state = waited.0;
        state.hurry = false;
        state.closing
    }

    /// Lets time pass for who writes a base, unless there is something better to do. Gives whether
    /// the journal is to be closed.
    pub fn pause(&self, time: Duration) -> bool {
        let state = self.lock();
        let waited = self.wake.wait_timeout_while(state, time, |state| !state.is_urgent());
        waited.expect("nothing panics while it is held").0.closing
    }

    /// The next change of the log: its number, and whether it begins a file. `None` after a failure.
    pub fn number(&self) -> Option<(u64, bool)> {
        let mut state = self.lock();
        if state.failed.is_some() {
            return None;
        }
        state.sequence += 1;
        Some((state.sequence, std::mem::take(&mut state.rotate)))
    }

    /// A file was begun. Gives its ordinal.
    pub fn ordinal(&self) -> u64 {
        let mut state = self.lock();
        let ordinal = state.next_ordinal;
        state.next_ordinal += 1;
        ordinal
    }

    /// The last change that was numbered is in `file`. Gives what the index is to say about it.
    pub fn appended(&self, file: &Arc<File>, bytes: u64, is_new: bool) -> JournalRecord {
        add(&self.counters.journal_bytes, bytes);
        let mut state = self.lock();
        let was_idle = state.unsynced.is_empty();
        state.appended = state.sequence;
        if !state.unsynced.last().is_some_and(|last| Arc::ptr_eq(last, file)) {
            state.unsynced.push(file.clone());
        }
        state.has_new_name |= is_new;
        state.log_files += usize::from(is_new);
        state.log_bytes += bytes;
        state.unsynced_bytes += bytes;
        if was_idle || state.is_urgent() {
            self.wake.notify_all();
        }
        JournalRecord { from: state.from, synced: state.synced, sequence: state.appended }
    }

    /// The journal does not have every change any more. Changes go on without it.
    pub fn fail(&self, doing: &'static str, error: &io::Error) {
        add(&self.counters.journal_failures, 1);
        tracing::error!(%error, doing, "the journal cannot be written; changes go on without it for now");
        let mut state = self.lock();
        state.failed = Some(Instant::now());
        state.unsynced.clear();
        state.unsynced_bytes = 0;
        self.publish(&state);
        self.wake.notify_all();
    }

    /// Some time after a failure the log goes on, with a hole; a base will fill it.
    pub fn recover_if_due(&self) {
        let mut state = self.lock();
        if state.failed.is_some_and(|at| at.elapsed() >= RETRY_AFTER) {
            state.failed = None;
            state.sequence += 1;
            (state.appended, state.synced) = (state.sequence, state.sequence);
            state.from = state.sequence + 1;
            state.rotate = true;
            tracing::info!("the journal is taken up again");
        }
    }

    /// A base was finished.
    pub fn based(&self, sequence: u64, bytes: u64, (log_bytes, log_files): (u64, usize)) {
        add(&self.counters.journal_bases, 1);
        let mut state = self.lock();
        state.base = Some(sequence);
        state.base_bytes = bytes;
        state.log_bytes = log_bytes;
        state.log_files = log_files;
        self.publish(&state);
    }
}

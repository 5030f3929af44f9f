//! The journal: a second home for everything the index has that nothing else on the disk tells.
//!
//! In: each group of changes, on its way into the index. Out: files from which an index can be made
//! again (`rebuild`). What has become true: when a change is acknowledged, the operating system has
//! it for the journal as well, so it survives the end of the process; after at most [`SYNC_PERIOD`] it
//! is durable. Nobody waits for that: the index is durable by itself.
//!
//! The journal is a base (all tables after some change) and a log (the changes after it). When the log
//! is longer than the base, a new base is written in the background. It has the tables that cannot be
//! derived; holders, bindings, sizes and garbage can.
//!
//! That of a new store has a base of nothing from the first moment, so that its log counts.
//!
//! A journal that cannot be written stops nothing. The index then does not say any more how far the
//! journal is, and the next base makes it whole again.

mod appender;
mod base;
mod frame;
mod history;
mod keeper;
mod opening;
mod segment;
mod shared;
mod shelf;

use std::{
    path::Path,
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

pub(crate) use appender::Appender;
pub(crate) use frame::Entry;
pub(crate) use history::{History, Replayed, Take};
#[cfg(feature = "rocks")]
pub(crate) use shelf::has_content;

use self::{
    keeper::Keeper,
    shared::{Shared, Standing},
};
use crate::{
    EdgeKind,
    environment::Environment,
    error::{Error, Result},
    format::keys,
    index::{Index, Table},
    statistics::Counters,
};

/// The journal's directory below the root.
pub(crate) const DIRECTORY: &str = "journal";

/// The journal of an open store.
pub(crate) struct Journal {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Opens the journal of an index that nobody writes yet, or begins one. Blocks on the disk. The
    /// appender is for who writes the index.
    pub fn open(
        index: Arc<dyn Index>,
        directory: &Path,
        environment: &Arc<dyn Environment>,
        counters: Arc<Counters>,
    ) -> Result<(Journal, Appender)> {
        let state = opening::open(&*index, directory, environment)?;
        let shared = Shared::new(directory.to_owned(), environment.clone(), counters, state);
        let keeper = Keeper { shared: shared.clone(), index };
        keeper.begin()?;
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || keeper.run())
            .map_err(|source| Error::io("starting the journal's thread", source))?;
        let appender = Appender::new(shared.clone());
        Ok((Journal { shared, thread: Mutex::new(Some(thread)) }, appender))
    }

    /// Waits until the journal is whole and has, durably, every change that was visible before.
    /// Errors: it failed, or is closed.
    pub async fn settled(&self) -> Result<()> {
        let mut standing = self.shared.watch();
        let target = self.shared.lock().appended;
        self.shared.urge(|state| state.hurry = true);
        let is_over = |standing: &Standing| {
            standing.has_failed || standing.is_closed || (standing.is_whole && standing.synced >= target)
        };
        // The sender lives as long as `self`.
        let reached =
            standing.wait_for(is_over).await.is_ok_and(|standing| !standing.has_failed && !standing.is_closed);
        match reached {
            true => Ok(()),
            false => Err(Error::Stopped { reason: "the journal is not being written".to_owned() }),
        }
    }

    /// Whether base and log together have every change, apart from what is not synced yet.
    pub fn is_whole(&self) -> bool {
        self.shared.lock().is_whole()
    }

    /// Makes everything durable and ends the thread. May block. To be called when nothing is
    /// appended any more.
    pub fn close(&self) {
        self.shared.urge(|state| state.closing = true);
        let thread = self.thread.lock().expect("no panic holds it").take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the journal's thread panicked");
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

/// Whether a row belongs into the journal: whether the rest could not tell what it says.
pub(crate) fn is_journaled(table: Table, key: &[u8]) -> bool {
    match table {
        Table::Meta => key == keys::EPOCH || key == keys::CLOCK,
        Table::Blobs
        | Table::Bytes
        | Table::Members
        | Table::Namespaces
        | Table::Names
        | Table::Edges
        | Table::Usage
        | Table::Damaged => true,
        // Only what refers has a payload; the rest is `Edges` reversed.
        Table::Reverse => keys::edge_kind(key) == Some(EdgeKind::Refers),
        // Derived, or of uploads, which begin anew.
        Table::Holders | Table::Bindings | Table::Uploads | Table::Garbage | Table::Sizes => false,
    }
}

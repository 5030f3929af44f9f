//! The journal's own thread: syncs the log, writes new bases, tries again after failures.

use std::{mem, sync::Arc};

use super::{
    base::{self, Written},
    shared::Shared,
    shelf::{self, Shelf},
};
use crate::{
    error::Result,
    index::{Index, Table},
    store::index_error,
};

pub(super) struct Keeper {
    pub shared: Arc<Shared>,
    pub index: Arc<dyn Index>,
}

impl Keeper {
    /// Before the first change of a store: without a base nobody could tell that its log is all there is, if the index
    /// were lost before there is one. Errors: the index can't be read.
    pub fn begin(&self) -> Result<()> {
        let is_new = {
            let state = self.shared.lock();
            state.sequence == 0 && state.base.is_none()
        };
        if is_new && self.is_index_empty()? {
            self.write_base();
        }
        Ok(())
    }

    fn is_index_empty(&self) -> Result<bool> {
        let snapshot = self.index.snapshot();
        for table in Table::ALL.into_iter().filter(|table| *table != Table::Meta) {
            if !snapshot.scan(table, &[], None, 1).map_err(index_error)?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Works until the journal is closed; then the log is durable.
    pub fn run(self) {
        loop {
            let closing = self.shared.wait_for_work();
            self.sync();
            if closing {
                break;
            }
            self.shared.recover_if_due();
            if self.shared.lock().wants_base() {
                self.write_base();
            }
        }
        self.shared.closed();
    }

    /// Makes durable what was appended until now.
    pub fn sync(&self) {
        let (files, has_new_name, sequence) = {
            let mut state = self.shared.lock();
            // The last one goes on being written; it comes back with the next change.
            state.unsynced_bytes = 0;
            (mem::take(&mut state.unsynced), mem::take(&mut state.has_new_name), state.appended)
        };
        let synced = files.iter().try_for_each(|file| file.sync_data());
        let synced = synced.and_then(|()| match has_new_name {
            true => shelf::sync_directory(&self.shared.directory),
            false => Ok(()),
        });
        match synced {
            Ok(()) => {
                let mut state = self.shared.lock();
                if state.failed.is_none() {
                    state.synced = sequence;
                }
                self.shared.publish(&state);
            }
            // What became of the bytes is unknown, so they are given up.
            Err(error) => self.shared.fail("syncing the log", &error),
        }
    }

    fn write_base(&self) {
        match base::write(self) {
            Ok(Written::Base { sequence, bytes }) => self.replace(sequence, bytes),
            // The index has not been told yet how far the log is, or the store is being closed.
            Ok(Written::NotYet) => {}
            Err(error) => self.shared.fail("writing a base", &error),
        }
    }

    /// Removes what a new base takes the place of.
    fn replace(&self, sequence: u64, bytes: u64) {
        let directory = &self.shared.directory;
        let removed = Shelf::read(directory).and_then(|shelf| shelf.remove_superseded());
        if let Err(error) = removed {
            tracing::warn!(%error, "old files of the journal stay until its next base");
        }
        let log_size = Shelf::read(directory).map_or((0, 0), |shelf| shelf.log_size());
        self.shared.based(sequence, bytes, log_size);
        tracing::info!(sequence, bytes, "the journal has a new base");
    }
}

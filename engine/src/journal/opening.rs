//! Where the journal of a store that is being opened stands, compared with its index.
//!
//! The index says which change it has last ([`JournalRecord`]), and the log is read from the last
//! one that was known to be synced. A log that goes further has changes that the index lost in a power
//! cut: they are cut off. A log that ends earlier lost its own end the same way: a new base makes up for it.

use std::{path::Path, sync::Arc};

use super::{
    segment::{self, Header, Kind, Piece, Segment},
    shared::State,
    shelf::{self, Shelf},
};
use crate::{
    commit::decoded,
    environment::Environment,
    error::{Error, Result},
    format::{JournalRecord, keys},
    index::{Changes, Durability, Index, Table},
    store::index_error,
};

/// Finds out where the journal stands, and says so in the index. Blocks on the disk.
pub(super) fn open(index: &dyn Index, directory: &Path, environment: &Arc<dyn Environment>) -> Result<State> {
    let failed = |source| Error::io("opening the journal", source);
    shelf::make_directory(directory).map_err(failed)?;
    shelf::remove_unfinished(directory).map_err(failed)?;
    let shelf = Shelf::read(directory).map_err(failed)?;
    let before = index.get(Table::Meta, keys::JOURNAL).map_err(index_error)?;
    let before = before.map(|bytes| decoded(JournalRecord::decode(&bytes))).transpose()?;
    let (record, cut) = stand(&shelf, before);
    let mut next_ordinal = shelf.next_ordinal();
    if cut {
        // Durable before anything is appended, or a crash could bring the old end back behind it.
        let header =
            Header { kind: Kind::Log, part: 0, sequence: record.sequence + 1, salt: environment.random() as u64 };
        let path = shelf::log_path(directory, next_ordinal, header.sequence);
        next_ordinal += 1;
        let file = segment::create(&path, &header).map_err(failed)?;
        file.sync_all().and_then(|()| shelf::sync_directory(directory)).map_err(failed)?;
    }
    if before != Some(record) {
        let writes = vec![(Table::Meta, keys::JOURNAL.to_vec(), Some(record.encode()))];
        // Whatever is synced next makes it durable; without it, the next opening decides the same.
        index.write(&Changes { conditions: Vec::new(), writes }, Durability::Buffered).map_err(index_error)?;
    }
    let base_bytes = shelf.base().map(|base| shelf::base_bytes(&base.path)).transpose().map_err(failed)?;
    let (log_bytes, log_files) = shelf.log_size();
    Ok(State {
        sequence: record.sequence,
        appended: record.sequence,
        from: record.from,
        synced: record.synced,
        base: shelf.base().map(|base| base.sequence),
        base_bytes: base_bytes.unwrap_or(0),
        log_bytes,
        log_files,
        next_ordinal,
        unsynced: Vec::new(),
        unsynced_bytes: 0,
        has_new_name: false,
        rotate: false,
        failed: None,
        hurry: false,
        closing: false,
    })
}

/// What the index is to say of the journal, and whether the log has changes after that.
fn stand(shelf: &Shelf, before: Option<JournalRecord>) -> (JournalRecord, bool) {
    let newest_base = shelf.base().map_or(0, |base| base.sequence);
    match before {
        Some(record) if newest_base <= record.sequence => {
            let verified = record.synced.max(newest_base).max(record.from.saturating_sub(1)).min(record.sequence);
            let tail = Tail::read(shelf, verified);
            let is_whole = tail.reaches >= record.sequence;
            let from = if is_whole { record.from } else { record.sequence + 1 };
            if !is_whole {
                tracing::info!(
                    expected = record.sequence,
                    found = tail.reaches,
                    "the end of the journal is missing; it gets a new base"
                );
            }
            (JournalRecord { from, synced: record.sequence, ..record }, tail.highest > record.sequence)
        }
        // A journal of another time: of a store from before its index was restored from a copy,
        // or was rebuilt. Numbers go on behind all of it, and a new base takes its place.
        before => {
            let highest = before.map_or(0, |record| record.sequence).max(newest_base);
            let sequence = Tail::read(shelf, 0).highest.max(highest);
            let sequence = if sequence > 0 { sequence + 1 } else { 0 };
            (JournalRecord { from: sequence + 1, synced: sequence, sequence }, false)
        }
    }
}

/// What the log has after a change.
struct Tail {
    /// The last change before the first one that is missing.
    reaches: u64,
    /// The last change that counts.
    highest: u64,
}

impl Tail {
    /// Reads the files of the log that have changes after `verified`, and its last one.
    fn read(shelf: &Shelf, verified: u64) -> Self {
        let mut tail = Tail { reaches: verified, highest: 0 };
        for (at, log) in shelf.logs.iter().enumerate() {
            tail.highest = tail.highest.max(log.first.saturating_sub(1));
            if log.limit <= verified + 1 && at + 1 < shelf.logs.len() {
                continue;
            }
            let segment = match Segment::read(&log.path) {
                Ok(segment) => segment,
                Err(error) => {
                    tracing::warn!(path = %log.path.display(), %error, "a file of the journal cannot be read");
                    continue;
                }
            };
            for piece in segment.pieces() {
                let Piece::Frame(frame) = piece else { continue };
                if frame.sequence < log.limit {
                    tail.reaches += u64::from(frame.sequence == tail.reaches + 1);
                    tail.highest = tail.highest.max(frame.sequence);
                }
            }
        }
        tail
    }
}

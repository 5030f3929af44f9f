//! The journal's rows into the index, in their order: later ones win.

use super::{Phase, Progress, Report, unknown_row, writer::Writer};
use crate::{
    Digest,
    error::Result,
    index::{Index, Table},
    journal::{Entry, History, Replayed, Take, is_journaled},
};

pub(super) fn replay(
    index: &dyn Index,
    history: &History,
    report: &mut Report,
    on: &mut (dyn FnMut(Progress) + Send),
) -> Result<Replayed> {
    let mut replay = Replay { writer: Writer::new(index), report, on, done: 0, total: history.bytes };
    let replayed = history.replay(&mut replay)?;
    replay.writer.flush()?;
    Ok(replayed)
}

struct Replay<'a> {
    writer: Writer<'a>,
    report: &'a mut Report,
    on: &'a mut (dyn FnMut(Progress) + Send),
    done: u64,
    total: u64,
}

impl Take for Replay<'_> {
    fn entry(&mut self, entry: Entry<'_>) -> Result<()> {
        if !is_known(entry.table, entry.key) {
            self.report.find(unknown_row(entry.table, entry.key));
            return Ok(());
        }
        self.writer.write(entry.table, entry.key.to_vec(), entry.value.map(<[u8]>::to_vec))
    }

    fn progress(&mut self, bytes: u64) {
        self.done += bytes;
        (self.on)(Progress { phase: Phase::Journal, done: self.done, total: self.total });
    }
}

/// Whether a row is one that a journal may have, and one that is found again: content is gone through by its
/// digests, and rows of it under anything else would stay unseen. Rows of other tables are all looked at.
fn is_known(table: Table, key: &[u8]) -> bool {
    match table {
        Table::Blobs | Table::Bytes => matches!(Digest::decode(key), Some((_, []))),
        _ => is_journaled(table, key),
    }
}

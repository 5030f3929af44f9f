//! The journal's rows into the index, in their order: later ones win.

use super::{Phase, Progress, writer::Writer};
use crate::{
    error::Result,
    index::Index,
    journal::{Entry, History, Replayed, Take},
};

pub(super) fn replay(index: &dyn Index, history: &History, on: &mut (dyn FnMut(Progress) + Send)) -> Result<Replayed> {
    let mut replay = Replay { writer: Writer::new(index), on, done: 0, total: history.bytes };
    let replayed = history.replay(&mut replay)?;
    replay.writer.flush()?;
    Ok(replayed)
}

struct Replay<'a> {
    writer: Writer<'a>,
    on: &'a mut (dyn FnMut(Progress) + Send),
    done: u64,
    total: u64,
}

impl Take for Replay<'_> {
    fn entry(&mut self, entry: Entry<'_>) -> Result<()> {
        self.writer.write(entry.table, entry.key.to_vec(), entry.value.map(<[u8]>::to_vec))
    }

    fn progress(&mut self, bytes: u64) {
        self.done += bytes;
        (self.on)(Progress { phase: Phase::Journal, done: self.done, total: self.total });
    }
}

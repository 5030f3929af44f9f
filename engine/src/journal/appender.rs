//! Writing changes into the log, on the commit thread.
//!
//! In: the changes of a group, before the index gets them. Out: the same changes, and with them what
//! the index is to remember of the journal. What has become true: the operating system has the frame,
//! so that it survives the end of the process; the keeper makes it durable.

use std::{fs::File, io, io::Write, sync::Arc};

use super::{
    frame::{Entry, Framing},
    is_journaled,
    segment::{self, HEADER_BYTES, Header, Kind, SEGMENT_BYTES_MAX},
    shared::Shared,
    shelf,
};
use crate::{
    commit::Overlay,
    format::{JournalRecord, keys},
    index::Table,
};

/// Memory for a frame that is kept from one group to the next.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// The end of the log.
pub(crate) struct Appender {
    shared: Arc<Shared>,
    framing: Framing,
    segment: Option<Open>,
}

/// The file that is being written.
struct Open {
    file: Arc<File>,
    salt: u64,
    bytes: u64,
}

impl Appender {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Appender { shared, framing: Framing::default(), segment: None }
    }

    /// Appends what of a group belongs into the journal, and adds to the group how far the journal
    /// is. A journal that cannot be written stops nothing: the group then says that there is none.
    pub fn append(&mut self, group: &mut Overlay) {
        self.framing.begin();
        for ((table, key), value) in group.iter().filter(|((table, key), _)| is_journaled(*table, key)) {
            self.framing.push(Entry { table: *table, key, value: value.as_deref() });
        }
        if self.framing.is_empty() {
            return;
        }
        let record = self.write_numbered();
        if self.framing.len() > KEPT_BYTES_MAX {
            self.framing = Framing::default();
        }
        group.insert((Table::Meta, keys::JOURNAL.to_vec()), record.map(|record| record.encode()));
    }

    fn write_numbered(&mut self) -> Option<JournalRecord> {
        let Some((sequence, rotate)) = self.shared.number() else {
            self.segment = None;
            return None;
        };
        if rotate || self.segment.as_ref().is_some_and(|segment| segment.bytes >= SEGMENT_BYTES_MAX) {
            self.segment = None;
        }
        match self.write(sequence) {
            Ok(record) => Some(record),
            Err(error) => {
                // Half a frame may be at its end.
                self.segment = None;
                self.shared.fail("appending a change", &error);
                None
            }
        }
    }

    fn write(&mut self, sequence: u64) -> io::Result<JournalRecord> {
        let is_new = self.segment.is_none();
        let segment = match &mut self.segment {
            Some(segment) => segment,
            None => self.segment.insert(Open::create(&self.shared, sequence)?),
        };
        let frame = self.framing.finish(sequence, segment.salt);
        let frame = frame.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a group larger than a frame"))?;
        (&*segment.file).write_all(frame)?;
        let bytes = frame.len() as u64 + if is_new { HEADER_BYTES as u64 } else { 0 };
        segment.bytes += bytes;
        Ok(self.shared.appended(&segment.file, bytes, is_new))
    }
}

impl Open {
    fn create(shared: &Shared, sequence: u64) -> io::Result<Self> {
        let salt = shared.environment.random() as u64;
        let path = shelf::log_path(&shared.directory, shared.ordinal(), sequence);
        let file = segment::create(&path, &Header { kind: Kind::Log, part: 0, sequence, salt })?;
        Ok(Open { file: Arc::new(file), salt, bytes: 0 })
    }
}

//! A base: the journal's tables as they stood after some change, so that older changes may go.
//!
//! It is read from one snapshot of the index, in the background and at a bounded rate, and gets its
//! name when it is whole and durable, and everything in it is durable in the index as well.

use std::{fs, fs::File, io, io::Write, path::PathBuf, time::Duration, time::Instant};

use super::{
    frame::{Entry, Framing},
    is_journaled,
    keeper::Keeper,
    segment::{self, Header, Kind, SEGMENT_BYTES_MAX},
    shared::SYNC_PERIOD,
    shelf,
};
use crate::{
    format::{JournalRecord, keys},
    index::{Changes, Durability, IndexError, Snapshot, Table},
};

/// How fast a base is written at most, so that requests keep the disk.
const BYTES_PER_SECOND_MAX: u64 = 64 << 20;

/// A frame is closed when it has so many bytes.
const FRAME_BYTES: usize = 1 << 20;

/// Rows that are in memory at a time. One has 64 KiB at most, if it is not larger than usual.
const PAGE_ROWS: usize = 64;

/// What became of a base.
pub(super) enum Written {
    /// Its last change, and its bytes.
    Base { sequence: u64, bytes: u64 },
    /// The journal is being closed, or the index does not know the log yet.
    NotYet,
}

pub(super) fn write(keeper: &Keeper) -> io::Result<Written> {
    let snapshot = keeper.index.snapshot();
    let record = snapshot.get(Table::Meta, keys::JOURNAL).map_err(io_error)?;
    let record = record.and_then(|bytes| JournalRecord::decode(&bytes).ok());
    let (sequence, directory) = {
        let mut state = keeper.shared.lock();
        match record {
            Some(record) if record.from >= state.from => {
                // Files of the log that end here can go with the old base.
                state.rotate = true;
                (record.sequence, keeper.shared.directory.clone())
            }
            _ => return Ok(Written::NotYet),
        }
    };
    shelf::remove_unfinished(&directory)?;
    let unfinished = shelf::unfinished_path(&directory);
    shelf::make_directory(&unfinished)?;
    let mut writer = Writer::new(keeper, unfinished.clone(), sequence);
    for key in [keys::EPOCH, keys::CLOCK] {
        if let Some(value) = snapshot.get(Table::Meta, key).map_err(io_error)? {
            writer.push(Entry { table: Table::Meta, key, value: Some(&value) })?;
        }
    }
    for table in Table::ALL {
        if table != Table::Meta && writer.table(&*snapshot, table)? == Flow::Stop {
            return Ok(Written::NotYet);
        }
    }
    let bytes = writer.finish()?;
    shelf::sync_directory(&unfinished)?;
    // What the snapshot saw may be newer than the last sync of the index.
    keeper.index.write(&Changes::default(), Durability::Synced).map_err(io_error)?;
    fs::rename(&unfinished, shelf::base_path(&directory, sequence))?;
    shelf::sync_directory(&directory)?;
    Ok(Written::Base { sequence, bytes })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Continue,
    Stop,
}

/// Writes the parts of a base.
struct Writer<'a> {
    keeper: &'a Keeper,
    path: PathBuf,
    sequence: u64,
    salt: u64,
    framing: Framing,
    part: Option<(File, u64)>,
    next_part: u32,
    bytes: u64,
    begun: Instant,
    synced: Instant,
}

impl<'a> Writer<'a> {
    fn new(keeper: &'a Keeper, path: PathBuf, sequence: u64) -> Self {
        let (salt, now) = (keeper.shared.environment.random() as u64, Instant::now());
        let mut framing = Framing::default();
        framing.begin();
        Writer { keeper, path, sequence, salt, framing, part: None, next_part: 0, bytes: 0, begun: now, synced: now }
    }

    fn table(&mut self, snapshot: &dyn Snapshot, table: Table) -> io::Result<Flow> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = snapshot.scan(table, &[], after.as_deref(), PAGE_ROWS).map_err(io_error)?;
            for (key, value) in &rows {
                if !is_journaled(table, key) {
                    continue;
                }
                self.push(Entry { table, key, value: Some(value) })?;
                if self.framing.len() >= FRAME_BYTES {
                    self.frame()?;
                    if self.pause() == Flow::Stop {
                        return Ok(Flow::Stop);
                    }
                }
            }
            if rows.len() < PAGE_ROWS {
                return Ok(Flow::Continue);
            }
            after = rows.into_iter().next_back().map(|(key, _)| key);
        }
    }

    fn push(&mut self, entry: Entry<'_>) -> io::Result<()> {
        self.framing.push(entry);
        Ok(())
    }

    /// Writes the frame out and begins the next one.
    fn frame(&mut self) -> io::Result<()> {
        let (mut file, before) = match self.part.take() {
            Some(part) => part,
            None => (self.begin_part()?, 0),
        };
        let frame = self.framing.finish(self.sequence, self.salt);
        let frame = frame.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a row larger than a frame"))?;
        file.write_all(frame)?;
        let bytes = frame.len() as u64;
        self.bytes += bytes;
        self.framing.begin();
        if before + bytes >= SEGMENT_BYTES_MAX {
            return file.sync_data();
        }
        self.part = Some((file, before + bytes));
        Ok(())
    }

    fn begin_part(&mut self) -> io::Result<File> {
        let part = self.next_part;
        self.next_part += 1;
        let header = Header { kind: Kind::Base, part, sequence: self.sequence, salt: self.salt };
        segment::create(&shelf::part_path(&self.path, part), &header)
    }

    /// Keeps the rate, and the log synced meanwhile.
    fn pause(&mut self) -> Flow {
        let due = Duration::from_secs_f64(self.bytes as f64 / BYTES_PER_SECOND_MAX as f64);
        let closing = self.keeper.shared.pause(due.saturating_sub(self.begun.elapsed()));
        let is_urgent = self.keeper.shared.lock().is_urgent();
        if is_urgent || self.synced.elapsed() >= SYNC_PERIOD {
            self.keeper.sync();
            self.synced = Instant::now();
        }
        if closing { Flow::Stop } else { Flow::Continue }
    }

    /// The last frame with rows, and the empty one that ends the base.
    fn finish(mut self) -> io::Result<u64> {
        if !self.framing.is_empty() {
            self.frame()?;
        }
        self.frame()?;
        if let Some((file, _)) = self.part {
            file.sync_data()?;
        }
        Ok(self.bytes)
    }
}

/// A failing index ends this base; it has its own way of telling everybody.
fn io_error(error: IndexError) -> io::Error {
    io::Error::other(error)
}

//! Reading the journal from its beginning, for who makes an index out of it.
//!
//! In: the directory of a journal that nobody writes. Out: the entries of its base, then those of the
//! changes after it, in order. Everything that can be read is given; what cannot is told.

use std::path::Path;

use super::{
    frame::{Entry, Frame},
    segment::{HEADER_BYTES, Kind, Piece, Segment},
    shelf::{self, BaseFiles, LogFile, Shelf},
};
use crate::error::{Error, Result};

/// Flaws that are kept with their text; the rest is counted.
const FLAWS_MAX: usize = 1_000;

/// A journal that nobody writes.
pub(crate) struct History {
    shelf: Shelf,
    /// Bytes of all its files that count.
    pub bytes: u64,
}

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    /// The last change that was found.
    pub sequence: u64,
    /// The last change of the base.
    pub base: Option<u64>,
    /// What could not be read, and what that means.
    pub flaws: Vec<String>,
    /// Flaws beyond those kept.
    pub flaws_more: u64,
}

/// Who takes what the journal says.
pub(crate) trait Take {
    fn entry(&mut self, entry: Entry<'_>) -> Result<()>;

    /// So many bytes of the journal were read.
    fn progress(&mut self, bytes: u64);
}

impl History {
    /// Looks which files there are. Errors: the directory cannot be read.
    pub fn open(directory: &Path) -> Result<Self> {
        let failed = |source| Error::io("reading the journal", source);
        let shelf = Shelf::read(directory).map_err(failed)?;
        let base = shelf.base().map(|base| shelf::base_bytes(&base.path)).transpose().map_err(failed)?;
        let bytes = base.unwrap_or(0) + shelf.log_size().0;
        Ok(History { shelf, bytes })
    }

    /// Whether there is a base: without one, only changes since some day are known.
    pub fn has_base(&self) -> bool {
        self.shelf.base().is_some()
    }

    #[cfg(feature = "rocks")]
    pub fn is_empty(&self) -> bool {
        self.shelf.bases.is_empty() && self.shelf.logs.is_empty()
    }

    /// Gives everything to `take`. Errors: those of `take`.
    pub fn replay(&self, take: &mut dyn Take) -> Result<Replayed> {
        let mut replay = Replay { take, replayed: Replayed::default() };
        if let Some(base) = self.shelf.base() {
            replay.base(base)?;
        }
        for log in &self.shelf.logs {
            replay.log(log)?;
        }
        Ok(replay.replayed)
    }
}

struct Replay<'a> {
    take: &'a mut dyn Take,
    replayed: Replayed,
}

impl Replay<'_> {
    fn base(&mut self, base: &BaseFiles) -> Result<()> {
        (self.replayed.base, self.replayed.sequence) = (Some(base.sequence), base.sequence);
        let paths = shelf::parts(&base.path).map_err(|source| Error::io("reading the journal", source))?;
        let mut has_end = false;
        for (part, path) in (0u32..).zip(&paths) {
            if *path != shelf::part_path(&base.path, part) {
                self.flaw(format!("{}: part {part} is missing", base.path.display()));
                // The others have rows all the same.
            }
            let Some(segment) = self.read(path) else { continue };
            if segment.header.is_none_or(|header| header.kind != Kind::Base || header.sequence != base.sequence) {
                self.flaw(format!("{}: its header is damaged, so nothing in it can be read", path.display()));
                continue;
            }
            for piece in segment.pieces() {
                match piece {
                    Piece::Frame(frame) => {
                        has_end |= frame.is_end();
                        self.frame(path, &frame)?;
                    }
                    Piece::Damage { offset, bytes } => {
                        self.flaw(format!("{}: {bytes} bytes at offset {offset} are damaged", path.display()));
                    }
                }
            }
        }
        if !has_end {
            self.flaw(format!("{}: its end is missing", base.path.display()));
        }
        Ok(())
    }

    fn log(&mut self, log: &LogFile) -> Result<()> {
        let done = self.replayed.sequence;
        if log.limit <= done + 1 {
            return Ok(());
        }
        let Some(segment) = self.read(&log.path) else { return Ok(()) };
        // A shorter one is what a crash leaves of a file that was just begun.
        if segment.header.is_none() && segment.len() >= HEADER_BYTES as u64 {
            self.flaw(format!("{}: its header is damaged, so nothing in it can be read", log.path.display()));
        }
        for piece in segment.pieces() {
            // Damage shows in numbers that are missing. At the end of a file it is only what a crash cut off.
            let Piece::Frame(frame) = piece else { continue };
            let last = self.replayed.sequence;
            if frame.sequence <= last || frame.sequence >= log.limit {
                continue;
            }
            let is_first = last == 0 && self.replayed.base.is_none();
            if frame.sequence > last + 1 && !is_first {
                let missing = (last + 1, frame.sequence - 1);
                self.flaw(format!("changes {} to {} are missing before {}", missing.0, missing.1, log.path.display()));
            }
            self.replayed.sequence = frame.sequence;
            self.frame(&log.path, &frame)?;
        }
        Ok(())
    }

    fn frame(&mut self, path: &Path, frame: &Frame<'_>) -> Result<()> {
        for entry in frame.entries() {
            match entry {
                Some(entry) => self.take.entry(entry)?,
                None => self.flaw(format!(
                    "{}: change {} has an entry of an unknown kind; it was written by a newer version",
                    path.display(),
                    frame.sequence
                )),
            }
        }
        Ok(())
    }

    fn read(&mut self, path: &Path) -> Option<Segment> {
        match Segment::read(path) {
            Ok(segment) => {
                self.take.progress(segment.len());
                Some(segment)
            }
            Err(error) => {
                self.flaw(format!("{} cannot be read: {error}", path.display()));
                None
            }
        }
    }

    fn flaw(&mut self, what: String) {
        if self.replayed.flaws.len() < FLAWS_MAX {
            self.replayed.flaws.push(what);
        } else {
            self.replayed.flaws_more += 1;
        }
    }
}

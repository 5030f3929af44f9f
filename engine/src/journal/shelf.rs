//! The journal's directory: which files there are, and in which order they count.
//!
//! ```text
//!   base-SEQUENCE/PART       all tables after a change, in parts; whole, or the directory is called `new`
//!   log-ORDINAL-SEQUENCE     the changes from SEQUENCE on; files follow each other by ORDINAL
//! ```
//!
//! All numbers have 16 hexadecimal digits.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// A base that is being written.
const UNFINISHED: &str = "new";

/// A base with its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BaseFiles {
    /// The last change it has.
    pub sequence: u64,
    pub path: PathBuf,
}

/// A file of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogFile {
    /// Later files have greater ones.
    pub ordinal: u64,
    /// The number of its first frame.
    pub first: u64,
    /// Frames from this number on do not count: a later file begins there.
    pub limit: u64,
    pub path: PathBuf,
    pub bytes: u64,
}

/// What lies in the directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shelf {
    /// The newest one last.
    pub bases: Vec<BaseFiles>,
    /// In the order in which they were begun.
    pub logs: Vec<LogFile>,
}

impl Shelf {
    /// Looks into the directory; one that does not exist is empty. Foreign names are left alone.
    pub fn read(directory: &Path) -> io::Result<Self> {
        let mut shelf = Shelf::default();
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(shelf),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let (name, path) = (entry.file_name(), entry.path());
            let Some(name) = name.to_str() else { continue };
            if let Some(sequence) = name.strip_prefix("base-").and_then(number) {
                shelf.bases.push(BaseFiles { sequence, path });
            } else if let Some((ordinal, first)) = name.strip_prefix("log-").and_then(|rest| rest.split_once('-'))
                && let (Some(ordinal), Some(first)) = (number(ordinal), number(first))
            {
                let bytes = entry.metadata()?.len();
                shelf.logs.push(LogFile { ordinal, first, limit: u64::MAX, path, bytes });
            }
        }
        shelf.bases.sort_by_key(|base| base.sequence);
        shelf.logs.sort_by_key(|log| log.ordinal);
        let mut limit = u64::MAX;
        for log in shelf.logs.iter_mut().rev() {
            log.limit = limit;
            limit = limit.min(log.first);
        }
        Ok(shelf)
    }

    /// The base that counts.
    pub fn base(&self) -> Option<&BaseFiles> {
        self.bases.last()
    }

    pub fn next_ordinal(&self) -> u64 {
        self.logs.last().map_or(1, |log| log.ordinal + 1)
    }

    /// Bytes and number of the files of the log that count beside the base.
    pub fn log_size(&self) -> (u64, usize) {
        let after = self.base().map_or(0, |base| base.sequence + 1);
        let counting = self.logs.iter().filter(|log| log.limit > after);
        counting.fold((0, 0), |(bytes, files), log| (bytes + log.bytes, files + 1))
    }

    /// Removes what the newest base has taken the place of. What is left half removed by a crash is
    /// removed the next time.
    pub fn remove_superseded(&self) -> io::Result<()> {
        let Some((newest, older)) = self.bases.split_last() else { return Ok(()) };
        for base in older {
            fs::remove_dir_all(&base.path)?;
        }
        for log in self.logs.iter().filter(|log| log.limit <= newest.sequence + 1) {
            fs::remove_file(&log.path)?;
        }
        Ok(())
    }
}

fn number(digits: &str) -> Option<u64> {
    let plain = digits.len() == 16 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

pub(super) fn log_path(directory: &Path, ordinal: u64, first: u64) -> PathBuf {
    directory.join(format!("log-{ordinal:016x}-{first:016x}"))
}

pub(super) fn base_path(directory: &Path, sequence: u64) -> PathBuf {
    directory.join(format!("base-{sequence:016x}"))
}

pub(super) fn unfinished_path(directory: &Path) -> PathBuf {
    directory.join(UNFINISHED)
}

pub(super) fn part_path(base: &Path, part: u32) -> PathBuf {
    base.join(format!("{part:016x}"))
}

/// The parts of a base in their order.
pub(super) fn parts(base: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(base)?.map(|entry| Ok(entry?.path()));
    let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Bytes of a base.
pub(super) fn base_bytes(base: &Path) -> io::Result<u64> {
    parts(base)?.iter().map(|path| Ok(fs::metadata(path)?.len())).sum()
}

/// Whether the journal at `directory` has anything: more than a header.
#[cfg(feature = "rocks")]
pub(crate) fn has_content(directory: &Path) -> io::Result<bool> {
    let shelf = Shelf::read(directory)?;
    Ok(!shelf.bases.is_empty() || shelf.logs.iter().any(|log| log.bytes > super::segment::HEADER_BYTES as u64))
}

/// Makes a directory, and its name durable. One that is there stays.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_directory),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes a base that was not finished.
pub(super) fn remove_unfinished(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(unfinished_path(directory)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: PathBuf) {
        fs::write(path, [0; 100]).expect("written");
    }

    #[test]
    fn files_count_up_to_where_a_later_one_begins() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = directory.path();
        assert_eq!(Shelf::read(&at.join("none")).expect("empty"), Shelf::default());
        // The third was begun after changes from 5 on had been lost.
        for (ordinal, first) in [(1, 1), (2, 4), (3, 5), (10, 9)] {
            touch(log_path(at, ordinal, first));
        }
        touch(at.join("log-1-2"));
        touch(at.join("other"));
        fs::create_dir(base_path(at, 3)).expect("made");
        fs::create_dir(base_path(at, 4)).expect("made");
        let shelf = Shelf::read(at).expect("readable");
        let seen: Vec<_> = shelf.logs.iter().map(|log| (log.first, log.limit)).collect();
        assert_eq!(seen, [(1, 4), (4, 5), (5, 9), (9, u64::MAX)]);
        assert_eq!(shelf.base().map(|base| base.sequence), Some(4));
        assert_eq!((shelf.next_ordinal(), shelf.log_size()), (11, (200, 2)));

        shelf.remove_superseded().expect("removed");
        let left = Shelf::read(at).expect("readable");
        assert_eq!(left.bases.len(), 1);
        assert_eq!(left.logs.iter().map(|log| log.first).collect::<Vec<_>>(), [5, 9]);
    }
}

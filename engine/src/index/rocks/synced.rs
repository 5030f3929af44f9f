//! The highest synced sequence number, recorded beside the database.
//!
//! In: the sequence number of every synced write. Out, at the next start: a number below which
//! nothing may be missing.
//!
//! RocksDB recovers to a point in time: at the first damaged record of its log it stops and drops
//! the rest. After a power cut that is right, the rest was never acknowledged; after a flipped bit
//! it is a silent loss of acknowledged changes. This record tells the two apart. It is written
//! after the log was synced and is itself never synced: an older record on the device only makes
//! the check weaker, never wrong.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// In the directory of the database, which ignores files whose names it does not know.
const FILE_NAME: &str = "synced-sequence";

/// Eight bytes of sequence number and four of CRC32 over them, both little endian. Small enough to
/// lie in one sector, which is written whole or not at all.
const RECORD_BYTES: usize = 12;

/// The open and locked record.
pub(super) struct SyncedSequence {
    file: File,
}

impl SyncedSequence {
    pub(super) fn path(root: &Path) -> PathBuf {
        root.join(FILE_NAME)
    }

    /// The recorded number; `None` when there is no record or no intact one.
    pub(super) fn read(root: &Path) -> io::Result<Option<u64>> {
        let bytes = match fs::read(Self::path(root)) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let sequence = decode(&bytes);
        // It is empty until the first synced write.
        if sequence.is_none() && !bytes.is_empty() {
            tracing::warn!(
                path = %Self::path(root).display(),
                "the record of the synced sequence is damaged; the log is opened without comparing them"
            );
        }
        Ok(sequence)
    }

    /// Opens the record for writing and locks it against every other opener until it is dropped;
    /// an existing one keeps its number. RocksDB has a lock of its own, but takes it only after
    /// the checks that read this record.
    pub(super) fn open(root: &Path) -> Result<Self, TryLockError> {
        let mut options = OpenOptions::new();
        let opened = options.write(true).create(true).truncate(false).open(Self::path(root));
        let file = opened.map_err(TryLockError::Error)?;
        file.try_lock()?;
        Ok(Self { file })
    }

    /// Records that everything up to `sequence` was synced.
    pub(super) fn record(&self, sequence: u64) -> io::Result<()> {
        self.file.write_all_at(&encode(sequence), 0)
    }
}

fn encode(sequence: u64) -> [u8; RECORD_BYTES] {
    let number = sequence.to_le_bytes();
    let mut record = [0; RECORD_BYTES];
    record[..8].copy_from_slice(&number);
    record[8..].copy_from_slice(&crc32fast::hash(&number).to_le_bytes());
    record
}

fn decode(bytes: &[u8]) -> Option<u64> {
    let (number, checksum) = bytes.split_first_chunk::<8>()?;
    let checksum: [u8; 4] = checksum.try_into().ok()?;
    (crc32fast::hash(number) == u32::from_le_bytes(checksum)).then(|| u64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back() {
        for sequence in [0, 1, u64::MAX] {
            assert_eq!(decode(&encode(sequence)), Some(sequence));
        }
    }

    #[test]
    fn an_open_record_is_locked_and_keeps_its_number() {
        let root = tempfile::tempdir().unwrap();
        let first = SyncedSequence::open(root.path()).unwrap();
        first.record(7).unwrap();
        let second = SyncedSequence::open(root.path());
        assert!(matches!(second, Err(TryLockError::WouldBlock)));
        drop(first);
        SyncedSequence::open(root.path()).unwrap();
        assert_eq!(SyncedSequence::read(root.path()).unwrap(), Some(7));
    }

    #[test]
    fn a_damaged_or_short_record_is_no_record() {
        let record = encode(77);
        for at in 0..record.len() {
            let mut damaged = record;
            damaged[at] ^= 1;
            assert_eq!(decode(&damaged), None, "byte {at} was changed");
            assert_eq!(decode(&record[..at]), None, "cut to {at} bytes");
        }
        assert_eq!(decode(&[0; RECORD_BYTES]), None, "zeros after a power cut");
    }
}

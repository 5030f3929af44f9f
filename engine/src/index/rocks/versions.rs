//! A change of the list of files that a power cut tore.
//!
//! In: the directory of a database that nobody has open. Became true: its list of files does not end in a
//! record of which the device has a part only.
//!
//! RocksDB takes a list that ends early for one whose last change was not written, which is right: what rests
//! on a change waits for its sync. But where the file's length reached the device before its bytes, the record
//! is there with zeros in it, and RocksDB refuses to open anything. ext4 without a journal does that. Cut off,
//! it is a list that ends early; that nothing synced is missing then is found out as ever, by the logs that the
//! list names and by [`SyncedSequence`](super::synced::SyncedSequence).

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
};

/// Records lie in blocks of this size; none crosses the end of one (RocksDB's log format).
const BLOCK_BYTES: usize = 32 * 1024;

/// Masked CRC32C, length (16 bits), kind.
const HEADER_BYTES: usize = 7;

/// What a device writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// Fewer zeros than these at the end of a record may be its own.
const ZEROS_MIN: usize = 16;

/// Cuts off the last change of the list of files if only a part of it reached the device.
///
/// Errors: the list can't be read, cut or synced. One that is not there is left to RocksDB to complain of.
pub(super) fn cut_torn_end(root: &Path) -> io::Result<()> {
    let Some((path, bytes)) = read(root)? else { return Ok(()) };
    let Some(end) = torn_at(&bytes) else { return Ok(()) };
    tracing::warn!(
        path = %path.display(),
        cut = bytes.len() - end,
        "the last change of the list of files was torn by a power cut, before anything relied on it; it is cut off"
    );
    cut(&path, end)
}

/// The list of files that counts, and where it is. `None` if it is not there.
fn read(root: &Path) -> io::Result<Option<(PathBuf, Vec<u8>)>> {
    let bytes = match fs::read(root.join("CURRENT")) {
        Ok(name) => name,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let name = String::from_utf8_lossy(&bytes).trim_end().to_owned();
    if !name.starts_with("MANIFEST-") || name.contains('/') {
        return Ok(None);
    }
    let path = root.join(name);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some((path, bytes))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Cuts the list, durably.
fn cut(path: &Path, end: usize) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(end as u64)?;
    file.sync_all()
}

/// Where the last record begins, if it is not intact and has lost sectors.
fn torn_at(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = BLOCK_BYTES - at % BLOCK_BYTES;
        if rest < HEADER_BYTES {
            at += rest;
            continue;
        }
        match record_end(bytes, at)? {
            Ok(end) => at = end,
            // Damage that has an end is followed by something: no power cut left that.
            Err(end) if end < bytes.len() => return None,
            Err(_) => return has_lost_sector(bytes, at).then_some(at),
        }
    }
}

/// Where the record at `at` ends: `Err` if it is not intact. `None` if there is none that says so.
fn record_end(bytes: &[u8], at: usize) -> Option<Result<usize, usize>> {
    let header = bytes.get(at..at + HEADER_BYTES)?;
    let (checksum, rest) = header.split_first_chunk::<4>()?;
    let length = u16::from_le_bytes([rest[0], rest[1]]) as usize;
    let end = at + HEADER_BYTES + length;
    let is_plausible = (1..=4).contains(&rest[2]) && length <= BLOCK_BYTES - HEADER_BYTES - at % BLOCK_BYTES;
    if !is_plausible {
        return None;
    }
    let covered = bytes.get(at + HEADER_BYTES - 1..end)?;
    Some(if masked(crc32c(covered)) == u32::from_le_bytes(*checksum) { Ok(end) } else { Err(end) })
}

/// Whether all that a sector has of the bytes from `from` on is zeros.
fn has_lost_sector(bytes: &[u8], from: usize) -> bool {
    let mut sectors = from / SECTOR_BYTES..bytes.len().div_ceil(SECTOR_BYTES);
    sectors.any(|sector| {
        let (start, end) = (sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
        let part = &bytes[start.max(from)..end.min(bytes.len())];
        part.len() >= ZEROS_MIN && part.iter().all(|byte| *byte == 0)
    })
}

/// As RocksDB keeps it, so that a checksum over checksums means something.
fn masked(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: the list has some kilobytes.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |rest: u32, _| if rest & 1 == 1 { (rest >> 1) ^ 0x82f6_3b78 } else { rest >> 1 };
    !bytes.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(payload: &[u8]) -> Vec<u8> {
        let covered: Vec<u8> = std::iter::once(1).chain(payload.iter().copied()).collect();
        let mut bytes = masked(crc32c(&covered)).to_le_bytes().to_vec();
        bytes.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&covered);
        bytes
    }

    /// A list whose last record begins at 490 and reaches into the second and the third sector.
    fn list() -> Vec<u8> {
        let mut bytes = record(&[7; 490 - HEADER_BYTES]);
        bytes.extend(record(&[9; 600]));
        bytes
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn only_a_last_record_that_lost_sectors_is_torn() {
        assert_eq!(torn_at(&list()), None, "it is whole");
        assert_eq!(torn_at(&list()[..700]), None, "it ends early, which RocksDB knows");
        for lost in [512..1024, 1024..list().len(), 512..list().len()] {
            let mut torn = list();
            torn[lost.clone()].fill(0);
            assert_eq!(torn_at(&torn), Some(490), "{lost:?}");
            torn.extend(record(b"and one more"));
            assert_eq!(torn_at(&torn), None, "{lost:?}, but there is something behind");
        }
        for at in 490..list().len() {
            let mut flipped = list();
            flipped[at] ^= 1;
            assert_eq!(torn_at(&flipped), None, "a bit at {at}");
        }
        let mut early = list();
        early[100..400].fill(0);
        assert_eq!(torn_at(&early), None, "damage before the end");
    }

    #[test]
    fn a_torn_end_is_cut_off() {
        let root = tempfile::tempdir().unwrap();
        cut_torn_end(root.path()).unwrap();
        fs::write(root.path().join("CURRENT"), "MANIFEST-000001\n").unwrap();
        cut_torn_end(root.path()).unwrap();
        let path = root.path().join("MANIFEST-000001");
        let mut torn = list();
        torn[512..].fill(0);
        fs::write(&path, &torn).unwrap();
        cut_torn_end(root.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), list()[..490]);
        cut_torn_end(root.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), list()[..490]);
    }
}

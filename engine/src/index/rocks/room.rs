//! Opening where others have filled the file system.
//!
//! In: the directory of a database that nobody has open. Out: whether there is room for what opening it usually
//! writes, and what takes the place of that if there is not.
//!
//! A usual opening writes what it finds in the logs into tables, which takes as much room again, and lays claim to
//! room for a log and a list of files ahead of time. A frugal one writes a list of files, the settings and an empty
//! log, some hundred kilobytes in all: what the logs hold stays there and in memory.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::RocksOptions;

/// A usual opening wants this beside twice the bytes of the logs: for its list of files, and the tables of a first
/// compaction.
const USUAL_ROOM_BYTES: u64 = 16 << 20;

/// What a log is to have of its own when it is opened where there is hardly any room.
const LOG_ROOM_BYTES: u64 = 8 << 20;

/// Bytes of the logs, if there is no room for opening the database as usual. Where that can't be found out there is.
pub(super) fn shortage(root: &Path) -> Option<u64> {
    let logs: u64 = logs(root).ok()?.iter().filter_map(|path| fs::metadata(path).ok()).map(|log| log.len()).sum();
    let stat = statvfs(root).ok()?;
    let available = stat.f_bavail.saturating_mul(stat.f_frsize);
    (available < logs.saturating_mul(2).saturating_add(USUAL_ROOM_BYTES)).then_some(logs)
}

/// So much for changes that nothing becomes a table while the logs are read, nor soon after.
pub(super) fn roomier(options: &RocksOptions, logs: u64) -> RocksOptions {
    let bytes = usize::try_from(logs.saturating_mul(2)).unwrap_or(usize::MAX);
    RocksOptions {
        write_buffer_bytes: options.write_buffer_bytes.saturating_add(bytes),
        wal_bytes_max: options.wal_bytes_max.saturating_add(logs),
        ..options.clone()
    }
}

/// Makes durable what the logs hold. What a killed process wrote last may be in the system's memory only, and nothing
/// but the tables that a frugal opening does not write would make it last.
pub(super) fn sync_logs(root: &Path) -> io::Result<()> {
    logs(root)?.iter().try_for_each(|path| File::open(path)?.sync_all())?;
    File::open(root)?.sync_all()
}

/// Gives the newest log some room of its own, so that changes go on when somebody takes the rest.
pub(super) fn reserve_log(root: &Path) {
    let reserved = logs(root).and_then(|logs| {
        let Some(newest) = logs.last() else { return Ok(()) };
        let file = OpenOptions::new().write(true).open(newest)?;
        Ok(fallocate(&file, FallocateFlags::KEEP_SIZE, 0, LOG_ROOM_BYTES)?)
    });
    if let Err(error) = reserved {
        tracing::warn!(%error, "the log of the index has no room of its own");
    }
}

/// The logs, the oldest first.
fn logs(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|extension| extension == "log")) {
            logs.push((number, path));
        }
    }
    logs.sort();
    Ok(logs.into_iter().map(|(_, path)| path).collect())
}

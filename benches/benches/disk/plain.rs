//! The yardstick: one thread, one write after the other.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use orlop_engine::io::Pool;
use rustix::fs::{FallocateFlags, OFlags, fallocate};

const WRITE_BYTES: usize = 1 << 20;

/// A new unnamed file with `size` bytes allocated that passes by the page cache.
pub fn create(directory: &Path, size: u64) -> io::Result<File> {
    let flags = (OFlags::TMPFILE | OFlags::DIRECT).bits();
    let file = OpenOptions::new().write(true).custom_flags(flags.cast_signed()).open(directory)?;
    fallocate(&file, FallocateFlags::empty(), 0, size)?;
    Ok(file)
}

/// Writes and syncs `files` files of `size` bytes, a multiple of 1 MiB, one after the other. Gives them.
pub fn write_files(directory: &Path, size: u64, files: u64) -> io::Result<Vec<File>> {
    let mut buffer = Pool::new(WRITE_BYTES).try_take(WRITE_BYTES).ok_or(io::ErrorKind::OutOfMemory)?;
    buffer.extend(&[0xa5; WRITE_BYTES]);
    let mut written = Vec::new();
    for _ in 0..files {
        let file = create(directory, size)?;
        for offset in (0..size).step_by(WRITE_BYTES) {
            file.write_all_at(buffer.filled(), offset)?;
        }
        file.sync_data()?;
        written.push(file);
    }
    Ok(written)
}

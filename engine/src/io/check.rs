//! What every disk demands of its callers, checked in one place so that all disks refuse alike.

use std::io;

use super::{ALIGNMENT, Buffer};

/// A write must be whole aligned blocks. Errors: `InvalidInput`.
pub(super) fn write(buffer: &Buffer, offset: u64) -> io::Result<()> {
    let len = buffer.len();
    if len.is_multiple_of(ALIGNMENT) && offset.is_multiple_of(ALIGNMENT as u64) {
        return Ok(());
    }
    Err(invalid(format!(
        "a write of {len} bytes at {offset}: both must be multiples of {ALIGNMENT}; pad the buffer's last block"
    )))
}

/// A read must fit its buffer. Errors: `InvalidInput`.
pub(super) fn read(buffer: &Buffer, len: usize) -> io::Result<()> {
    if len <= buffer.capacity() {
        return Ok(());
    }
    Err(invalid(format!("a read of {len} bytes into a buffer of {}; take a larger buffer", buffer.capacity())))
}

/// A sync only ever cuts. Errors: `InvalidInput`, because bytes that nobody wrote would become
/// durable as zeros.
pub(super) fn cut(size: u64, len: u64) -> io::Result<()> {
    if len <= size {
        return Ok(());
    }
    Err(invalid(format!("a sync to {len} bytes of a file of {size}; write the missing bytes first")))
}

/// The error for a handle that another disk made.
pub(super) fn foreign_handle() -> io::Error {
    invalid("the handle belongs to another disk; open the file again on this one".to_owned())
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

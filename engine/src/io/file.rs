//! An open file of a real disk: its descriptors and the blocking operations on them.
//!
//! Every file has a plain descriptor, used for reads, syncs and links. A writable file has, where
//! the file system allows it, a second one with `O_DIRECT` for writes: it keeps new content out
//! of the page cache and is what io_uring can write without a kernel worker. Both see the same
//! bytes: a direct write drops the page cache of its range before it starts and again before it
//! completes (ext4, XFS and Btrfs do so in the kernel's common direct I/O path), so a buffered
//! read that starts after the write has completed finds the new bytes. A read that races with a
//! write may find either, as on any file.

use std::{
    any::Any,
    io::{self, IoSliceMut},
    num::NonZeroU64,
    ops::Range,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{
    fs::{Advice, CWD, FallocateFlags, Mode, OFlags},
    io::{Errno, ReadWriteFlags},
};

use super::{ALIGNMENT, Buffer, Handle, check, root::Temporary};

/// Reads of at least so many bytes are taken for parts of a long one: smaller ones are ranges that a
/// client wants alone, and fetching more would only be in the way.
const FETCH_AHEAD_FROM_BYTES: usize = 256 << 10;

/// How much the kernel is asked to fetch at once where nothing is cached yet.
const FETCH_AHEAD_BYTES: u64 = 4 << 20;

/// An open file or directory below a root.
pub(super) struct OpenFile {
    plain: OwnedFd,
    direct: Option<OwnedFd>,
    /// For reads past the page cache, once there was one.
    device: OnceLock<Option<OwnedFd>>,
    /// Cleared when a direct write is refused: some file systems accept the flag at open only.
    direct_works: AtomicBool,
    directory: bool,
    /// The name of a file that the file system could not make without one.
    temporary: Mutex<Option<Temporary>>,
}

impl OpenFile {
    pub(super) fn directory(plain: OwnedFd) -> Self {
        OpenFile { directory: true, ..OpenFile::file(plain, None, None) }
    }

    pub(super) fn file(plain: OwnedFd, direct: Option<OwnedFd>, temporary: Option<Temporary>) -> Self {
        OpenFile {
            plain,
            direct,
            device: OnceLock::new(),
            direct_works: AtomicBool::new(true),
            directory: false,
            temporary: Mutex::new(temporary),
        }
    }

    pub(super) fn into_handle(self) -> Handle {
        Handle(Arc::new(self))
    }

    /// The file behind a handle. Errors: `InvalidInput` for a handle of another kind of disk.
    pub(super) fn of(handle: &Handle) -> io::Result<Arc<OpenFile>> {
        let any: Arc<dyn Any + Send + Sync> = Arc::clone(&handle.0);
        any.downcast().map_err(|_| check::foreign_handle())
    }

    /// For reads, syncs and links.
    pub(super) fn plain(&self) -> BorrowedFd<'_> {
        self.plain.as_fd()
    }

    /// For writes, with whether it is direct.
    pub(super) fn writing(&self) -> (BorrowedFd<'_>, bool) {
        match &self.direct {
            Some(direct) if self.direct_works.load(Ordering::Relaxed) => (direct.as_fd(), true),
            _ => (self.plain.as_fd(), false),
        }
    }

    /// From now on [`OpenFile::writing`] is the plain descriptor.
    pub(super) fn refuse_direct(&self) {
        self.direct_works.store(false, Ordering::Relaxed);
    }

    /// Removes the temporary name, if there is one: the file has a real one now.
    pub(super) fn drop_temporary(&self) {
        let temporary = self.temporary.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(temporary);
    }

    /// Allocates a range, which makes direct writes to it truly asynchronous.
    /// A file system that cannot do it is no error; a full device is.
    pub(super) fn reserve(&self, range: Range<u64>) -> io::Result<()> {
        let Range { start, end } = range;
        if start >= end {
            return Ok(());
        }
        let allocated = retried(|| rustix::fs::fallocate(&self.plain, FallocateFlags::empty(), start, end - start));
        tolerate_unsupported(allocated.map_err(io::Error::from))
    }

    /// Writes all of `bytes` at `offset`; short writes are continued.
    pub(super) fn write_all(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let (descriptor, direct) = self.writing();
            match rustix::io::pwrite(descriptor, &bytes[done..], offset + done as u64) {
                Ok(count) => done = advanced(done, count, direct)?,
                Err(Errno::INTR) => {}
                Err(Errno::INVAL) if direct => self.refuse_direct(),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Reads what the page cache holds, without waiting for the device. `true` if that was all
    /// up to `len` bytes or the end of the file; otherwise the buffer holds a part of it, perhaps
    /// none.
    pub(super) fn read_cached(&self, buffer: &mut Buffer, offset: u64, len: usize) -> io::Result<bool> {
        while buffer.len() < len {
            let start = buffer.len();
            let position = offset + start as u64;
            let room = &mut buffer.room()[..len - start];
            let flags = ReadWriteFlags::NOWAIT;
            match rustix::io::preadv2(&self.plain, &mut [IoSliceMut::new(room)], position, flags) {
                // Linux 5.9 and 5.10 also answer 0 before the end (preadv2(2), BUGS).
                Ok(0) => return Ok(self.size()? <= position),
                Ok(count) => buffer.advance(count),
                Err(Errno::INTR) => {}
                // The bytes are not cached, or the file system or a sandbox does not know the flag.
                Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM | Errno::INVAL) => return Ok(false),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(true)
    }

    /// Has the kernel fetch what a read of much uncached content will want next. The kernel's own
    /// read-ahead begins with a fraction of a read; content that was just pushed is all uncached.
    pub(super) fn fetch_ahead(&self, offset: u64, len: usize) {
        if len >= FETCH_AHEAD_FROM_BYTES {
            // Advice only: what cannot be fetched fails when it is read.
            let _ = rustix::fs::fadvise(&self.plain, offset, NonZeroU64::new(FETCH_AHEAD_BYTES), Advice::WillNeed);
        }
    }

    /// Continues a read until the buffer holds `len` bytes or the file ends. `offset` is where
    /// the buffer's first byte lies.
    pub(super) fn read_rest(&self, buffer: &mut Buffer, offset: u64, len: usize) -> io::Result<()> {
        while buffer.len() < len {
            let start = buffer.len();
            match rustix::io::pread(&self.plain, &mut buffer.room()[..len - start], offset + start as u64) {
                Ok(0) => break,
                Ok(count) => buffer.advance(count),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Reads what the device has of up to `len` bytes at `offset`, into an empty buffer. Where the file
    /// system does not read past the page cache, the range is dropped from it before and after.
    pub(super) fn reread(&self, buffer: &mut Buffer, offset: u64, len: usize) -> io::Result<()> {
        let is_aligned = offset.is_multiple_of(ALIGNMENT as u64) && len.is_multiple_of(ALIGNMENT);
        if let Some(device) = self.device()
            && is_aligned
        {
            match read_direct(device, buffer, offset, len) {
                // The flag is accepted at open only.
                Err(Errno::INVAL) => buffer.clear(),
                outcome => return Ok(outcome?),
            }
        }
        // Advice only: what stays in the cache is checked as it is there.
        let drop_cached = || {
            let _ = rustix::fs::fadvise(&self.plain, offset, NonZeroU64::new(len as u64), Advice::DontNeed);
        };
        drop_cached();
        let read = self.read_rest(buffer, offset, len);
        drop_cached();
        read
    }

    /// A descriptor for reads past the page cache, if the file system has such.
    fn device(&self) -> Option<BorrowedFd<'_>> {
        let open = || {
            let path = format!("/proc/self/fd/{}", self.plain.as_raw_fd());
            let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC;
            rustix::fs::openat(CWD, path, flags, Mode::empty()).ok()
        };
        self.device.get_or_init(open).as_ref().map(AsFd::as_fd)
    }

    /// Cuts the file to `len` bytes. Errors: `InvalidInput` if it is shorter.
    pub(super) fn cut(&self, len: u64) -> io::Result<()> {
        let size = self.size()?;
        check::cut(size, len)?;
        if size == len {
            return Ok(());
        }
        Ok(retried(|| rustix::fs::ftruncate(&self.plain, len))?)
    }

    /// Makes content, or a directory's names, durable. Not tried again on an error: the kernel
    /// reports a lost page once, and then forgets it.
    pub(super) fn flush(&self) -> io::Result<()> {
        let flushed = if self.directory { rustix::fs::fsync(&self.plain) } else { rustix::fs::fdatasync(&self.plain) };
        Ok(flushed?)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(u64::try_from(rustix::fs::fstat(&self.plain)?.st_size).unwrap_or(0))
    }
}

/// Reads whole blocks until `len` bytes or the end of the file, which is where a block is cut short.
fn read_direct(device: BorrowedFd<'_>, buffer: &mut Buffer, offset: u64, len: usize) -> Result<(), Errno> {
    while buffer.len() < len {
        let start = buffer.len();
        match rustix::io::pread(device, &mut buffer.room()[..len - start], offset + start as u64) {
            Ok(count) => {
                buffer.advance(count);
                if count == 0 || !count.is_multiple_of(ALIGNMENT) {
                    break;
                }
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Where a write goes on after `count` more bytes. A direct write goes on at a block's start, so
/// a block that was cut short is written again. Errors: `WriteZero` without progress.
pub(super) fn advanced(done: usize, count: usize, direct: bool) -> io::Result<usize> {
    let reached = done + count;
    let reached = if direct { reached - reached % ALIGNMENT } else { reached };
    if reached > done {
        return Ok(reached);
    }
    Err(io::Error::new(io::ErrorKind::WriteZero, format!("the device took {count} bytes of a block, then no more")))
}

/// An allocation that the file system does not know is not needed.
fn tolerate_unsupported(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)) => Ok(()),
        outcome => outcome,
    }
}

fn retried(mut call: impl FnMut() -> Result<(), Errno>) -> Result<(), Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_direct_write_goes_on_at_a_block() {
        assert_eq!(advanced(0, 8192, true).expect("progress"), 8192);
        assert_eq!(advanced(4096, 5000, true).expect("progress"), 8192);
        assert_eq!(advanced(4096, 5000, false).expect("progress"), 9096);
        assert_eq!(advanced(4096, 512, true).expect_err("no block").kind(), io::ErrorKind::WriteZero);
        assert_eq!(advanced(0, 0, false).expect_err("no byte").kind(), io::ErrorKind::WriteZero);
    }
}

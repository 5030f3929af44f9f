//! The seam to storage devices: [`Disk`], its buffers and its implementations.
//!
//! In: aligned buffers and store-relative paths. Out: completed operations. What has become true
//! is exactly what the method promises; durability comes from `sync` alone, of the file for its
//! bytes and of the directory for its names.
//!
//! Implementations: [`Threads`] (pread, pwrite), `Ring` (io_uring, feature `ring`), [`SimDisk`]
//! (memory, with faults). [`open_disk`] chooses between the first two by trying.

use std::{future::Future, io, ops::Range, pin::Pin, sync::Arc};

mod blocking;
mod buffer;
mod check;
mod file;
pub(crate) mod foreign;
mod local;
mod path;
mod priority;
mod reserving;
#[cfg(feature = "ring")]
mod ring;
mod root;
pub mod sim;
mod space;
mod threads;

pub use buffer::{ALIGNMENT, Buffer, Pool};
pub use local::{Backend, Opened, open_disk};
pub use path::StorePath;
pub use priority::lower_priority;
pub(crate) use reserving::Reserving;
#[cfg(feature = "ring")]
pub use ring::Ring;
pub(crate) use root::STRAY_SUFFIX;
pub use sim::{SimDisk, Synced};
pub(crate) use space::Space;
pub use threads::Threads;

/// An operation under way. Dropping it abandons the answer, never the operation: a buffer that
/// the kernel may still read stays owned by the disk until the kernel is done.
pub type Op<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'static>>;

/// An open file or directory. Cloning shares it; the last clone closes it. An unnamed file that
/// was never linked vanishes with its last handle.
#[derive(Clone)]
pub struct Handle(pub(crate) Arc<dyn std::any::Any + Send + Sync>);

/// Whether [`Disk::link`] made the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linked {
    /// The name is new.
    New,
    /// The name was there already and is unchanged.
    Exists,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    /// Bytes; 0 for a directory.
    pub size: u64,
    pub kind: EntryKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    File,
    Directory,
    /// A symbolic link, device, FIFO or socket: nothing the store puts there.
    Other,
}

/// Files below one root. All paths are relative to it ([`StorePath`]), symbolic links are never
/// followed, files are made 0600 and directories 0700.
///
/// Every method starts the operation when it is called, not when the future is first polled, so
/// that several can be in flight from one task. Must be called inside a tokio runtime.
pub trait Disk: Send + Sync + 'static {
    /// Creates an unnamed file for writing, with `reserve` bytes allocated (0: unknown).
    /// The file's length is unspecified until the first [`Disk::sync`].
    fn create(&self, reserve: u64) -> Op<Handle>;

    /// Opens an existing regular file or a directory. A file is readable, and writable when
    /// `write` is set (an upload that is taken up again).
    /// Errors: `NotFound`; `InvalidData` for anything but a regular file or directory.
    fn open(&self, path: &StorePath, write: bool) -> Op<Handle>;

    /// Writes the whole of `buffer.filled()` at `offset` and gives the buffer back. `offset` and
    /// the filled length must be multiples of [`ALIGNMENT`]. On an error the buffer is dropped.
    fn write(&self, file: &Handle, buffer: Buffer, offset: u64) -> Op<Buffer>;

    /// Reads from `offset` until `len` bytes or the end of the file; the buffer's filled part is
    /// what was read (shorter only at the end of the file). `len` must not exceed the buffer's
    /// capacity. No alignment is required of `offset` and `len`. Reads see all completed writes.
    fn read(&self, file: &Handle, buffer: Buffer, offset: u64, len: usize) -> Op<Buffer>;

    /// [`Disk::read`] of what the device has, past what memory keeps of it, which stays as it is where
    /// that is possible. `offset` and `len` should be multiples of [`ALIGNMENT`]. The calling thread may
    /// be the one that waits for the device: for a thread of its own, at its own priority.
    fn reread(&self, file: &Handle, buffer: Buffer, offset: u64, len: usize) -> Op<Buffer> {
        self.read(file, buffer, offset, len)
    }

    /// Makes a file's bytes durable, cut to `len` bytes when given; for a directory (`len` None)
    /// makes its names durable. All writes to the file must have completed before.
    /// An error is final for this file: its bytes must be abandoned.
    fn sync(&self, file: &Handle, len: Option<u64>) -> Op<()>;

    /// Gives an open file a name; missing parent directories are made, and made durable.
    /// The name itself is durable after a `sync` of its directory.
    fn link(&self, file: &Handle, path: &StorePath) -> Op<Linked>;

    /// Removes a file's name; open handles keep the bytes. Removing a name that is not there is
    /// not an error.
    fn unlink(&self, path: &StorePath) -> Op<()>;

    /// The entries of a directory in no particular order; empty if the directory does not exist.
    fn list(&self, path: &StorePath) -> Op<Vec<Entry>>;

    /// Allocates a range of a file that is being written, which may make it longer, for disks on
    /// which writes to allocated blocks are faster. A range that cannot be had is an error here, and
    /// no reason why the writes to it should fail.
    fn reserve(&self, _file: &Handle, _range: Range<u64>) -> Option<Op<()>> {
        None
    }

    /// [`keep`] as one operation, for disks to which that is cheaper than its steps.
    fn keep(&self, _file: &Handle, _len: Option<u64>, _path: &StorePath) -> Option<Op<Linked>> {
        None
    }

    /// Moves a plain file that is in the place of a directory to another name beside it, on disks where one can be there:
    /// a file system without a journal may give it the name of a directory when its power is cut.
    fn displace(&self, _path: &StorePath) -> Option<Op<()>> {
        None
    }
}

/// Makes a file's bytes durable, cut to `len` bytes when given, then gives it the name `path`, then
/// makes that name durable: the only order in which a durable name never leads to lost bytes. A
/// name that is there already is neither changed nor synced. Must be awaited to its end.
pub async fn keep(disk: &dyn Disk, file: &Handle, len: Option<u64>, path: &StorePath) -> io::Result<Linked> {
    if let Some(op) = disk.keep(file, len, path) {
        return op.await;
    }
    disk.sync(file, len).await?;
    let linked = disk.link(file, path).await?;
    if linked == Linked::New {
        sync_directory(disk, &path.parent()).await?;
    }
    Ok(linked)
}

/// Makes a directory's names durable.
pub async fn sync_directory(disk: &dyn Disk, path: &StorePath) -> io::Result<()> {
    let directory = disk.open(path, false).await?;
    disk.sync(&directory, None).await
}

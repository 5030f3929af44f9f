//! The seam to where file-placed bytes live: [`Tier`].
//!
//! In: a complete, unnamed file and its digest. Out: bytes under that digest. What has become
//! true when `place` returns: they are there, whole and durable.

mod local;

pub use local::LocalTier;

use std::{future::Future, io, pin::Pin};

use crate::{
    Digest,
    io::{Buffer, Handle},
};

/// An operation of a tier.
pub type TierOp<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// One file of a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// What [`Tier::list`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    Stored(Stored),
    /// Something the tier did not put there; its path.
    Foreign(String),
}

/// Immutable content by digest. Knows nothing of namespaces: only the engine, which does, calls it.
pub trait Tier: Send + Sync + 'static {
    /// Keeps `staged`, of which `len` bytes count, under `digest`. Content that is there already
    /// under this name is replaced: callers ask first, and only replace what is damaged or was
    /// left by a crash.
    fn place<'a>(&'a self, staged: &'a Handle, len: u64, digest: &'a Digest) -> TierOp<'a, ()>;

    /// Opens content for reading; `NotFound` if it is not there.
    fn open<'a>(&'a self, digest: &'a Digest) -> TierOp<'a, Handle>;

    /// Reads `len` bytes at `offset`; fewer only at the end of the content.
    fn read(&self, file: &Handle, buffer: Buffer, offset: u64, len: usize) -> crate::io::Op<Buffer>;

    /// [`Tier::read`] of what the device has, past what memory keeps of it. May block the caller, see
    /// [`Disk::reread`](crate::io::Disk::reread).
    fn reread(&self, file: &Handle, buffer: Buffer, offset: u64, len: usize) -> crate::io::Op<Buffer> {
        self.read(file, buffer, offset, len)
    }

    /// Removes content, durably; open handles keep reading.
    fn remove<'a>(&'a self, digest: &'a Digest) -> TierOp<'a, ()>;

    /// Everything that is stored, one shard at a time: 0 to [`Tier::shards`].
    fn list(&self, shard: u32) -> TierOp<'_, Vec<Listed>>;

    /// Into how many parts a listing is cut.
    fn shards(&self) -> u32;

    /// The shards that may have something, in order: the others need not be listed.
    fn occupied(&self) -> TierOp<'_, Vec<u32>>;

    /// Files in the place of a shard, or moved out of it, with their bytes: a file system without a journal may give
    /// the name of a directory to another file when its power was cut.
    fn strays(&self) -> TierOp<'_, Vec<(String, u64)>>;
}

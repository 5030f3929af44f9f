//! Files of other trees, taken in without an upload.
//!
//! In: a file that somebody opened for reading, and the digest it is said to have. Out:
//! [`Adopted`]: sealed content like that of an upload. What has become true: the bytes were read
//! once, they have the digest, and their checksums were taken in the same pass. When the batch is
//! committed, the file gets a second name below `blobs/`: its bytes are neither copied nor written,
//! and its owner and mode stay as they are. Whoever writes to it in place later damages the store
//! as well, which every read notices.

use std::{fs::File, io, num::NonZeroU64, os::unix::fs::FileExt, sync::Arc};

use bytes::Bytes;
use rustix::fs::Advice;

use super::sealed::{Proven, Sealed, Staged};
use crate::{
    Algorithm, Digest, Engine, Namespace,
    digest::Hasher,
    error::{Error, Result},
    format::{BlobRecord, ChunkSums, Health, Placement},
    io::{Handle, foreign},
    store::{Store, blocking},
};

/// Bytes read at once. Together with the file's record this is all the memory that taking one in
/// needs.
const READ_BYTES: usize = 1 << 20;

/// How far ahead of the hashing the kernel is asked to read.
const FETCH_AHEAD_BYTES: u64 = 8 << 20;

/// How the bytes of a file come into the store if they do not fit the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adoption {
    /// By a hard link, or not at all: committing fails with `CannotLink`.
    Link,
    /// By a copy, which shares the blocks where the file system can do that.
    Copy,
}

/// What was done with the bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Nothing: the store has the content, and the file was not read.
    Known,
    /// They are small and go into the index.
    Inline,
    /// They stay where they are and get a second name.
    Linked,
    Copied,
}

/// Content of a file, ready for a `Batch`.
pub struct Adopted {
    pub sealed: Sealed,
    pub taken: Taken,
}

impl Engine {
    /// Proves that `file` has the digest `expected` and prepares it for a batch. Content that the
    /// store has and that is sound is not read again. Needs a real disk.
    ///
    /// Errors: `DigestMismatch`; `TooLarge`; `Unreadable` for a file that cannot be read, changes while it
    /// is read, is not regular, or is open for writing.
    pub async fn adopt(&self, expected: Digest, file: File, adoption: Adoption) -> Result<Adopted> {
        self.accepting()?;
        let store = self.store();
        if let Some(sealed) = known(store, &expected).await? {
            return Ok(Adopted { sealed, taken: Taken::Known });
        }
        let (file, size) = blocking(move || {
            let size = file.metadata().map_err(unreadable)?.len();
            Ok((Arc::new(file), size))
        })
        .await?;
        let max = store.allowed.blob_bytes_max();
        if size > max {
            return Err(Error::TooLarge { what: "content", max });
        }
        if size <= store.allowed.inline_bytes_max() as u64 {
            let content = blocking(move || read_small(&file, size)).await?;
            return Ok(Adopted { sealed: self.seal_bytes(expected, content).await?, taken: Taken::Inline });
        }
        let sealed = match adoption {
            Adoption::Link => {
                let handle = foreign::adopted(file.try_clone().map_err(unreadable)?).map_err(unreadable)?;
                seal_file(store, expected, file, handle, size).await?
            }
            Adoption::Copy => self.copy(expected, file, size).await?,
        };
        Ok(Adopted { sealed, taken: if adoption == Adoption::Link { Taken::Linked } else { Taken::Copied } })
    }

    async fn copy(&self, expected: Digest, file: Arc<File>, size: u64) -> Result<Sealed> {
        let store = self.store();
        let copy = store.disk.create(0).await.map_err(|source| Error::io("creating a file", source))?;
        let (target, original) = (copy.clone(), file.clone());
        let share =
            move || foreign::share_bytes(&target, &original).map_err(|source| Error::io("a shared copy", source));
        if blocking(share).await? {
            let shared = foreign::descriptor(&copy).map_err(|source| Error::io("a shared copy", source))?;
            return seal_file(store, expected, Arc::new(shared), copy, size).await;
        }
        drop(copy);
        // A random session that nobody else can know.
        let nobody = Namespace::new("-").expect("a valid namespace");
        let id = self.begin(&nobody, expected.algorithm()).await?;
        let mut upload = self.resume(&nobody, id).await?;
        upload.announce(Some(size), Some(expected)).await?;
        while upload.offset() < size {
            let (file, offset) = (file.clone(), upload.offset());
            let part = blocking(move || {
                let mut part = vec![0; READ_BYTES];
                let count = read_at(&file, &mut part, offset)?;
                part.truncate(count);
                Ok(part)
            });
            upload.append(&part.await?).await?;
        }
        upload.seal(&expected).await
    }
}

/// Content that the store has already. The pin keeps it until the commit is decided.
async fn known(store: &Store, digest: &Digest) -> Result<Option<Sealed>> {
    let Some(pin) = store.leases.pin(digest) else { return Ok(None) };
    let Some(record) = store.blob(digest).await? else { return Ok(None) };
    if record.health != Health::Sound {
        return Ok(None);
    }
    let proven = Proven { digest: *digest, record: None, inline: Bytes::new(), pin: Some(pin), upload: None };
    Ok(Some(Sealed { proven, size: record.size, staged: None }))
}

/// Hashes `file` and seals it as `handle`, which is the same file.
async fn seal_file(store: &Arc<Store>, expected: Digest, file: Arc<File>, handle: Handle, size: u64) -> Result<Sealed> {
    let (found, record) = blocking(move || hash(&file, size, expected.algorithm())).await?;
    if found != expected {
        return Err(Error::DigestMismatch { expected, found });
    }
    let proven = Proven { digest: found, record: Some(record), inline: Bytes::new(), pin: None, upload: None };
    let staged = Staged { store: store.clone(), file: handle, written_down: None, is_committed: false };
    Ok(Sealed { proven, size, staged: Some(staged) })
}

/// Reads a file of `size` bytes once. Blocks.
fn hash(file: &File, size: u64, algorithm: Algorithm) -> Result<(Digest, BlobRecord)> {
    let (mut hasher, mut sums) = (Hasher::new(algorithm), ChunkSums::default());
    let mut buffer = vec![0; READ_BYTES];
    let (mut offset, mut fetched) = (0, 0);
    while offset < size {
        if fetched < size && fetched < offset + FETCH_AHEAD_BYTES {
            // Advice only: what cannot be fetched fails when it is read.
            let _ = rustix::fs::fadvise(file, fetched, NonZeroU64::new(FETCH_AHEAD_BYTES), Advice::WillNeed);
            fetched += FETCH_AHEAD_BYTES;
        }
        let count = read_at(file, &mut buffer, offset)?;
        hasher.update(&buffer[..count]);
        sums.update(&buffer[..count]);
        offset += count as u64;
    }
    check_end(file, offset, size)?;
    let record = BlobRecord { health: Health::Sound, placement: Placement::File, size, sums: sums.finish() };
    Ok((hasher.finish(), record))
}

fn read_small(file: &File, size: u64) -> Result<Bytes> {
    let mut content = vec![0; usize::try_from(size).expect("small content fits memory")];
    let mut offset = 0;
    while offset < content.len() {
        offset += read_at(file, &mut content[offset..], offset as u64)?;
    }
    check_end(file, size, size)?;
    Ok(content.into())
}

/// Reads some bytes; the end of the file is an error, because it came before the size it had.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Ok(0) => return Err(changed()),
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
}

/// What was read must be all of it: a file that grew is being written.
fn check_end(file: &File, read: u64, size: u64) -> Result<()> {
    match file.metadata().map_err(unreadable)?.len() {
        found if found == size && read == size => Ok(()),
        _ => Err(changed()),
    }
}

fn changed() -> Error {
    let reason = "its length changed while it was read; whoever writes to it must stop first";
    unreadable(io::Error::new(io::ErrorKind::InvalidData, reason))
}

fn unreadable(source: io::Error) -> Error {
    Error::Unreadable { source }
}

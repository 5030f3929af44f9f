//! One blob's bytes, read from the device and compared with all that is known of them.

use std::{io, ops::ControlFlow};

use crate::{
    Digest,
    damage::Flaw,
    error::Result,
    format::BlobRecord,
    io::{ALIGNMENT, Buffer, Handle, Pool},
    statistics::add,
    store::Store,
    verify::Tally,
};

/// Bytes read at once, and all memory that reading takes.
const UNIT_BYTES: usize = 1 << 20;

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All bytes are right.
    Sound,
    /// Something is wrong from `offset` on, in bytes.
    Flawed { flaw: Flaw, offset: u64 },
    /// The content was collected meanwhile.
    Gone,
    /// It could not be looked at, for a reason that says nothing about the bytes.
    Unclear(String),
    /// The caller said to stop.
    Stopped,
}

/// What a look found, and of what.
#[derive(Debug, Clone)]
pub struct Look {
    pub digest: Digest,
    pub verdict: Verdict,
    /// Bytes that were read.
    pub bytes: u64,
    /// It was known to be damaged.
    pub is_known: bool,
    /// Its bytes are in a file.
    pub is_file: bool,
    pub(super) record: Option<BlobRecord>,
}

/// Reads files of a store, one at a time, on the thread that waits for it.
pub(super) struct Examiner {
    pool: Pool,
}

impl Examiner {
    pub fn new() -> Self {
        Examiner { pool: Pool::new(UNIT_BYTES) }
    }

    /// Reads a whole file. `pace` is told of every unit, and says when and whether to go on.
    pub async fn whole(
        &self,
        store: &Store,
        file: &Handle,
        (digest, record): (&Digest, &BlobRecord),
        pace: &mut impl AsyncFnMut(u64) -> ControlFlow<()>,
    ) -> (Verdict, u64) {
        let mut tally = Tally::new(digest);
        // One unit beyond the size is enough to see that there is more.
        while tally.size <= record.size {
            let unit = match self.unit(store, file, tally.size).await {
                Ok(unit) => unit,
                Err(error) => return (failed(&error, tally.size), tally.size),
            };
            tally.add(unit.filled());
            if pace(unit.len() as u64).await.is_break() {
                return (Verdict::Stopped, tally.size);
            }
            if unit.len() < UNIT_BYTES {
                break;
            }
        }
        let bytes = tally.size;
        (verdict(tally.compare(digest, record)), bytes)
    }

    /// Looks once more at the one place where a flaw was seen.
    pub async fn again(
        &self,
        store: &Store,
        file: &Handle,
        (digest, record): (&Digest, &BlobRecord),
        (flaw, offset): (Flaw, u64),
    ) -> Verdict {
        let looked = match flaw {
            // There is a file now.
            Flaw::Missing => Ok(Verdict::Sound),
            Flaw::Length => self.end(store, file, record.size).await,
            Flaw::Checksum => self.chunk(store, file, record, offset).await,
            // The checksums of all chunks match, so only the whole tells. One damaged chunk in four
            // billion looks like this.
            Flaw::Digest => Ok(self.whole(store, file, (digest, record), &mut unpaced).await.0),
            Flaw::Unreadable => self.unit(store, file, offset).await.map(|_| Verdict::Sound),
        };
        looked.unwrap_or_else(|error| failed(&error, offset))
    }

    /// Whether the file ends at `size`.
    async fn end(&self, store: &Store, file: &Handle, size: u64) -> io::Result<Verdict> {
        // The last byte, or the place of the first, and what follows it.
        let last = size.saturating_sub(1);
        let start = last - last % ALIGNMENT as u64;
        let end = start + self.unit(store, file, start).await?.len() as u64;
        Ok(verdict((end != size).then_some((Flaw::Length, end.min(size)))))
    }

    /// Whether the chunk at `offset` has its checksum.
    async fn chunk(&self, store: &Store, file: &Handle, record: &BlobRecord, offset: u64) -> io::Result<Verdict> {
        let end = (offset + record.sums.chunk_bytes).min(record.size);
        let mut crc = crc32fast::Hasher::new();
        let mut at = offset;
        while at < end {
            let unit = self.unit(store, file, at).await?;
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(unit.len());
            if wanted == 0 {
                return Ok(Verdict::Flawed { flaw: Flaw::Length, offset: at });
            }
            crc.update(&unit.filled()[..wanted]);
            at += wanted as u64;
        }
        let number = usize::try_from(offset / record.sums.chunk_bytes).unwrap_or(usize::MAX);
        let is_right = record.sums.sums.get(number) == Some(&crc.finalize());
        Ok(verdict((!is_right).then_some((Flaw::Checksum, offset))))
    }

    /// One unit at an aligned offset, or what there is of it.
    async fn unit(&self, store: &Store, file: &Handle, offset: u64) -> io::Result<Buffer> {
        let buffer = self.pool.take(UNIT_BYTES).await;
        let unit = store.tier.reread(file, buffer, offset, UNIT_BYTES).await?;
        add(&store.counters.bytes_scrubbed, unit.len() as u64);
        Ok(unit)
    }

    /// Whether the file's beginning can be read.
    pub async fn reaches(&self, store: &Store, file: &Handle) -> bool {
        self.unit(store, file, 0).await.is_ok()
    }
}

/// As fast as it goes.
pub(super) async fn unpaced(_bytes: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn verdict(flaw: Option<(Flaw, u64)>) -> Verdict {
    match flaw {
        None => Verdict::Sound,
        Some((flaw, offset)) => Verdict::Flawed { flaw, offset },
    }
}

/// A failed read: of the medium, or of something else that may pass.
pub(super) fn failed(error: &io::Error, offset: u64) -> Verdict {
    match error.raw_os_error() {
        // EIO and what block layers and file systems say of a medium, a checksum of theirs, or lost data.
        Some(libc::EIO | libc::EBADMSG | libc::EUCLEAN | libc::ENODATA | libc::EREMOTEIO | libc::EILSEQ) => {
            Verdict::Flawed { flaw: Flaw::Unreadable, offset }
        }
        _ => Verdict::Unclear(error.to_string()),
    }
}

/// Inline content against its record.
pub(super) fn inline(bytes: Result<Option<Vec<u8>>>, digest: &Digest, record: &BlobRecord) -> (Verdict, u64) {
    match bytes {
        Ok(Some(bytes)) => {
            let mut tally = Tally::new(digest);
            tally.add(&bytes);
            (verdict(tally.compare(digest, record)), bytes.len() as u64)
        }
        Ok(None) => (Verdict::Flawed { flaw: Flaw::Missing, offset: 0 }, 0),
        // The index has checksums of its own.
        Err(crate::Error::Store { .. }) => (Verdict::Flawed { flaw: Flaw::Unreadable, offset: 0 }, 0),
        Err(error) => (Verdict::Unclear(error.to_string()), 0),
    }
}

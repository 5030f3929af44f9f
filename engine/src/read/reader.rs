//! A stream of verified bytes.

use std::ops::Range;

use bytes::Bytes;

use super::blob::{Blob, Source, damaged};
use crate::{
    error::{Error, Result},
    io::{Buffer, Op},
    statistics::add,
};

/// Bytes read at once, unless a blob's chunks are larger: enough that the cost per read vanishes,
/// little enough that a thousand slow readers cost 256 MiB.
const UNIT_BYTES: u64 = 256 << 10;

/// Reads a range of a blob, one unit of whole chunks at a time, one ahead of the caller.
pub struct Reader {
    blob: Blob,
    /// What is still to be handed out.
    range: Range<u64>,
    /// The read under way and where it starts.
    ahead: Option<(u64, Op<Buffer>)>,
    failed: bool,
}

impl Reader {
    pub(super) fn new(blob: Blob, range: Range<u64>) -> Self {
        Reader { blob, range, ahead: None, failed: false }
    }

    /// Bytes still to come.
    pub fn remaining(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// The next bytes, or `None` at the end. After an error the message must be aborted: the bytes
    /// handed out so far are right, the rest cannot be had.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        if self.range.is_empty() || self.failed {
            return None;
        }
        let next = match &self.blob.opened.source {
            Source::Inline(content) => {
                // Inline content is far below the address space.
                let bytes = content.slice(self.range.start as usize..self.range.end as usize);
                Ok(bytes)
            }
            Source::File(_) => self.next_of_file().await,
        };
        match &next {
            Ok(bytes) => {
                self.range.start += bytes.len() as u64;
                add(&self.blob.store.counters.bytes_read, bytes.len() as u64);
            }
            Err(_) => self.failed = true,
        }
        Some(next)
    }

    fn chunk_bytes(&self) -> u64 {
        self.blob.opened.record.sums.chunk_bytes
    }

    fn unit_bytes(&self) -> u64 {
        self.chunk_bytes().max(UNIT_BYTES)
    }

    /// Starts the read of the unit from `offset`, a multiple of the chunk size.
    fn start(&self, offset: u64) -> Op<Buffer> {
        let Source::File(file) = &self.blob.opened.source else { unreachable!("inline content is not read") };
        // No more than the chunks the range touches.
        let wanted = self.range.end.next_multiple_of(self.chunk_bytes()).min(self.blob.opened.record.size);
        let len = usize::try_from((wanted - offset).min(self.unit_bytes())).expect("a unit fits memory");
        let buffer = self.blob.store.read_pool.try_take(len).expect("the readers' pool has no limit");
        self.blob.store.tier.read(file, buffer, offset, len)
    }

    async fn next_of_file(&mut self) -> Result<Bytes> {
        let (offset, read) = match &mut self.ahead {
            Some((offset, read)) => (*offset, read),
            None => {
                let offset = self.range.start - self.range.start % self.chunk_bytes();
                let read = self.start(offset);
                let (offset, read) = self.ahead.insert((offset, read));
                (*offset, read)
            }
        };
        let read = read.await;
        self.ahead = None;
        let buffer = read.map_err(|source| Error::io("reading a blob", source))?;
        let end = self.verify(offset, &buffer).await?;
        if end < self.range.end {
            self.ahead = Some((end, self.start(end)));
        }
        let from = usize::try_from(self.range.start - offset).expect("within a unit");
        let to = usize::try_from(end.min(self.range.end) - offset).expect("within a unit");
        Ok(buffer.freeze().slice(from..to))
    }

    /// Checks every chunk of a unit and gives the offset after it.
    async fn verify(&mut self, offset: u64, unit: &Buffer) -> Result<u64> {
        let record = &self.blob.opened.record;
        let first = usize::try_from(offset / self.chunk_bytes()).expect("at most SUMS_MAX chunks");
        let chunk_bytes = usize::try_from(self.chunk_bytes()).expect("chunks fit memory");
        let mut at = offset;
        for (number, chunk) in unit.filled().chunks(chunk_bytes).enumerate() {
            if let Err(sums) = record.sums.verify(first + number, chunk) {
                return Err(damaged(&self.blob.store, &self.blob.digest, at, sums).await);
            }
            at += chunk.len() as u64;
        }
        if unit.filled().is_empty() {
            return Err(damaged(&self.blob.store, &self.blob.digest, offset, (0, 0)).await);
        }
        Ok(at)
    }
}

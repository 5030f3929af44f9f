//! A stream of verified bytes.

use std::ops::Range;

use bytes::Bytes;

use super::blob::{Blob, Source};
use crate::{
    error::{Error, Result},
    io::{Buffer, Op},
    statistics::add,
    store::Store,
};

/// Bytes read at once, unless a blob's chunks are larger: enough that the cost per read vanishes.
const UNIT_BYTES: u64 = 256 << 10;

/// Of a chunk of 64 KiB that is 16 KiB, and large chunks are not read more often either.
const NARROW_PARTS: usize = 4;

/// Bytes of a file that are kept in memory together once they are hot, unless a blob's chunks are
/// larger. Larger than a unit, because they are shared by their readers and because a response of
/// few pieces takes few turns of its connection.
pub(crate) const EXTENT_BYTES: u64 = 1 << 20;

impl Store {
    /// Whether there are so many readers that each has to do with less: every read is of a single chunk, and none is
    /// ahead of its caller.
    pub(crate) fn is_crowded(&self) -> bool {
        self.readers_hold(self.options.reader_memory_bytes_max / 2)
    }

    /// Whether there are so many that each has to do with next to nothing: what is read is verified, copied in part,
    /// and given back. Thousands of slow readers then cost a part of a chunk each. Who is not slow finds the rest of the
    /// chunk in [`Narrow`](super::Narrow), others read it again.
    fn is_full(&self) -> bool {
        self.readers_hold(self.options.reader_memory_bytes_max)
    }

    /// Whether they hold more than so many bytes, beside what is kept hot.
    fn readers_hold(&self, bytes: usize) -> bool {
        self.read_pool.bytes_out() > self.options.hot_bytes_max.saturating_add(bytes)
    }
}

/// Reads a range of a blob, one unit of whole chunks at a time, one ahead of the caller.
pub struct Reader {
    blob: Blob,
    /// What is still to be handed out.
    range: Range<u64>,
    /// The read under way.
    ahead: Option<Ahead>,
    /// The extent that was last looked for in memory, to count a read of it once.
    extent: Option<u64>,
    failed: bool,
}

struct Ahead {
    /// Where the read starts.
    offset: u64,
    /// It brings a whole extent, to be kept in memory.
    hot: bool,
    read: Op<Buffer>,
}

impl Reader {
    pub(super) fn new(blob: Blob, range: Range<u64>) -> Self {
        Reader { blob, range, ahead: None, extent: None, failed: false }
    }

    /// Bytes still to come.
    pub fn remaining(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// The next bytes, or `None` at the end. After an error the message must be aborted: the bytes
    /// handed out so far are right, the rest cannot be had.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        if let Some(bytes) = self.next_in_memory() {
            return Some(Ok(bytes));
        }
        if self.range.is_empty() || self.failed {
            return None;
        }
        let next = if self.blob.store.is_full() { self.next_narrow().await } else { self.next_of_file().await };
        match &next {
            Ok(bytes) => self.hand_out(bytes),
            Err(_) => self.failed = true,
        }
        Some(next)
    }

    /// The next bytes if they can be had without waiting. `None` says nothing about the end.
    pub fn next_in_memory(&mut self) -> Option<Bytes> {
        if self.range.is_empty() || self.failed || self.ahead.is_some() {
            return None;
        }
        let bytes = match &self.blob.opened.source {
            Source::Inline(content) => self.wanted(content, 0),
            Source::File(_) => {
                let offset = self.extent_of(self.range.start);
                let Some(extent) = self.blob.store.hot_cache.get(&self.blob.digest, offset) else {
                    return self.next_kept();
                };
                let bytes = self.wanted(&extent, offset);
                let bytes = if self.blob.store.is_full() { self.part(&bytes) } else { bytes };
                add(&self.blob.store.counters.bytes_read_hot, bytes.len() as u64);
                bytes
            }
        };
        self.hand_out(&bytes);
        Some(bytes)
    }

    /// More of a chunk that was read a moment ago and of which only a part could be handed out.
    fn next_kept(&mut self) -> Option<Bytes> {
        if !self.blob.store.is_full() {
            return None;
        }
        let offset = self.range.start - self.range.start % self.chunk_bytes();
        let chunk = self.blob.store.narrow.get(&self.blob.digest, offset)?;
        let bytes = self.part(&self.wanted(&chunk, offset));
        self.hand_out(&bytes);
        Some(bytes)
    }

    fn hand_out(&mut self, bytes: &Bytes) {
        self.range.start += bytes.len() as u64;
        add(&self.blob.store.counters.bytes_read, bytes.len() as u64);
    }

    /// What the caller asked for of the bytes that begin at `offset`.
    fn wanted(&self, bytes: &Bytes, offset: u64) -> Bytes {
        let end = (offset + bytes.len() as u64).min(self.range.end);
        let within = |position: u64| usize::try_from(position - offset).expect("within a unit");
        bytes.slice(within(self.range.start)..within(end))
    }

    fn chunk_bytes(&self) -> u64 {
        self.blob.opened.record.sums.chunk_bytes
    }

    /// `bytes`, or a chunk if that is more. A multiple of the chunk size: both are powers of two.
    fn whole_chunks(&self, bytes: u64) -> u64 {
        self.chunk_bytes().max(bytes)
    }

    /// The start of the extent that `position` is in.
    fn extent_of(&self, position: u64) -> u64 {
        position - position % self.whole_chunks(EXTENT_BYTES)
    }

    /// Starts the read that has the byte at `position`: all of an extent that is hot, otherwise no
    /// more than a unit of the chunks that the range touches.
    fn start(&mut self, position: u64) -> Ahead {
        let size = self.blob.opened.record.size;
        let extent = self.extent_of(position);
        // What becomes hot pushes other content out, which slow readers may still hold.
        let hot = !self.blob.store.is_full() && self.becomes_hot(extent);
        let (offset, end) = if hot {
            (extent, self.extent_end(extent))
        } else {
            let unit_bytes =
                if self.blob.store.is_crowded() { self.chunk_bytes() } else { self.whole_chunks(UNIT_BYTES) };
            let unit_end = position - position % unit_bytes + unit_bytes;
            let wanted = self.range.end.next_multiple_of(self.chunk_bytes());
            (position - position % self.chunk_bytes(), wanted.min(unit_end))
        };
        let Source::File(file) = &self.blob.opened.source else { unreachable!("inline content is not read") };
        let len = usize::try_from(end.min(size) - offset).expect("an extent fits memory");
        let buffer = self.blob.store.read_pool.try_take(len).expect("the readers' pool has no limit");
        Ahead { offset, hot, read: self.blob.store.tier.read(file, buffer, offset, len) }
    }

    /// Like [`Reader::next_of_file`], for times when every buffer that a slow client holds is one too many.
    async fn next_narrow(&mut self) -> Result<Bytes> {
        let blob = self.blob.clone();
        let _turn = blob.store.narrow.turn().await;
        let bytes = self.next_of_file().await?;
        let offset = self.range.start;
        let chunk_end = blob.size().min(offset.saturating_add(self.chunk_bytes()));
        let is_whole = offset.is_multiple_of(self.chunk_bytes()) && bytes.len() as u64 >= chunk_end - offset;
        if is_whole {
            let chunk_bytes = usize::try_from(chunk_end - offset).expect("chunks fit memory");
            blob.store.narrow.keep(&blob.digest, offset, &bytes.slice(..chunk_bytes));
        }
        Ok(self.part(&bytes))
    }

    /// A copy of the first of these bytes.
    fn part(&self, bytes: &Bytes) -> Bytes {
        let chunk_bytes = usize::try_from(self.chunk_bytes()).expect("chunks fit memory");
        Bytes::copy_from_slice(&bytes[..bytes.len().min(chunk_bytes / NARROW_PARTS)])
    }

    /// Whether the extent should be in memory; counts this read of it.
    fn becomes_hot(&mut self, extent: u64) -> bool {
        self.extent.replace(extent) != Some(extent) && self.blob.store.hot_cache.admits(&self.blob.digest, extent)
    }

    async fn next_of_file(&mut self) -> Result<Bytes> {
        if self.ahead.is_none() {
            self.ahead = Some(self.start(self.range.start));
        }
        // It stays in place while it is waited for: a caller that gives up loses nothing.
        let Some(Ahead { offset, hot, read }) = &mut self.ahead else { unreachable!("it was just started") };
        let read = read.await;
        let (offset, hot) = (*offset, *hot);
        self.ahead = None;
        let buffer = read.map_err(|source| Error::io("reading a blob", source))?;
        let end = self.verify(offset, &buffer).await?;
        if end <= self.range.start {
            // The extent begins before what the caller wants, and the file ends before it.
            return Err(self.blob.damaged(end, (0, 0)).await);
        }
        let bytes = buffer.freeze();
        // A file that lost its end gives less than an extent; the next read finds the damage.
        if hot && end == self.extent_end(offset) {
            self.blob.store.hot_cache.keep(&self.blob.digest, offset, &bytes);
        }
        if end < self.range.end && !self.is_in_memory(end) && !self.blob.store.is_crowded() {
            self.ahead = Some(self.start(end));
        }
        Ok(self.wanted(&bytes, offset))
    }

    fn extent_end(&self, extent: u64) -> u64 {
        (extent + self.whole_chunks(EXTENT_BYTES)).min(self.blob.opened.record.size)
    }

    /// Whether the extent of the byte at `position` is hot.
    fn is_in_memory(&self, position: u64) -> bool {
        self.blob.store.hot_cache.has(&self.blob.digest, self.extent_of(position))
    }

    /// Checks every chunk of a unit and gives the offset after it.
    async fn verify(&mut self, offset: u64, unit: &Buffer) -> Result<u64> {
        let record = &self.blob.opened.record;
        let first = usize::try_from(offset / self.chunk_bytes()).expect("at most SUMS_MAX chunks");
        let chunk_bytes = usize::try_from(self.chunk_bytes()).expect("chunks fit memory");
        let mut at = offset;
        for (number, chunk) in unit.filled().chunks(chunk_bytes).enumerate() {
            if let Err(sums) = record.sums.verify(first + number, chunk) {
                return Err(self.blob.damaged(at, sums).await);
            }
            at += chunk.len() as u64;
        }
        if unit.filled().is_empty() {
            return Err(self.blob.damaged(offset, (0, 0)).await);
        }
        Ok(at)
    }
}

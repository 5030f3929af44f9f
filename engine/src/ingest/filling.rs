//! The buffer that an upload's bytes are gathered in, and how large the next one should be.

use std::time::Duration;

use super::{file::Means, hashing::Lane};
use crate::{
    error::{Error, Result},
    io::{ALIGNMENT, Buffer},
};

/// The first buffer of an upload of unknown size, and every buffer of a slow client: what 2,000 of
/// them hold counts.
const BUFFER_BYTES_MIN: usize = 64 << 10;

/// Buffers double while they fill quickly, up to this.
pub(super) const BUFFER_BYTES_MAX: usize = 512 << 10;

/// A buffer that took longer than this to fill belongs to a slow client.
const SLOW: Duration = Duration::from_millis(500);

/// A buffer being filled. There is none between two of them.
pub(super) struct Filling {
    buffer: Option<Buffer>,
    since: Duration,
    /// Of the next buffer.
    bytes: usize,
    bytes_max: usize,
}

impl Filling {
    /// For content of `total` bytes (0: unknown). Content of known size gets large buffers from the
    /// beginning, so that it is written with few writes, as long as memory is plentiful.
    pub fn new(means: &Means, total: u64) -> Self {
        let bytes_max = BUFFER_BYTES_MAX.min(means.buffer_bytes_max).max(BUFFER_BYTES_MIN);
        let wanted = usize::try_from(total).unwrap_or(usize::MAX).min(bytes_max).next_power_of_two();
        let bytes = if means.pool.is_scarce() { BUFFER_BYTES_MIN } else { wanted.max(BUFFER_BYTES_MIN) };
        Filling { buffer: None, since: means.environment.monotonic(), bytes, bytes_max }
    }

    /// Bytes that can be taken now; 0 without a buffer.
    pub fn room(&self) -> usize {
        self.buffer.as_ref().map_or(0, Buffer::spare)
    }

    pub fn has_buffer(&self) -> bool {
        self.buffer.is_some()
    }

    /// Waits in line for the next buffer, unless there is one. Cancel safe.
    pub async fn take_buffer(&mut self, means: &Means) {
        if self.buffer.is_none() {
            self.begin(means, means.pool.take(self.bytes).await);
        }
    }

    /// Like `take_buffer`, but gives `false` instead of waiting, or when it would be larger than
    /// `bytes_max`.
    pub fn try_take_buffer(&mut self, means: &Means, bytes_max: usize) -> bool {
        let taken = if self.bytes <= bytes_max { means.pool.try_take(self.bytes) } else { None };
        let is_taken = taken.is_some();
        if let Some(buffer) = taken {
            self.begin(means, buffer);
        }
        is_taken
    }

    fn begin(&mut self, means: &Means, buffer: Buffer) {
        self.buffer = Some(buffer);
        self.since = means.environment.monotonic();
    }

    /// Takes `bytes`, at most `room`. Gives the buffer when it is full.
    pub fn push(&mut self, means: &Means, bytes: &[u8]) -> Option<Buffer> {
        let buffer = self.buffer.as_mut().expect("room was asked for");
        let taken = buffer.extend(bytes);
        assert_eq!(taken, bytes.len(), "room said how many");
        if buffer.spare() > 0 {
            return None;
        }
        let elapsed = means.environment.monotonic().saturating_sub(self.since);
        self.bytes = if elapsed > SLOW { BUFFER_BYTES_MIN } else { (self.bytes * 2).min(self.bytes_max) };
        self.buffer.take()
    }

    /// The buffer as far as it is filled, if at all.
    pub fn take_partial(&mut self) -> Option<Buffer> {
        self.buffer.take().filter(|buffer| !buffer.is_empty())
    }

    /// The bytes of the buffer.
    pub fn partial(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], Buffer::filled)
    }

    /// Has all of the buffer hashed, which begins at `start`. To be awaited to its end, or the buffer is
    /// lost.
    pub async fn hash(&mut self, lane: &Lane, start: u64) -> Result<()> {
        if let Some(buffer) = self.take_partial() {
            let hashed = lane.push(start, buffer).into_buffer().await;
            self.put_back(hashed.map_err(|source| Error::io("hashing an upload", source))?);
        }
        Ok(())
    }

    /// Goes on with a buffer that is partly filled: less than a block of it, or it was filling before.
    pub fn put_back(&mut self, buffer: Buffer) {
        self.buffer = Some(buffer);
    }

    /// Whether the client has become slow.
    pub fn is_slow(&self, means: &Means) -> bool {
        self.buffer.is_some() && means.environment.monotonic().saturating_sub(self.since) > SLOW
    }

    /// A buffer of at least a block, to read a beginning into.
    pub async fn block(means: &Means) -> Buffer {
        means.pool.take(BUFFER_BYTES_MIN.max(ALIGNMENT)).await
    }
}

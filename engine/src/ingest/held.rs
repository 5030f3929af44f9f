//! The bytes of an upload whose digest nobody has told yet, in memory: content the store has
//! already is then never written.

use super::{
    file::Means,
    filling::{BUFFER_BYTES_MAX, Filling},
};
use crate::{digest::Hasher, io::Buffer};

/// Bytes of buffers that an upload holds back. With one more that is filling, as long as an upload
/// that writes may have.
pub(super) const HELD_BYTES_MAX: usize = 1 << 20;

pub(super) struct Held {
    means: Means,
    /// Full, but for the last one perhaps.
    full: Vec<Buffer>,
    /// Of `full`.
    bytes: usize,
    bytes_max: usize,
    filling: Filling,
}

impl Held {
    /// For content of `total` bytes (0: unknown). `None` if it will not fit, or if memory is scarce.
    pub fn new(means: Means, total: u64) -> Option<Self> {
        let bytes_max = HELD_BYTES_MAX.min(means.buffer_bytes_max);
        if total > bytes_max as u64 || means.pool.is_scarce() {
            return None;
        }
        let filling = Filling::new(&means, total);
        Some(Held { means, full: Vec::new(), bytes: 0, bytes_max, filling })
    }

    /// How many bytes can be taken; `None` when it is time to write: the bound is reached, the
    /// client is slow, or memory is scarce. Never waits: others may wait for what is held here.
    pub fn room(&mut self) -> Option<usize> {
        if self.filling.is_slow(&self.means) || self.means.pool.is_scarce() {
            return None;
        }
        if !self.filling.has_buffer() {
            let left = self.bytes_max.saturating_sub(self.bytes);
            if !self.filling.try_take_buffer(&self.means, left) {
                return None;
            }
        }
        Some(self.filling.room())
    }

    /// Takes at most `room` bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if let Some(full) = self.filling.push(&self.means, bytes) {
            self.bytes += full.len();
            self.full.push(full);
        }
    }

    pub fn hash(&self, hasher: &mut Hasher) {
        self.full.iter().for_each(|buffer| hasher.update(buffer.filled()));
        hasher.update(self.filling.partial());
    }

    /// The full buffers in order, and the one that is filling.
    pub fn into_parts(self) -> (Vec<Buffer>, Filling) {
        (self.full, self.filling)
    }
}

const _: () = assert!(HELD_BYTES_MAX + BUFFER_BYTES_MAX <= 2 << 20, "the bound of an upload's memory");

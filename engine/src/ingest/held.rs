//! The bytes of an upload whose digest nobody has told yet, in memory: content the store has
//! already is then never written.

use std::io;

use super::{
    file::Means,
    filling::{BUFFER_BYTES_MAX, Filling},
    hashing::{Hashed, Lane},
};
use crate::digest::Hasher;

/// Bytes of buffers that an upload holds back. With one more that is filling, as long as an upload
/// that writes may have.
pub(super) const HELD_BYTES_MAX: usize = 1 << 20;

pub(super) struct Held {
    means: Means,
    /// Full, but for the last one perhaps.
    full: Vec<Hashed>,
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
    pub fn push(&mut self, lane: &Lane, bytes: &[u8]) {
        if let Some(full) = self.filling.push(&self.means, bytes) {
            let start = self.bytes as u64;
            self.bytes += full.len();
            self.full.push(lane.push(start, full));
        }
    }

    /// The buffer that is filling, and where in the content it begins.
    pub fn tail(&mut self) -> (u64, &mut Filling) {
        (self.bytes as u64, &mut self.filling)
    }

    /// Hashes all there is for another digest than the lane's.
    pub async fn hash_again(&mut self, hasher: &mut Hasher) -> io::Result<()> {
        for buffer in &mut self.full {
            hasher.update(buffer.wait().await?.filled());
        }
        hasher.update(self.filling.partial());
        Ok(())
    }

    /// The full buffers in order, and the one that is filling.
    pub fn into_parts(self) -> (Vec<Hashed>, Filling) {
        (self.full, self.filling)
    }
}

const _: () = assert!(HELD_BYTES_MAX + BUFFER_BYTES_MAX <= 2 << 20, "the bound of an upload's memory");

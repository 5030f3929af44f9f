//! Content that is computed, not stored: any range of it can be made and checked at any time.

use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::stream::{Random, sha256};

/// Lengths at which something changes in a store: nothing, one byte, a sector, what is kept in the
/// index at most, a checksum's chunk, a small and a large buffer, several of each.
pub const NASTY_LENGTHS: [u64; 22] = [
    0,
    1,
    511,
    4095,
    4096,
    4097,
    12_345,
    (64 << 10) - 1,
    64 << 10,
    (64 << 10) + 1,
    (128 << 10) - 1,
    128 << 10,
    (128 << 10) + 1,
    (512 << 10) - 1,
    512 << 10,
    (512 << 10) + 1,
    (1 << 20) - 1,
    1 << 20,
    (1 << 20) + 1,
    (2 << 20) + 4097,
    (3 << 20) - 1,
    5 << 20,
];

/// How many of [`NASTY_LENGTHS`] are at most 128 KiB and a byte.
const SMALL_LENGTHS: usize = 13;

const WORD_BYTES: u64 = 8;

/// What a blob is made of. Two with the same three numbers have the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Content {
    pub seed: u64,
    pub id: u64,
    /// In bytes.
    pub length: u64,
}

impl Content {
    /// Content number `id` with a length that `random` chooses: mostly a nasty and small one.
    pub fn choose(seed: u64, id: u64, random: &mut Random) -> Self {
        let length = match random.below(20) {
            0 => NASTY_LENGTHS[SMALL_LENGTHS + random.below((NASTY_LENGTHS.len() - SMALL_LENGTHS) as u64) as usize],
            // As many between 1 and 2 as between 128 Ki and 256 Ki.
            1..=5 => (1 << random.below(18)) + random.below(1 << 12),
            _ => NASTY_LENGTHS[random.below(SMALL_LENGTHS as u64) as usize],
        };
        Content { seed, id, length }
    }

    pub fn bytes(&self) -> Bytes {
        self.range(0..self.length)
    }

    /// # Panics
    /// If the range does not lie within the content.
    pub fn range(&self, range: Range<u64>) -> Bytes {
        assert!(range.start <= range.end && range.end <= self.length, "{range:?} of {self:?}");
        let first = range.start / WORD_BYTES;
        let skipped = (range.start - first * WORD_BYTES) as usize;
        let wanted = (range.end - range.start) as usize;
        let mut bytes = Vec::with_capacity(skipped + wanted + WORD_BYTES as usize);
        let key = self.key();
        let mut word = first;
        while bytes.len() < skipped + wanted {
            bytes.extend_from_slice(&mix(key.wrapping_add(word)).to_le_bytes());
            word += 1;
        }
        Bytes::from(bytes).slice(skipped..skipped + wanted)
    }

    /// The first offset at which `found`, said to begin at `offset`, is not this content.
    pub fn difference(&self, offset: u64, found: &[u8]) -> Option<u64> {
        let end = offset.saturating_add(found.len() as u64);
        let expected = self.range(offset.min(self.length)..end.min(self.length));
        if expected == found {
            return None;
        }
        let same = expected.iter().zip(found).take_while(|(expected, found)| expected == found).count();
        Some(offset + same as u64)
    }

    pub fn digest(&self) -> String {
        sha256(&self.bytes())
    }

    fn key(&self) -> u64 {
        mix(self.seed ^ mix(self.id ^ mix(self.length)))
    }
}

/// A good hash of one word: the first number of a sequence that begins there.
pub fn mix(word: u64) -> u64 {
    Random(word).next()
}
